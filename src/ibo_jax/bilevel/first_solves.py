"""Where the value-function method solves the lower level before its passes.

Lambda is on the scale of `coordinates`.
"""

import math

import numpy as np
from scipy.stats import qmc

from ibo_jax.types import Float

__all__ = ["beside", "design"]


def design(low: Float[np.ndarray, "d"], high: Float[np.ndarray, "d"]) -> Float[np.ndarray, "point d"]:
    """Lambda of the first solves: ten in a row, a five by five grid, or at least eight Sobol points per dimension.

    Examples:
        >>> design(np.array([-10.0]), np.array([-1.0])).ravel().tolist()
        [-10.0, -9.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0]
    """
    dimension = len(low)
    if dimension <= 2:
        side = np.linspace(0.0, 1.0, 10 if dimension == 1 else 5)
        unit = np.stack(np.meshgrid(*[side] * dimension, indexing="ij"), -1).reshape(-1, dimension)
    else:
        unit = qmc.Sobol(dimension, rng=0).random_base2(math.ceil(math.log2(8 * dimension)))
    return (low + unit * (high - low)).astype(np.float32)


def beside(
    best: Float[np.ndarray, "d"], low: Float[np.ndarray, "d"], high: Float[np.ndarray, "d"], points: int, count: int
) -> Float[np.ndarray, "count d"]:
    """Lambda of `count` more, within one spacing of the best of a design of `points`, inside the box.

    A Latin hypercube: each coordinate has one point in the middle of each of the `count` parts of that range.

    Examples:
        >>> beside(np.array([-4.0]), np.array([-10.0]), np.array([0.0]), 10, 2).ravel().tolist()
        [-3.5, -4.5]
    """
    spacing = (high - low) * points ** (-1.0 / len(low))
    below, above = np.maximum(low, best - spacing), np.minimum(high, best + spacing)
    unit = qmc.LatinHypercube(len(low), scramble=False, rng=0).random(count)
    return (below + unit * (above - below)).astype(np.float32)
