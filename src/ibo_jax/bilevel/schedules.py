"""Learning rates of the descents in a pass of the value-function method (Sinha et al., 2022, and its notebooks)."""

from typing import NamedTuple

import numpy as np

from ibo_jax.types import Float

__all__ = ["PARTS", "Schedule", "corrected", "published"]

PARTS = 6  # per descent, which is judged on all data after each part
STEPS, EPOCHS = 300, 12  # length of a descent, whichever is more; the first is published


class Schedule(NamedTuple):
    """Learning rates, one row per descent, and their momenta."""

    rates: Float[np.ndarray, "choice step"]
    momenta: Float[np.ndarray, "choice"]


def corrected(per_epoch: int) -> Schedule:
    """Five rates of f that fall to zero, for a network that sees `per_epoch` batches in an epoch."""
    steps = PARTS * -(-max(STEPS, EPOCHS * per_epoch) // PARTS)
    rates = np.array([[0.03], [0.1], [0.3], [1.0], [3.0]]) * np.linspace(1.0, 0.0, steps, endpoint=False)
    return Schedule(rates.astype(np.float32), np.full(len(rates), 0.9, np.float32))


def published() -> Schedule:
    """Five rates times five momenta, held; squared, because the notebooks' step multiplies by the rate twice."""
    rates, momenta = np.meshgrid([0.001, 0.01, 0.05, 0.07, 0.1], [0.1, 0.5, 0.8, 0.9, 0.99], indexing="ij")
    held = np.repeat(rates.reshape(-1, 1) ** 2, STEPS, axis=1)
    return Schedule(held.astype(np.float32), momenta.ravel().astype(np.float32))
