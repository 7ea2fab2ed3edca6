"""Maximise a smooth function over the unit cube from several starts at once, by BFGS in a trust region.

Each iteration takes one value and gradient and no line search: the whole search is a flat scan, which compiles in a
third of the time of nested loops and keeps the starts in step.

References:
    [NocedalWright2006] Numerical optimization, 2nd edition, chapters 4 and 6.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from ibo_jax.types import AnyArray

__all__ = ["maximise"]

FIRST_RADIUS, LARGEST_RADIUS = 0.1, 0.8  # in t, where x = sin^2(t) and t is in [0, pi / 2]
FACE = 1e-12  # a coordinate below this is on the face, which sin^2 reaches only up to rounding


class Search(NamedTuple):
    """One start on its way: where, value and gradient there, the inverse Hessian, the trust region."""

    t: Float[AnyArray, "dimension"]
    value: Float[AnyArray, ""]
    gradient: Float[AnyArray, "dimension"]
    inverse_hessian: Float[AnyArray, "dimension dimension"]
    radius: Float[AnyArray, ""]
    scaled: Bool[AnyArray, ""]


def maximise(
    function: Callable[[Float[AnyArray, "start dimension"]], Float[AnyArray, "start"]],
    starts: Float[AnyArray, "start dimension"],
    *,
    steps: int = 30,
) -> tuple[Float[AnyArray, "start dimension"], Float[AnyArray, "start"]]:
    """Local maxima of `function` on [0, 1]^dimension, one per start, and the values there; never worse
    than the start, which is first moved at most 1e-4 inside.

    The box is handled by x = sin^2(t), which is smooth and can reach the faces. A dimension without gradient stays.
    `function` takes all points at once, which is many times faster than one by one; no value may depend on another
    point. A start without a value (NaN) stays, with -inf.

    Examples:
        >>> x, value = maximise(lambda x: -jnp.sum((x - 0.3) ** 2, axis=1), jnp.array([[0.9, 0.5]]))
        >>> [round(float(coordinate), 2) for coordinate in x[0]]
        [0.3, 0.3]
    """

    def loss(t):
        values, pull_back = jax.vjp(lambda t: -function(jnp.sin(t) ** 2), t)
        return values, pull_back(jnp.ones_like(values))[0]

    def advance(search, _):
        step = jax.vmap(_propose)(search)
        return jax.vmap(_learn)(search, step, *loss(search.t + step)), None

    # exactly on a face the gradient in t vanishes, so begin a little inside
    t = jnp.arcsin(jnp.sqrt(jnp.clip(starts, 1e-4, 1.0 - 1e-4)))
    # The start counts as infinitely bad, so the first step, of length 0, is kept, and `loss` is compiled only once.
    start = Search(
        t,
        value=jnp.full(len(t), jnp.inf, t.dtype),
        gradient=jnp.zeros_like(t),
        inverse_hessian=jnp.tile(jnp.eye(t.shape[1], dtype=t.dtype), (len(t), 1, 1)),
        radius=jnp.full(len(t), FIRST_RADIUS, t.dtype),
        scaled=jnp.zeros(len(t), bool),
    )
    end, _ = jax.lax.scan(advance, start, length=1 + steps)
    x = jnp.sin(end.t) ** 2
    return jnp.where(x < FACE, 0.0, x), -end.value  # at the other face 1 - x is smaller than rounding


def _propose(search: Search):
    """A quasi-Newton step, cut to the trust region."""
    step = -search.inverse_hessian @ search.gradient
    return step * jnp.minimum(1.0, search.radius / _length(step))


def _learn(search: Search, step, value, gradient) -> Search:
    """Keep a step if it lowered the loss; the curvature is learnt either way."""
    kept = value < search.value + 1e-4 * search.gradient @ step  # False for NaN
    inverse_hessian, learnt = _learn_curvature(search, step, gradient - search.gradient)
    taken = _length(step)
    radius = jnp.where(kept, jnp.maximum(search.radius, 2.0 * taken), 0.25 * taken)
    return Search(
        jnp.where(kept, search.t + step, search.t),
        jnp.where(kept, value, search.value),
        jnp.where(kept, gradient, search.gradient),
        inverse_hessian,
        jnp.clip(radius, 1e-8, LARGEST_RADIUS),
        search.scaled | learnt,
    )


def _length(step):
    return jnp.sqrt(jnp.sum(step**2) + 1e-30)


def _learn_curvature(search: Search, step, change):
    """The BFGS update of the inverse Hessian [NocedalWright2006, equation 6.17], where curvature is positive."""
    curvature = step @ change
    learnt = curvature > 1e-10 * jnp.sqrt((step @ step) * (change @ change) + 1e-30)  # False for NaN
    rho = 1.0 / jnp.where(learnt, curvature, 1.0)
    safe = jnp.where(learnt, change, 0.0)
    start = jnp.where(search.scaled, 1.0, curvature / jnp.maximum(safe @ safe, 1e-30))  # equation 6.20
    identity = jnp.eye(len(step), dtype=step.dtype)
    left = identity - rho * jnp.outer(step, safe)
    updated = left @ (jnp.where(learnt, start, 1.0) * search.inverse_hessian) @ left.T + rho * jnp.outer(step, step)
    return jnp.where(learnt, updated, search.inverse_hessian), learnt
