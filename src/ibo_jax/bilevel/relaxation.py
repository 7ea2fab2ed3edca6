"""Hyperparameters as unconstrained numbers, so that any step and any perturbation stays within the bounds.

A bounded hyperparameter is low + (high - low) sigmoid(u), on the scale on which it is searched (MacKay et al. 2019); a
half-line is low + softplus(u), whose upper bound only serves methods that sample. An integer is the floor of a number
that has an equal share of the range for each value; it has no derivative, and none is needed.
"""

from collections.abc import Collection

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.special import expit, logit

from ibo_jax.bilevel import coordinates
from ibo_jax.space import Integer, SearchSpace
from ibo_jax.types import AnyArray, Array, Float, Hyperparameters

__all__ = ["LIMIT", "by_name", "clip", "unconstrained"]

LIMIT = 6.0
"""How far an unconstrained number may go: within 0.25 % of the range of its bound, where little changes any more but
the linear response would go on growing."""


def by_name(
    space: SearchSpace, values: Float[AnyArray, "*example hyperparameter"], half_lines: Collection[str] = ()
) -> dict[str, Array]:
    """The hyperparameters as a network sees them, one array each, with integers as whole values in float32.

    Examples:
        >>> from ibo_jax.space import Float as Real
        >>> space = SearchSpace({"dropout": Real(0.0, 0.5), "holes": Integer(0, 3), "l2": Real(1e-4, 1.0, log=True)})
        >>> {name: round(float(value), 3) for name, value in by_name(space, jnp.zeros(3)).items()}
        {'dropout': 0.25, 'holes': 2.0, 'l2': 0.01}
    """
    low, high, mask = (lax.broadcast_to_rank(each, values.ndim)
                       for each in (*coordinates.shares(space), _mask(space, half_lines)))  # fmt: skip
    spread = jax.nn.sigmoid(values) * (high - low)
    if half_lines:
        spread = jnp.where(mask, jax.nn.softplus(values), spread)
    return coordinates.floored(space, coordinates.by_name(space, low + spread))


def unconstrained(
    space: SearchSpace, hyperparameters: Hyperparameters, half_lines: Collection[str] = ()
) -> Float[np.ndarray, "hyperparameter"]:
    """The way back; a value at a bound, or beyond, becomes `LIMIT`.

    Raises:
        ValueError: a hyperparameter has no value, a value that is not a number, or unordered choices, or is unknown.
    """
    if unknown := sorted(hyperparameters.keys() - space.dimensions.keys()):
        raise ValueError(f"expected hyperparameters among {list(space.names)}, got {unknown}; drop those")
    (low, high), mask = coordinates.shares(space), _mask(space, half_lines)
    inside = dict(hyperparameters)
    for name in inside.keys() & space.dimensions.keys():  # `encode` complains about missing ones
        inside[name] = max(float(inside[name]), space.dimensions[name].low)  # type: ignore[union-attr]
    space.encode(inside)
    if not np.isfinite([float(value) for value in inside.values()]).all():
        raise ValueError(f"expected finite hyperparameters, got {hyperparameters}; change those that are not")
    middle = {name: float(inside[name]) + 0.5 * isinstance(dim, Integer) for name, dim in space.dimensions.items()}
    spread = (coordinates.vector(space, middle) - low).astype(np.float64)
    inverse = spread + np.log(-np.expm1(-np.clip(spread, expit(-LIMIT), None)))
    values = np.where(mask, inverse, logit(np.clip(spread / (high - low), expit(-LIMIT), expit(LIMIT))))
    return np.clip(values, -LIMIT, np.where(mask, np.inf, LIMIT)).astype(np.float32)


def clip(values: Float[Array, "hyperparameter"], space: SearchSpace, half_lines: Collection[str] = ()) -> Array:
    """Within `LIMIT`; half-lines have no upper one."""
    return jnp.clip(values, -LIMIT, jnp.where(_mask(space, half_lines), jnp.inf, LIMIT))


def _mask(space: SearchSpace, half_lines: Collection[str]) -> np.ndarray:
    unknown = set(half_lines) - set(space.names)
    if unknown or any(getattr(space.dimensions[name], "log", False) for name in half_lines):
        raise ValueError(f"expected half-lines among the linear hyperparameters of {list(space.names)}, got "
                         f"{sorted(half_lines)}; drop the others")  # fmt: skip
    return np.array([name in half_lines for name in space.names])
