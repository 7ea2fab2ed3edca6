"""The layers that the built-in networks are made of, as pure functions on channels-last arrays.

They exist for speed and exactness inside one program of many steps: the gradient of a windowed maximum costs 4-8 times
as much as that of a reshaped one, and a searched dropout rate must not trigger a compilation for every value.
"""

from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ibo_jax.types import Array, Float, PRNGKeyArray

__all__ = ["Penalised", "Rate", "dropout", "layer_norm", "max_pool", "of_examples", "parted", "scale_noise"]

Rate = float | Float[Array, ""] | Float[Array, "example"]
"""The rate of a random change: one for all examples, or one for each."""


class Penalised(NamedTuple):
    """What a network that penalises its activations returns in training, in place of logits alone.

    Attributes:
        logits: (example, ..., class_).
        penalty: one per example, added to its loss: importance sampling weights the sum.
    """

    logits: Array
    penalty: Float[Array, "example"]


def max_pool(
    inputs: Float[Array, "example height width channel"], window: int
) -> Float[Array, "example out_height out_width channel"]:
    """Maximum over windows that do not overlap (stride = window); leftover rows and columns are dropped ("valid").

    Ties share the gradient, which is that of pairwise maxima: the gradient of `jnp.max` divides by the number of
    entries equal to the maximum, and XLA finds none (0 / 0) when it recomputes them and rounds differently.

    Examples:
        >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), 3).tolist()
        [[[[10.0]]]]
    """
    examples, height, width, channels = inputs.shape
    rows, columns = height // window, width // window
    if not rows or not columns:
        raise ValueError(
            f"expected at least {window} x {window} pixels to pool, got {height} x {width}; "
            "use larger images or fewer pooling layers"
        )
    cropped = inputs[:, : rows * window, : columns * window]
    blocks = cropped.reshape(examples, rows, window, columns, window, channels)
    over_rows = reduce(jnp.maximum, [blocks[:, :, row] for row in range(window)])
    return reduce(jnp.maximum, [over_rows[:, :, :, column] for column in range(window)])


def layer_norm(
    inputs: Float[Array, "example *axes channel"],
    gain: Float[Array, ""],
    bias: Float[Array, "channel"],
    epsilon: float = 1e-3,
) -> Float[Array, "example *axes channel"]:
    """Normalise each example over all of its axes; one gain for the layer, one bias a channel.

    The form that Katharopoulos & Fleuret (2018) put in place of batch normalisation, which would couple the examples
    that importance sampling must score one by one.

    Examples:
        >>> layer_norm(jnp.array([[1.0, 3.0]]), jnp.array(1.0), jnp.zeros(2), epsilon=0.0).tolist()
        [[-1.0, 1.0]]
    """
    axes = tuple(range(1, inputs.ndim))
    mean = inputs.mean(axes, keepdims=True, dtype=jnp.float32)
    variance = jnp.square(inputs - mean).mean(axes, keepdims=True)
    normalised = gain * (inputs - mean) * lax.rsqrt(variance + epsilon)
    return (normalised + lax.broadcast_to_rank(bias, inputs.ndim)).astype(inputs.dtype)


def dropout(key: PRNGKeyArray, inputs: Float[Array, "*axes"], rate: Rate, *, whole: bool = False) -> Array:
    """Set each entry to zero with probability `rate`, scale the others by 1 / (1 - rate).

    The rate may be traced; at zero the result is exactly the input, at one nothing is left of it. With `whole`
    a channel is dropped at all places of an example or at none (of images: spatial; of sequences: locked dropout).

    Examples:
        >>> dropout(jax.random.key(0), jnp.ones(3), 0.0).tolist()
        [1.0, 1.0, 1.0]
        >>> dropout(jax.random.key(0), jnp.ones((2, 3)), jnp.array([0.0, 0.999])).tolist()
        [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    places = (1,) * (inputs.ndim - 2)
    shape = (inputs.shape[0], *places, inputs.shape[-1]) if whole else inputs.shape
    rate = of_examples(rate, inputs)
    keep = jax.random.uniform(key, shape, jnp.float32) >= rate
    kept = jnp.where(rate < 1, 1 - rate, 1)  # at a rate of one nothing is kept, but the gradient would be 0 / 0
    return jnp.where(keep, inputs / kept, 0).astype(inputs.dtype)


def scale_noise(key: PRNGKeyArray, inputs: Float[Array, "example ..."], amount: Rate) -> Array:
    """Multiply each example by a number drawn evenly between 1 / (1 + amount) and 1 + amount (MacKay et al. 2019)."""
    amount = of_examples(amount, inputs)
    share = jax.random.uniform(key, (len(inputs),) + (1,) * (inputs.ndim - 1), jnp.float32)
    return (inputs * (1 / (1 + amount) + share * (1 + amount - 1 / (1 + amount)))).astype(inputs.dtype)


def of_examples(values: Rate, inputs: Array) -> Array:
    """Made to broadcast against `inputs`: a number as it is, a vector along the first axis."""
    values = jnp.asarray(values, jnp.float32)
    return values.reshape(values.shape + (1,) * (inputs.ndim - 1)) if values.ndim else values


def parted(outputs: Array | Penalised) -> tuple[Array, Float[Array, "example"]]:
    """Logits and penalties of a network's outputs, none where it punishes nothing.

    Examples:
        >>> parted(jnp.ones((2, 3)))[1].tolist()
        [0.0, 0.0]
    """
    return outputs if isinstance(outputs, Penalised) else (outputs, jnp.zeros(len(outputs), jnp.float32))
