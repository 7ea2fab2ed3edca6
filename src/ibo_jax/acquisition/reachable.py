"""Which points of the unit cube hyperparameters can reach: integers and choices leave gaps.

Between two integers an acquisition promises information, but the evaluation then takes place at one of the two, and
once that is known nothing is learnt: the search may stay there forever. So every point that is asked for or returned
is snapped first, as Garrido-Merchán and Hernández-Lobato (Neurocomputing 2020) do inside the kernel.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ibo_jax.space import Cells
from ibo_jax.types import AnyArray

__all__ = ["small_steps", "snap"]


def snap(x: Float[AnyArray, "*point dimension"], cells: Cells) -> Float[AnyArray, "*point dimension"]:
    """The nearest reachable points. The gradient with respect to coordinates with gaps is zero.

    Args:
        cells: what each dimension can reach, `SearchSpace.cells`; empty if all of the cube can be reached.

    Examples:
        >>> from ibo_jax.space import Cell
        >>> snap(jnp.array([0.4, 0.4, 0.3, 0.6]), (Cell(), Cell(values=(0.25, 0.75)), Cell(width=2))).tolist()
        [0.4000000059604645, 0.25, 0.0, 1.0]
    """
    if not cells:
        return jnp.asarray(x)
    parts, start = [], 0
    for width, values in cells:
        part = x[..., start : start + width]
        if width > 1:
            part = jax.nn.one_hot(jnp.argmax(part, axis=-1), width, dtype=x.dtype)
        elif values:
            grid = jnp.asarray(values, x.dtype)
            part = grid[jnp.argmin(jnp.abs(part - grid), axis=-1)][..., None]
        parts.append(part)
        start += width
    return jnp.concatenate(parts, axis=-1)


def small_steps(cells: Cells, dimension: int, length: float) -> Float[np.ndarray, "dimension"]:
    """Standard deviations, by coordinate, of steps to nearby points: `length`, or for an integer the distance from the
    lowest value to the next; for a choice such that a quarter (two choices) to three quarters (ten) of the steps lead
    to another where they are reflected at the faces of the cube, and a third as many where they are cut off there.

    Examples:
        >>> from ibo_jax.space import Cell
        >>> small_steps((Cell(), Cell(values=(0.25, 0.75)), Cell(width=2)), 4, 0.05).tolist()
        [0.05, 0.5, 0.5, 0.5]
    """
    if not cells:
        return np.full(dimension, length)
    spacings = (values[1] - values[0] if values else 0.5 if width > 1 else 0.0 for width, values in cells)
    return np.concatenate([np.full(cell.width, max(length, h)) for cell, h in zip(cells, spacings, strict=True)])
