"""What the search has seen, in padded buffers: a growing study meets few array shapes and so few compilations."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ibo_jax.types import AnyArray

__all__ = ["Observations", "append", "capacity_for", "empty"]

CAPACITY_STEP = 32


class Observations(NamedTuple):
    """Evaluations in the unit cube, padded to a capacity; only rows with `mask` count.

    `objective` is what is minimised, on the modelled scale (log error if the problem asks for it); `log_cost` is the
    log of the cost in the study's unit; `overhead` is what choosing and preparing the evaluation cost on top of it, in
    the same unit. A row with `pending` is still being evaluated, one that `failed` has ended without an objective; the
    surrogate imputes the objectives of both.
    """

    x: Float[np.ndarray, "observation dimension"]
    fidelity: Float[np.ndarray, "observation"]
    objective: Float[np.ndarray, "observation"]
    log_cost: Float[np.ndarray, "observation"]
    overhead: Float[np.ndarray, "observation"]
    mask: Bool[np.ndarray, "observation"]
    pending: Bool[np.ndarray, "observation"]
    failed: Bool[np.ndarray, "observation"]

    @property
    def evaluated(self) -> Bool[AnyArray, "observation"]:
        """Rows with an objective."""
        return self.mask & ~self.pending & ~self.failed

    @property
    def size(self) -> int:
        """Rows in use, pending and failed ones included."""
        return int(np.sum(self.mask))


def capacity_for(count: int) -> int:
    """The smallest capacity (a multiple of 32) that holds `count` rows."""
    return CAPACITY_STEP * max(1, -(-count // CAPACITY_STEP))


def empty(dimension: int) -> Observations:
    """Empty buffers for points with `dimension` coordinates."""
    numbers, flags = (np.zeros(CAPACITY_STEP) for _ in range(4)), (np.zeros(CAPACITY_STEP, bool) for _ in range(3))
    return Observations(np.zeros((CAPACITY_STEP, dimension)), *numbers, *flags)


def append(
    observations: Observations,
    x: np.ndarray,
    fidelity: float,
    objective: float = 0.0,
    log_cost: float = 0.0,
    overhead: float = 0.0,
    *,
    pending: bool = False,
    failed: bool = False,
) -> Observations:
    """The observations plus one more, at the next capacity if the buffers are full.

    Examples:
        >>> append(empty(2), np.array([0.1, 0.2]), fidelity=1.0, objective=-3.0, log_cost=0.5).size
        1

    Raises:
        ValueError: the point has the wrong number of coordinates.
    """
    if np.shape(x) != (width := observations.x.shape[1:]):
        raise ValueError(f"expected a point of shape {width}, got one of shape {np.shape(x)}; give each coordinate")
    row = observations.size
    extra = max(0, capacity_for(row + 1) - len(observations.mask))
    room = (np.zeros_like(field, shape=(extra, *field.shape[1:])) for field in observations)
    grown = Observations(*map(np.concatenate, zip(observations, room, strict=True)))
    for field, value in zip(grown, (x, fidelity, objective, log_cost, overhead, True, pending, failed), strict=True):
        field[row] = value
    return grown
