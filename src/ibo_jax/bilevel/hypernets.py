"""Hypernetworks: maps from hyperparameters to all parameters of an elementary network, as pairs of pure functions.

Lorraine and Duvenaud, "Stochastic Hyperparameter Optimization through Hypernetworks", arXiv 1802.09419 (2018). Theirs
are `mlp` from 1 to 50 to n, `linear`, and `factorised` for as many hyperparameters as parameters.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ibo_jax.numerics import at_least_float32
from ibo_jax.types import Array, Float, PRNGKeyArray

__all__ = ["Hypernet", "count", "factorised", "linear", "mlp"]

Params = Any
Activation = Callable[[Array], Array]


class Hypernet(NamedTuple):
    """A hypernetwork: a best response that is being learnt.

    Attributes:
        init: `init(key) -> phi`.
        apply: `apply(phi, lam) -> params`, for one vector of hyperparameters.
    """

    init: Callable[[PRNGKeyArray], Any]
    apply: Callable[[Any, Float[Array, "hyperparameter"]], Params]


def mlp(
    init: Callable[[PRNGKeyArray], Params],
    hyperparameters: int,
    hidden: Sequence[int] = (50,),
    activation: Activation = jax.nn.relu,
    scale: float = 0.01,
) -> Hypernet:
    """Dense layers from the hyperparameters to the parameters, in single precision up to the parameters' own types.

    The last bias starts as fresh parameters of the elementary network, so that the first response is a network as it
    would be initialised. Kernels are normal with standard deviation `scale`, hidden ones divided by the root of their
    number of inputs as usual; biases of hidden layers are uniform in [-1, 1], so that the kinks of ReLU lie where the
    hyperparameters are: give these of order one.

    Args:
        init: `init(key) -> params`, of the elementary network.
        hyperparameters: how many.
        hidden: widths of the hidden layers; with none the map is linear.
        activation: after each hidden layer.
        scale: scale of the last kernel; at 0 the first response is the same for all hyperparameters.

    Examples:
        >>> classifier = lambda key: {"kernel": 0.01 * jax.random.normal(key, (784, 10)), "bias": jnp.zeros(10)}
        >>> [count(made) for made in (mlp(classifier, 1), linear(classifier, 10), factorised(classifier, 7850))]
        [400450, 86350, 164860]
    """
    template = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(init, jax.random.key(0)))
    flat, unravel = ravel_pytree(jax.tree.map(at_least_float32, template))
    sizes = [hyperparameters, *hidden, len(flat)]

    def fresh(key: PRNGKeyArray) -> Array:
        return ravel_pytree(jax.tree.map(at_least_float32, init(key)))[0]

    def start(key: PRNGKeyArray) -> list[dict[str, Array]]:
        key_bias, *keys = jax.random.split(key, 1 + len(sizes))
        layers = []
        for layer, (ins, outs) in enumerate(pairwise(sizes)):
            key_kernel, key_corner = jax.random.split(keys[layer])
            last = layer == len(hidden)
            kernel = (scale if last else ins**-0.5) * jax.random.normal(key_kernel, (ins, outs), jnp.float32)
            corner = jax.random.uniform(key_corner, (outs,), jnp.float32, -1.0, 1.0)
            layers.append({"kernel": kernel, "bias": fresh(key_bias) if last else corner})
        return layers

    def apply(phi: list[dict[str, Array]], lam: Array) -> Params:
        x = lam
        for layer in phi[:-1]:
            x = activation(x @ layer["kernel"] + layer["bias"])
        params = unravel(x @ phi[-1]["kernel"] + phi[-1]["bias"])
        return jax.tree.map(lambda made, like: made.astype(like.dtype), params, template)

    return Hypernet(start, apply)


def linear(init: Callable[[PRNGKeyArray], Params], hyperparameters: int, scale: float = 0.01) -> Hypernet:
    """The affine map: (hyperparameters + 1) numbers for each parameter."""
    return mlp(init, hyperparameters, (), scale=scale)


def factorised(
    init: Callable[[PRNGKeyArray], Params], hyperparameters: int, units: int = 10, scale: float = 0.01
) -> Hypernet:
    """An affine map of rank `units`, for so many hyperparameters that the full map would have the square of them."""
    return mlp(init, hyperparameters, (units,), lambda x: x, scale)


def count(hypernet: Hypernet) -> int:
    """Number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(hypernet.init, jax.random.key(0))))
