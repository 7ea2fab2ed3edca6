"""Maximise a smooth function over the unit cube from several starts at once, by L-BFGS with gradients."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

__all__ = ["maximise"]


def maximise(
    function: Callable[[Float[Array, "dimension"]], Float[Array, ""]],
    starts: Float[Array, "start dimension"],
    *,
    steps: int = 20,
) -> tuple[Float[Array, "start dimension"], Float[Array, "start"]]:
    """Local maxima of `function` on [0, 1]^dimension, one a start, and the values there; never worse than the start.

    The box is left to x = sin^2(t): smooth, and its faces can be reached. A dimension of zero gradient stays.

    Example:
        >>> x, value = maximise(lambda x: -jnp.sum((x - 0.3) ** 2), jnp.array([[0.9, 0.5]]))
        >>> x.round(3).tolist()
        [[0.3..., 0.3...]]
    """

    def negative(t):
        return -function(jnp.sin(t) ** 2)

    optimiser = optax.lbfgs(
        memory_size=8, linesearch=optax.scale_by_backtracking_linesearch(max_backtracking_steps=12, store_grad=True)
    )

    def climb(start):
        # exactly on a face the gradient in t vanishes: begin a little inside
        t = jnp.arcsin(jnp.sqrt(jnp.clip(start, 1e-4, 1.0 - 1e-4)))

        def step(carry, _):
            t, state = carry
            value, gradient = optax.value_and_grad_from_state(negative)(t, state=state)
            updates, state = optimiser.update(gradient, state, t, value=value, grad=gradient, value_fn=negative)
            return (optax.apply_updates(t, updates), state), None

        (t, _), _ = jax.lax.scan(step, (t, optimiser.init(t)), length=steps)
        return jnp.sin(t) ** 2

    ends = jax.vmap(climb)(starts)
    both = jnp.stack([starts, ends])
    values = jax.vmap(jax.vmap(function))(both)
    better = values[1] > values[0]  # False for NaN
    return jnp.where(better[:, None], ends, starts), jnp.where(better, values[1], values[0])
