"""Bilevel optimisation as one constrained problem: min F(w) so that f(w, lambda) = phi(lambda).

F is the validation loss, f the training objective and phi(lambda) = min_w f(w, lambda) its optimal value. One pass of
the method of multipliers minimises A = F + mu c + (R / 2) c^2, c = f - phi, over w and lambda together by gradient
descent, for several learning rates at once. No derivative goes through a training.

References:
    [SinhaEtAl2022] A globally convergent gradient-based bilevel hyperparameter optimization method. arXiv 2208.12118,
        with details from the authors' notebooks.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ibo_jax.numerics import at_least_float32
from ibo_jax.types import AnyArray, Array, Float, PRNGKeyArray

__all__ = ["Functions", "Iterate", "Multipliers", "augmented", "minimise"]

CLIP = 2.0  # largest norm of a tensor's gradient

Params = Any
Data = Any
Values = Float[Array, "hyperparameter"]


class Functions(NamedTuple):
    """A bilevel problem as pure functions; `data` is any pytree, all of it or a batch.

    Attributes:
        valid_loss: `valid_loss(params, data)`, F.
        train_objective: `train_objective(params, lambda, data)`, f: loss and penalty, with the same mean for a batch as
            for all data, since phi is defined on all data.
        batch: `batch(key, data)`, what one step sees; all data by default.
    """

    valid_loss: Callable[[Params, Data], Array]
    train_objective: Callable[[Params, Array, Data], Array]
    batch: Callable[[PRNGKeyArray, Data], Data] = lambda key, data: data


class Multipliers(NamedTuple):
    """mu and R of the augmented Lagrangian; published start 2 and 2, R times 1.5 after each pass."""

    mu: float | Float[AnyArray, ""] = 2.0
    weight: float | Float[AnyArray, ""] = 2.0

    def after(self, constraint: float | Float[AnyArray, ""], growth: float = 1.5) -> "Multipliers":
        """Those of the next pass: mu + R c and R times `growth`."""
        return Multipliers(self.mu + self.weight * constraint, self.weight * growth)


class Iterate(NamedTuple):
    """A pair (w, lambda) and its values on all data.

    Attributes:
        params: w.
        values: lambda.
        lagrangian: A.
        valid_loss: F.
        objective: f.
        choice: row of `rates` that led there, or -1 for the start.
    """

    params: Params
    values: Values
    lagrangian: Float[Array, ""]
    valid_loss: Float[Array, ""]
    objective: Float[Array, ""]
    choice: Array


def augmented(
    functions: Functions, phi: Callable[[Values], Array], multipliers: Multipliers, params: Params, values: Values,
    data: Data,
) -> tuple[Array, tuple[Array, Array]]:  # fmt: skip
    """A at (w, lambda), and F and f there.

    Examples:
        >>> functions = Functions(lambda w, data: w**2, lambda w, lam, data: (w - lam[0]) ** 2)
        >>> phi, w, lam = jnp.sum, jnp.array(3.0), jnp.zeros(1)
        >>> value, _ = augmented(functions, phi, Multipliers(2.0, 2.0), w, lam, None)
        >>> float(value)  # 9 + 2 * 9 + 2 / 2 * 9^2
        108.0
    """
    valid_loss = functions.valid_loss(params, data)
    objective = functions.train_objective(params, values, data)
    c = objective - phi(values)
    return valid_loss + multipliers.mu * c + multipliers.weight / 2 * c**2, (valid_loss, objective)


def minimise(
    key: PRNGKeyArray,
    params: Params,
    values: Values,
    phi: Callable[[Values], Array],
    multipliers: Multipliers,
    box: tuple[Values, Values],
    rates: Float[AnyArray, "choice step"],
    momenta: Float[AnyArray, "choice"],
    data: Data,
    *,
    functions: Functions,
    checks: int = 1,
) -> Iterate:
    """The iterate of lowest A on all data, among the start and those at the end of each part of every descent.

    Nesterov's accelerated gradient, with each tensor's gradient clipped to norm `CLIP` and lambda kept in its box. A
    descent that diverges is ignored; at worst the start is returned.

    Args:
        key: randomness of the batches, the same for all choices.
        params: where every descent of the weights starts.
        values: where every descent of lambda starts.
        phi: the optimal value, a callable pytree, such as `OptimalValue` or a `jax.tree_util.Partial`.
        multipliers: those of this pass.
        box: lowest and highest lambda.
        rates: learning rates, one row per descent.
        momenta: one for each descent.
        data: argument of the functions.
        functions: F, f and batches.
        checks: number of parts of a descent, which must divide its steps.
    """
    lagrangian = partial(augmented, functions, phi, multipliers)
    slope = jax.grad(lambda pair, batch: lagrangian(pair[0], pair[1], batch)[0])
    choices, steps = rates.shape
    keys = jax.random.split(key, (checks, steps // checks))

    def judged(params: Params, values: Values, choice: Array) -> Iterate:
        value, (valid_loss, objective) = lagrangian(params, values, data)
        return Iterate(params, values, jnp.where(jnp.isfinite(value), value, jnp.inf), valid_loss, objective, choice)

    def descend(best: Iterate, choice: Array) -> tuple[Iterate, None]:
        def step(carry: Any, inputs: tuple[Array, Array]) -> tuple[Any, None]:
            (pair, velocity), (key, rate) = carry, inputs
            gradient = jax.tree.map(clip, slope(pair, functions.batch(key, data)))
            velocity = jax.tree.map(lambda v, g: (momenta[choice] * v + g).astype(v.dtype), velocity, gradient)
            move = jax.tree.map(lambda v, g: (rate * (g + momenta[choice] * v)).astype(v.dtype), velocity, gradient)
            params, values = jax.tree.map(jnp.subtract, pair, move)
            return ((params, jnp.clip(values, *box).astype(values.dtype)), velocity), None

        def part(carry: Any, inputs: tuple[Array, Array]) -> tuple[Any, None]:
            descent, best = carry
            descent, _ = jax.lax.scan(step, descent, inputs)
            (params, values), _ = descent
            here = judged(params, values, choice)
            better = here.lagrangian < best.lagrangian
            return (descent, jax.tree.map(partial(jnp.where, better), here, best)), None

        pair = (params, values)
        start = (pair, jax.tree.map(jnp.zeros_like, pair))
        parts = (keys, rates[choice].reshape(checks, steps // checks))
        (_, best), _ = jax.lax.scan(part, (start, best), parts)
        return best, None

    best, _ = jax.lax.scan(descend, judged(params, values, jnp.array(-1)), jnp.arange(choices))
    return best


def clip(gradient: Float[Array, "..."]) -> Float[Array, "..."]:
    """The gradient, shortened to norm `CLIP` if it is longer."""
    norm = jnp.sqrt(jnp.sum(at_least_float32(gradient) ** 2))
    return (gradient * jnp.minimum(1.0, CLIP / jnp.maximum(norm, 1e-12))).astype(gradient.dtype)
