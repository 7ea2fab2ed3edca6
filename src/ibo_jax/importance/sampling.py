"""Presampling, drawing by score, and the weights that keep the gradient unbiased.

Reference: Katharopoulos and Fleuret, ICML 2018, Algorithm 1. B examples of the training set are drawn uniformly and
scored; b of them are drawn with replacement, with probabilities g_i proportional to the scores, and weighted by
1 / (B g_i), so that the expectation of the weighted mean over the batch is the mean over the presample.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from ibo_jax.numerics import at_least_float32
from ibo_jax.types import Array, Float, Int, PRNGKeyArray

__all__ = ["Draw", "Selection", "draw", "over_largest", "presample", "probabilities", "resample", "weights"]

Draw = Literal["multinomial", "systematic"]


class Selection(NamedTuple):
    """Positions in the presample that were drawn, and the weight of each one's loss."""

    indices: Int[Array, "batch"]
    weights: Float[Array, "batch"]


def presample(key: PRNGKeyArray, population: int | Int[Array, ""], size: int) -> Int[Array, "presample"]:
    """`size` uniform indices of `population` examples, with replacement.

    Examples:
        >>> index = presample(jax.random.key(0), 100, 8)
        >>> index.shape, bool(jnp.all((0 <= index) & (index < 100)))
        ((8,), True)
    """
    return jax.random.randint(key, (size,), 0, population, jnp.int32)


def probabilities(scores: Float[Array, "presample"]) -> Float[Array, "presample"]:
    """Scores divided by their sum; uniform if all are zero (or vanish in float32) or one is negative or not finite.

    A network that diverges is thus trained uniformly, and its loss shows it.

    Examples:
        >>> probabilities(jnp.array([1.0, 3.0])).tolist(), probabilities(jnp.zeros(2)).tolist()
        ([0.25, 0.75], [0.5, 0.5])
        >>> probabilities(jnp.array([1.0, jnp.inf])).tolist()
        [0.5, 0.5]
    """
    scaled = over_largest(scores)
    return scaled / jnp.sum(scaled)


def over_largest(scores: Float[Array, "presample"]) -> Float[Array, "presample"]:
    """Scores divided by the largest, so that sums neither vanish nor overflow; ones where `probabilities` are uniform.

    Examples:
        >>> over_largest(jnp.array([1e-30, 4e-30])).tolist(), over_largest(jnp.array([1.0, jnp.nan])).tolist()
        ([0.25, 1.0], [1.0, 1.0])

    Raises:
        ValueError: there is no score, or not one for each example.
    """
    if scores.ndim != 1 or not len(scores):
        raise ValueError(f"expected a score for each of one or more examples, got shape {scores.shape}; take the mean "
                         "over other axes, or jax.vmap over batches")  # fmt: skip
    scores = at_least_float32(scores)
    largest = jnp.max(scores)  # NaN if one is
    divides = largest < 1 / jnp.finfo(scores.dtype).tiny  # beyond it XLA's reciprocal is zero
    usable = (largest > 0) & divides & (jnp.min(scores) >= 0)
    return jnp.where(usable, scores / jnp.where(usable, largest, 1), 1)


def draw(
    key: PRNGKeyArray, probabilities: Float[Array, "presample"], size: int, method: Draw = "multinomial"
) -> Int[Array, "batch"]:
    """`size` indices with the given probabilities, with replacement, by inverting the cumulative sum.

    "multinomial" draws independently, as published. "systematic" takes equal steps from one uniform number: the
    expectation is the same and counts are never more than one draw away from it, so the variance is lower. Neither
    draws an index of probability zero, except through rounding when thousands are summed; its weight is then 0.

    Examples:
        >>> draw(jax.random.key(0), jnp.array([0.0, 0.25, 0.75]), 4, "systematic").tolist()
        [1, 2, 2, 2]
    """
    probabilities = at_least_float32(probabilities)  # half precision has too few numbers in [0, 1) for drawing
    if method == "multinomial":
        points = jax.random.uniform(key, (size,), probabilities.dtype)
    elif method == "systematic":
        start = jax.random.uniform(key, (), probabilities.dtype)
        points = (jnp.arange(size, dtype=probabilities.dtype) + start) / size
    else:
        raise ValueError(f'expected draw to be "multinomial" or "systematic", got {method!r}; choose one of them')
    cumulative = jnp.cumsum(probabilities)
    below_one = 1 - jnp.finfo(probabilities.dtype).eps  # rounding can move the last systematic point to one
    points = jnp.minimum(points, below_one) * cumulative[-1]
    indices = jnp.searchsorted(cumulative, points, side="right").astype(jnp.int32)
    return jnp.minimum(indices, len(probabilities) - 1)  # NaN or all-zero probabilities run past the end


def weights(
    probabilities: Float[Array, "presample"], indices: Int[Array, "batch"], exponent: float = 1.0
) -> Float[Array, "batch"]:
    """(1 / (B g_i)) ** exponent for the drawn examples: unbiased at 1, unweighted (biased to hard examples) at 0.

    The exponent is the k of the biased variant (Katharopoulos and Fleuret 2017, arXiv:1706.00043).

    Examples:
        >>> weights(jnp.array([0.125, 0.125, 0.25, 0.5]), jnp.array([0, 0, 3])).tolist()
        [2.0, 2.0, 0.5]
    """
    chosen = at_least_float32(probabilities)[indices]
    positive = chosen > 0
    uniform = len(probabilities) * jnp.where(positive, chosen, 1)
    return jnp.where(positive, uniform**-exponent, 0)


def resample(
    key: PRNGKeyArray,
    scores: Float[Array, "presample"],
    size: int,
    *,
    method: Draw = "multinomial",
    exponent: float = 1.0,
) -> Selection:
    """A batch of `size` drawn by score, and its weights: `probabilities`, `draw` and `weights` in one call.

    Examples:
        >>> indices, weights = resample(jax.random.key(0), jnp.array([0.0, 1.0, 0.0, 0.0]), 2)
        >>> indices.tolist(), weights.tolist()
        ([1, 1], [0.25, 0.25])
    """
    g = probabilities(scores)
    indices = draw(key, g, size, method)
    return Selection(indices, weights(g, indices, exponent))
