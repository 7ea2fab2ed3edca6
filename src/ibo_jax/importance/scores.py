"""How much an example would move the parameters: scores from which a batch is drawn.

Reference: Katharopoulos and Fleuret, "Not All Samples Are Created Equal: Deep Learning with Importance Sampling",
ICML 2018. The best sampling probability is proportional to the norm of an example's gradient; the norm of the
gradient with respect to the last layer's pre-activations bounds it up to a constant and needs a forward pass only.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ibo_jax.numerics import at_least_float32
from ibo_jax.types import Array, Float, Int

__all__ = ["gradient_norm", "loss", "upper_bound"]


def loss(logits: Float[Array, "*example class_"], labels: Int[Array, "*example"]) -> Float[Array, "*example"]:
    """Softmax cross-entropy of each example, in nats, at least in float32; NaN where a label is no class.

    As a score it is an ablation: late in training it ranks examples worse than `upper_bound` and overstates its tau.

    Examples:
        >>> [f"{nats:.4f}" for nats in loss(jnp.array([[0.0, 0.0], [9.0, 0.0]]), jnp.array([0, 1]))]
        ['0.6931', '9.0001']
    """
    logits = at_least_float32(logits)
    is_label = _is_label(logits, labels)
    label_logit = jnp.sum(jnp.where(is_label, logits, 0), axis=-1)
    return _of_classes(is_label, jax.nn.logsumexp(logits, axis=-1) - label_logit)


def upper_bound(logits: Float[Array, "*example class_"], labels: Int[Array, "*example"]) -> Float[Array, "*example"]:
    """Norm of the loss gradient with respect to the logits, || softmax(z) - onehot(y) ||, in [0, sqrt 2].

    The recommended score (Katharopoulos and Fleuret, section 3.2). One minus the label's probability is summed from
    the other classes, so that confident examples keep their rank. NaN where a logit is or a label is no class.

    Examples:
        >>> [f"{score:.4f}" for score in upper_bound(jnp.array([[0.0, 0.0], [9.0, 0.0]]), jnp.array([0, 0]))]
        ['0.7071', '0.0002']
    """
    logits = at_least_float32(logits)
    is_label = _is_label(logits, labels)
    others = jnp.where(is_label, 0, jax.nn.softmax(logits, axis=-1))
    square = jnp.sum(others**2, axis=-1) + jnp.sum(others, axis=-1) ** 2
    return _of_classes(is_label, _root(square))


def gradient_norm(
    apply: Callable[[Any, Array], Array],
    params: Any,
    inputs: Float[Array, "example ..."],
    labels: Int[Array, "example"],
) -> Float[Array, "example"]:
    """Norm of each example's loss gradient with respect to all parameters: the reference, costing a backward pass.

    Args:
        apply: `apply(params, inputs) -> logits` on a batch.

    Examples:
        >>> inputs, labels = jnp.array([[3.0, 4.0], [0.0, 1.0]]), jnp.array([0, 1])
        >>> norms = gradient_norm(lambda params, inputs: inputs @ params, jnp.zeros((2, 2)), inputs, labels)
        >>> [f"{norm:.4f}" for norm in norms]
        ['3.5355', '0.7071']
    """

    def single(image: Array, label: Array) -> Array:
        gradient = jax.grad(lambda p: loss(apply(p, image[None]), label[None])[0])(params)
        squares = [jnp.sum(at_least_float32(leaf) ** 2) for leaf in jax.tree.leaves(gradient)]
        return _root(sum(squares, jnp.zeros(())))

    # parameters that devices share would otherwise get, within `jax.shard_map`, the sum of all devices' gradients
    here = jnp.any(labels == 0)
    params = jax.tree.map(lambda leaf: jnp.where(here, leaf, leaf), params)
    return jax.vmap(single)(inputs, labels)


def _root(square: Array) -> Array:
    """The square root, with a gradient of zero at zero."""
    zero = square == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square)))


def _of_classes(is_label: Array, values: Array) -> Array:
    """NaN in place of the values of labels that are out of range, such as -1 for padding."""
    return jnp.where(jnp.any(is_label, axis=-1), values, jnp.nan)


def _is_label(logits: Array, labels: Array) -> Array:
    if labels.shape != logits.shape[:-1]:  # otherwise they would broadcast to every pair of a label and an example
        raise ValueError(f"expected a label for each row of logits of shape {logits.shape}, got labels of shape "
                         f"{labels.shape}; flatten them, or take argmax of one-hot ones")  # fmt: skip
    with jax.numpy_dtype_promotion("standard"):  # labels may have eight bits
        return labels[..., None] == lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
