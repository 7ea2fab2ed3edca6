"""Maximise a smooth function over the unit cube from several starts at once, by BFGS in a trust region.

One value and gradient an iteration and no line search: the whole search is a flat scan, which compiles in a third of
the time of nested loops and keeps the starts in step.

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


class Search(NamedTuple):
    """One start on its way: where, value and gradient there, the inverse Hessian, the trust region."""

    t: Float[AnyArray, "dimension"]
    value: Float[AnyArray, ""]
    gradient: Float[AnyArray, "dimension"]
    inverse_hessian: Float[AnyArray, "dimension dimension"]
    radius: Float[AnyArray, ""]
    scaled: Bool[AnyArray, ""]


def maximise(
    function: Callable[[Float[AnyArray, "dimension"]], Float[AnyArray, ""]],
    starts: Float[AnyArray, "start dimension"],
    *,
    steps: int = 30,
) -> tuple[Float[AnyArray, "start dimension"], Float[AnyArray, "start"]]:
    """Local maxima of `function` on [0, 1]^dimension, one a start, and the values there; never worse than the start.

    The box is left to x = sin^2(t): smooth, and its faces can be reached. A dimension without gradient stays.

    Example:
        >>> x, value = maximise(lambda x: -jnp.sum((x - 0.3) ** 2), jnp.array([[0.9, 0.5]]))
        >>> [round(float(coordinate), 2) for coordinate in x[0]]
        [0.3, 0.3]
    """

    def loss(t):
        return -function(jnp.sin(t) ** 2)

    def begin(start):
        # exactly on a face the gradient in t vanishes: begin a little inside
        t = jnp.arcsin(jnp.sqrt(jnp.clip(start, 1e-4, 1.0 - 1e-4)))
        value, gradient = jax.value_and_grad(loss)(t)
        identity = jnp.eye(len(t), dtype=t.dtype)
        return Search(t, value, gradient, identity, jnp.asarray(FIRST_RADIUS, t.dtype), jnp.array(False))

    def advance(searches, _):
        return jax.vmap(lambda search: _step(loss, search))(searches), None

    ends, _ = jax.lax.scan(advance, jax.vmap(begin)(starts), length=steps)
    return jnp.sin(ends.t) ** 2, -ends.value


def _step(loss, search: Search) -> Search:
    """A quasi-Newton step cut to the trust region, kept if it lowers the loss; the curvature is learnt either way."""
    step = -search.inverse_hessian @ search.gradient
    length = jnp.sqrt(jnp.sum(step**2) + 1e-30)
    step = step * jnp.minimum(1.0, search.radius / length)
    value, gradient = jax.value_and_grad(loss)(search.t + step)
    kept = value < search.value + 1e-4 * search.gradient @ step  # False for NaN
    inverse_hessian, learnt = _learn_curvature(search, step, gradient - search.gradient)
    taken = jnp.minimum(length, search.radius)
    radius = jnp.where(kept, jnp.maximum(search.radius, 2.0 * taken), 0.25 * taken)
    return Search(
        jnp.where(kept, search.t + step, search.t),
        jnp.where(kept, value, search.value),
        jnp.where(kept, gradient, search.gradient),
        inverse_hessian,
        jnp.clip(radius, 1e-8, LARGEST_RADIUS),
        search.scaled | learnt,
    )


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
