"""Structured best responses: a Flax Linen network whose weights are a function of the hyperparameters.

Each dense or convolutional layer gets a second kernel and two small maps of the hyperparameters l, and returns

    y = W_elem x + b_elem + (V l) * (W_hyper x) + (C l) * b_hyper

with elementwise products over output units (MacKay et al., Self-Tuning Networks, ICLR 2019, section 3.1). As l acts on
outputs only, each example of a batch can have its own vector for the price of a second matrix product. The network is
not rewritten: Flax lets the calls of its layers be intercepted. At one fixed l the layers collapse into ordinary ones.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen
from jax import lax

from ibo_jax.training.networks import Conv, Network
from ibo_jax.types import Array, Float, PRNGKeyArray

__all__ = ["LAYERS", "apply", "collapse", "init"]

LAYERS = (linen.Dense, linen.Conv, Conv)
"""Layers that respond: linear ones, whose parameters end in the axis of outputs. Networks made of them do, recurrent
ones too; an embedding is a dense layer of one-hot inputs."""
OWN = {"response", "hyper"}  # names of parameters beside those of the network
SPREAD = 0.01  # standard deviation of V and C at the start: the response begins nearly constant

Params = Any


def init(key: PRNGKeyArray, network: Network, inputs: Array, hyperparameters: Float[Array, "hyperparameter"]) -> Params:
    """Parameters of the best response: those of `network.init`, and in each linear layer those of the response.

    Raises:
        ValueError: no layer responds: the network is not a Flax Linen one, or has none of `LAYERS`; or a layer has a
            name of the response.
    """
    plain = jax.eval_shape(network.init, key, inputs)
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(plain)]
    if taken := sorted(OWN & {getattr(entry, "key", None) for path in paths for entry in path}):
        raise ValueError(f"expected layers and parameters of other names than {sorted(OWN)}, which belong to the "
                         f"response, got {taken}; rename them")  # fmt: skip
    batch = jnp.broadcast_to(hyperparameters, (len(inputs), *hyperparameters.shape))
    with linen.intercept_methods(_respond(batch)):
        params = network.init(key, inputs)
    if not _responds(params):
        raise ValueError(f"expected a Flax Linen network with at least one of {[layer.__name__ for layer in LAYERS]}, "
                         "whose weights can respond to hyperparameters, got none; build it of these")  # fmt: skip
    if jax.tree.map(jnp.shape, jax.eval_shape(collapse, params, hyperparameters)) != jax.tree.map(jnp.shape, plain):
        raise ValueError("expected layers whose parameters are their own, got some that are wrapped, as in WeightNorm, "
                         "and that would not collapse into the network; leave the wrapper out")  # fmt: skip
    return params


def apply(
    params: Params,
    network: Network,
    inputs: Array,
    hyperparameters: Float[Array, "example hyperparameter"],
    *,
    train: bool,
    key: PRNGKeyArray | None,
) -> Any:
    """Outputs of the network: the logits of each example use the weights at its own hyperparameters."""
    with linen.intercept_methods(_respond(hyperparameters)):
        return network.apply(params, inputs, train=train, key=key)


def collapse(params: Params, hyperparameters: Float[Array, "hyperparameter"]) -> Params:
    """Parameters of the plain network at these hyperparameters, as its own `init` would make them.

    Examples:
        >>> from ibo_jax.training.networks import as_network
        >>> network, at, inputs = as_network(linen.Dense(3)), jnp.array([0.5, -2.0]), jnp.ones((4, 5))
        >>> params = init(jax.random.key(0), network, inputs, at)
        >>> plain = network.apply(collapse(params, at), inputs, train=False, key=None)
        >>> wrapped = apply(params, network, inputs, jnp.tile(at, (4, 1)), train=False, key=None)
        >>> bool(jnp.allclose(plain, wrapped, atol=1e-6))
        True
    """
    if not isinstance(params, Mapping):
        return params
    if "response" not in params:
        return {name: collapse(part, hyperparameters) for name, part in params.items()}
    response, hyper = params["response"], params["hyper"]
    if response["map"].ndim > 2:  # several layers in one, as `linen.scan` and `linen.vmap` keep them
        return jax.vmap(collapse, (0, None))(params, hyperparameters)
    plain = {name: leaf for name, leaf in params.items() if name not in ("response", "hyper")}
    gain, shift = _split(hyperparameters @ response["map"], response)
    plain |= {name: plain[name] + lax.broadcast_to_rank(gain, leaf.ndim) * leaf for name, leaf in hyper.items()}
    if "bias" in response:
        plain["bias"] = plain["bias"] + shift * response["bias"]
    return plain


def _respond(hyperparameters: Array) -> Callable[..., Any]:
    """What is called in place of a layer's method; "hyper" is a copy of the layer without bias, in its own scope."""

    def intercept(call: Callable[..., Array], args: Any, kwargs: Any, context: linen.module.InterceptorContext) -> Any:
        layer, outputs = context.module, call(*args, **kwargs)
        if not isinstance(layer, LAYERS) or context.method_name != "__call__" or layer.name == "hyper":
            return outputs
        biased = getattr(layer, "use_bias", False)
        response = layer.param("response", _start, hyperparameters.shape[-1], outputs.shape[-1], biased)
        gain, shift = _split(_of_examples(hyperparameters @ response["map"], outputs), response)
        outputs += gain * layer.copy(parent=layer, name="hyper", **{"use_bias": False} if biased else {})(
            *args, **kwargs
        )
        return outputs + shift * lax.broadcast_to_rank(response["bias"], outputs.ndim) if biased else outputs

    return intercept


def _start(key: PRNGKeyArray, size: int, features: int, biased: bool) -> dict[str, Array]:
    """V and, where there is a bias, C beside it and b_hyper."""
    response = {"map": SPREAD * jax.random.normal(key, (size, (1 + biased) * features), jnp.float32)}
    return response | ({"bias": jnp.zeros(features, jnp.float32)} if biased else {})


def _split(values: Array, response: Params) -> tuple[Array, Array]:
    """V l and C l; the second is empty without bias."""
    features = len(response["bias"]) if "bias" in response else values.shape[-1]
    return values[..., :features], values[..., features:]


def _of_examples(values: Array, outputs: Array) -> Array:
    """A row for each example, against outputs with axes between the first and the last."""
    if len(values) != len(outputs):
        raise ValueError(
            f"expected layers to see examples along their first axis, {len(values)} of them, got outputs of shape "
            f"{outputs.shape}; do not merge that axis with another, or a layer cannot tell whose hyperparameters count"
        )
    return jnp.expand_dims(values, range(1, outputs.ndim - 1))


def _responds(params: Params) -> bool:
    if not isinstance(params, Mapping):
        return False
    return "response" in params or any(_responds(part) for part in params.values())
