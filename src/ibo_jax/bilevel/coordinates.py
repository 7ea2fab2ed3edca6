"""Hyperparameters as a vector, each on the scale on which it is searched: its logarithm where the space says so."""

import math
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from ibo_jax.space import Categorical, Integer, SearchSpace
from ibo_jax.types import AnyArray, Array, Float, Hyperparameters, Value

__all__ = ["as_numbers", "bounds", "by_name", "decoded", "floored", "shares", "vector"]


def bounds(space: SearchSpace) -> Float[np.ndarray, "2 hyperparameter"]:
    """Lowest and highest values.

    Examples:
        >>> from ibo_jax.space import Float as Real
        >>> bounds(SearchSpace({"l2": Real(1.0, math.e, log=True), "dropout": Real(0.0, 0.5)})).tolist()
        [[0.0, 0.0], [1.0, 0.5]]

    Raises:
        ValueError: a dimension has unordered choices.
    """
    ends = []
    for name, dimension in space.dimensions.items():
        if isinstance(dimension, Categorical):
            raise ValueError(f"expected numbers, which a gradient can move, got choices {dimension.choices} for "
                             f"{name!r}; fix it, or choose a method that only evaluates")  # fmt: skip
        pair = (float(dimension.low), float(dimension.high))
        ends.append([math.log(end) for end in pair] if dimension.log else pair)
    return np.array(ends, np.float32).T


def shares(space: SearchSpace) -> Float[np.ndarray, "2 hyperparameter"]:
    """Like `bounds`, but each integer owns the interval that begins at it, see `floored`."""
    ends = bounds(space)
    for column, dimension in enumerate(space.dimensions.values()):
        if isinstance(dimension, Integer):
            top = dimension.high + 1
            ends[1, column] = math.log(top) if dimension.log else top
    return ends


def by_name(space: SearchSpace, values: Float[AnyArray, "*example hyperparameter"]) -> dict[str, Array]:
    """The hyperparameters as a network sees them, one array each; whole numbers are not rounded."""
    named = zip(space.dimensions.items(), jnp.moveaxis(jnp.asarray(values), -1, 0), strict=True)
    return {name: jnp.exp(value) if getattr(dim, "log", False) else value for (name, dim), value in named}


def floored(space: SearchSpace, named: dict[str, Array]) -> dict[str, Array]:
    """The integers of values within `shares`, in floating point; this has no derivative."""
    whole = {name: dim for name, dim in space.dimensions.items() if isinstance(dim, Integer)}
    return named | {name: jnp.clip(jnp.floor(named[name]), dim.low, dim.high) for name, dim in whole.items()}


def decoded(space: SearchSpace, values: Float[AnyArray, "hyperparameter"]) -> dict[str, Value]:
    """As a training would get them: within their bounds, which an exponential may miss, and integers rounded.

    Examples:
        >>> from ibo_jax.space import Float as Real
        >>> decoded(SearchSpace({"l2": Real(1e-4, 1.0, log=True), "units": Integer(1, 8)}), np.array([0.1, 2.6]))
        {'l2': 1.0, 'units': 3}
    """
    return as_numbers(space, by_name(space, values))


def as_numbers(space: SearchSpace, named: Mapping[str, Array]) -> dict[str, Value]:
    """Numbers by name as `decoded` has them."""
    clipped = {name: float(np.clip(float(named[name]), dim.low, dim.high))  # type: ignore[union-attr]
               for name, dim in space.dimensions.items()}  # fmt: skip
    return {name: round(v) if isinstance(space.dimensions[name], Integer) else v for name, v in clipped.items()}


def vector(space: SearchSpace, hyperparameters: Hyperparameters) -> Float[np.ndarray, "hyperparameter"]:
    """The way back."""
    values = [(float(hyperparameters[name]), dim) for name, dim in space.dimensions.items()]
    return np.array([math.log(v) if getattr(dim, "log", False) else v for v, dim in values], np.float32)
