"""A full factorial grid of a search space, for grid search."""

import math

import numpy as np

from ibo_jax.space import Categorical, Dimension, Integer, SearchSpace
from ibo_jax.types import Value

__all__ = ["factorial_grid"]


def factorial_grid(space: SearchSpace, points: int) -> dict[str, list[Value]]:
    """The levels of each dimension, as many as fit so that all their combinations are at most `points`.

    Dimensions gain levels in turn, the one with fewest first (in the order of the space), until none can gain another:
    the grid is as even as possible, and as large as an even grid can be. The levels of a real or integer dimension are
    the centres of equal cells on its own (log) scale, or its middle if there is one level: its ends are seldom good,
    and with two levels a grid of ends would be nothing but corners. No integer is a level twice, a dimension has at
    most all of its values, and choices are taken at equal distances in their order.

    Args:
        points: at least 1.

    Examples:
        >>> from ibo_jax.space import Float
        >>> space = SearchSpace({"rate": Float(1e-4, 1e-2, log=True), "layers": Integer(1, 2), "drop": Float(0.0, 1.0)})
        >>> {name: [round(value, 5) for value in levels] for name, levels in factorial_grid(space, 13).items()}
        {'rate': [0.00022, 0.001, 0.00464], 'layers': [1, 2], 'drop': [0.25, 0.75]}
    """
    counts = dict.fromkeys(space.names, 1)
    while True:
        raised = [
            name
            for name in sorted(counts, key=counts.__getitem__)  # stable: equal counts in the order of the space
            if counts[name] < _limit(space.dimensions[name])
            and _size(space, {**counts, name: counts[name] + 1}) <= points
        ]
        if not raised:
            return {name: _levels(dimension, counts[name]) for name, dimension in space.dimensions.items()}
        counts[raised[0]] += 1


def _size(space: SearchSpace, counts: dict[str, int]) -> int:
    return math.prod(_size_of(dimension, counts[name]) for name, dimension in space.dimensions.items())


def _size_of(dimension: Dimension, count: int) -> int:
    """How many different levels there are; only integers can coincide, the others need not be built."""
    return len(_levels(dimension, count)) if isinstance(dimension, Integer) else count


def _limit(dimension: Dimension) -> float:
    """The number of values of a dimension."""
    if isinstance(dimension, Categorical):
        return len(dimension.choices)
    return dimension.high - dimension.low + 1 if isinstance(dimension, Integer) else math.inf


def _levels(dimension: Dimension, count: int) -> list[Value]:
    """About `count` different values at equal distances; all of them if `count` reaches the limit."""
    if isinstance(dimension, Integer) and count >= _limit(dimension):
        return list(range(dimension.low, dimension.high + 1))
    centres = [(cell + 0.5) / count for cell in range(count)]
    if isinstance(dimension, Categorical):
        return [dimension.choices[int(centre * len(dimension.choices))] for centre in centres]
    return list(dict.fromkeys(dimension.decode(np.array([centre])) for centre in centres))
