"""Maximise over integers and choices: exchange one value at a time, where a gradient sees nothing.

References:
    [HutterEtAl2011] Sequential model-based optimization for general algorithm configuration. LION 5.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ibo_jax.space import Cells
from ibo_jax.types import AnyArray

__all__ = ["climb", "distinct", "neighbours"]

ROUNDS = 8  # of exchanges at most; most starts stand on a local maximum after two or three


def climb(
    function: Callable[[Float[AnyArray, "point dimension"]], Float[AnyArray, "point"]],
    starts: Float[AnyArray, "start dimension"],
    values: Float[AnyArray, "start"],
    cells: Cells,
) -> tuple[Float[AnyArray, "start dimension"], Float[AnyArray, "start"]]:
    """Each start moved to its best neighbour until none is better, as SMAC searches locally, and the values there
    [HutterEtAl2011].

    Args:
        function: what is maximised; it takes many points at once.
        starts: reachable points (`reachable.snap`).
        values: of `function` at the starts.
        cells: what each dimension can reach; at least one of them has gaps.

    Examples:
        >>> from ibo_jax.space import Cell
        >>> cells = (Cell(), Cell(values=(0.125, 0.375, 0.625, 0.875)), Cell(width=3))
        >>> def function(x):
        ...     return x @ jnp.array([1.0, -1.0, 0.0, 2.0, 3.0])
        >>> starts = jnp.array([[0.5, 0.875, 1.0, 0.0, 0.0]])
        >>> climb(function, starts, function(starts), cells)[0].tolist()
        [[0.5, 0.125, 0.0, 0.0, 1.0]]
    """

    def go_on(carry):
        _, _, moved, count = carry
        return moved & (count < ROUNDS)

    def exchange(carry):
        points, values, _, count = carry
        around = jax.vmap(lambda point: neighbours(point, cells))(points)
        found = function(around.reshape(-1, around.shape[-1])).reshape(around.shape[:-1])
        best = jnp.argmax(found, axis=1)[:, None]
        there, value = jnp.take_along_axis(around, best[..., None], 1)[:, 0], jnp.take_along_axis(found, best, 1)[:, 0]
        better = value > values  # False for NaN
        points = jnp.where(better[:, None], there, points)
        return points, jnp.where(better, value, values), jnp.any(better), count + 1

    return jax.lax.while_loop(go_on, exchange, (starts, values, jnp.asarray(True), 0))[:2]


def neighbours(x: Float[AnyArray, "dimension"], cells: Cells) -> Float[AnyArray, "neighbour dimension"]:
    """The points that differ from a reachable one in one choice, or in one integer by 1, 2, 4, ... of its values; some
    of them are the point itself.

    Examples:
        >>> from ibo_jax.space import Cell
        >>> cells = (Cell(), Cell(values=(0.125, 0.375, 0.625, 0.875)))
        >>> neighbours(jnp.array([0.3, 0.375]), cells)[:, 1].tolist()  # 1 and 2 below, 1 and 2 above
        [0.125, 0.125, 0.625, 0.875]
    """
    found, start = [], 0
    for width, values in cells:
        end = start + width
        if width > 1 or values:
            parts = jnp.eye(width, dtype=x.dtype) if width > 1 else _values_around(x[start], values)
            found.append(jnp.tile(x, (len(parts), 1)).at[:, start:end].set(parts))
        start = end
    return jnp.concatenate(found)


def _values_around(coordinate, values: tuple[float, ...]) -> Float[AnyArray, "value 1"]:
    """The values of an integer 1, 2, 4, ... below and above this one; its ends if there is none so far."""
    grid = jnp.asarray(values, coordinate.dtype)
    steps = 2 ** np.arange((len(values) - 1).bit_length())
    indices = jnp.argmin(jnp.abs(grid - coordinate)) + np.concatenate([-steps, steps])
    return grid[jnp.clip(indices, 0, len(values) - 1)][:, None]


def distinct(points: Float[AnyArray, "point dimension"], scores: Float[AnyArray, "point"]) -> Float[AnyArray, "point"]:
    """The scores, -inf for points that repeat another one: snapped, many a point is the same.

    Examples:
        >>> distinct(jnp.array([[0.5, 0.5], [0.0, 1.0], [0.5, 0.5]]), jnp.array([2.0, 1.0, 2.0])).tolist()
        [2.0, 1.0, -inf]
    """
    direction = np.random.default_rng(0).normal(size=points.shape[1])  # along which different points lie apart
    places = jnp.sum(points * jnp.asarray(direction, points.dtype), axis=1)
    order = jnp.argsort(places)
    repeated = jnp.diff(places[order], prepend=-jnp.inf) < 16 * jnp.finfo(places.dtype).eps
    return jnp.where(jnp.zeros(len(points), bool).at[order].set(repeated), -jnp.inf, scores)
