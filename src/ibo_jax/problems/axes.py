"""What a fidelity means for a training: how many examples are scored in a step, or how many are trained on.

References:
    [AriafarEtAl2021] Faster & more reliable tuning of neural networks. AISTATS 2021 (presamples).
    [KleinEtAl2017] Fast Bayesian optimization of machine learning hyperparameters on large datasets. AISTATS 2017
        (subsets, on a log scale, a fresh one for every evaluation).
    [SwerskyEtAl2013] Multi-task Bayesian optimization. NeurIPS 2013 (a part of the data as a task).
"""

from typing import NamedTuple

import numpy as np

from ibo_jax.space import PRESAMPLE_RATIO, Fidelity
from ibo_jax.types import Importance

__all__ = [
    "PRESAMPLE_SHARE",
    "RANDOM_RATIOS",
    "TASK",
    "TASK_SHARE",
    "Sample",
    "check_axis",
    "sample_of",
    "subset_sizes",
]

PRESAMPLE_SHARE = Fidelity("presample_share", 0.0, 1.0, plain=0.0)
"""s = log(B / b) / log(m / b) in [0, 1] for batches of b and m training examples: Algorithm 1 to the letter."""

TASK = Fidelity("task", 1, 2, integer=True)  # a share of the training set, or all of it
TASK_SHARE = 0.25
SUBSET_NAME = "subset_size"
RANDOM_RATIOS = (2, 3, 4, 5, 6)  # of Fabolas-IS
NAMES = (PRESAMPLE_RATIO.name, PRESAMPLE_SHARE.name, SUBSET_NAME, TASK.name)


class Sample(NamedTuple):
    """What a training uses: B / b, and the size of the subset to which it is restricted, None for all examples."""

    presample_ratio: float
    subset_size: int | None = None


def subset_sizes(smallest: int, examples: int) -> Fidelity:
    """Subsets from the largest batch, the smallest that can be trained on, to all training examples.

    Examples:
        >>> subset_sizes(256, 50_000).decode(0.5)
        3578
    """
    return Fidelity(SUBSET_NAME, smallest, examples, integer=True)


def sample_of(
    fidelity: Fidelity, value: float | int, importance: Importance, seed: int, batch_size: int, examples: int
) -> Sample:
    """What a training at this value of the fidelity uses; `seed` draws a random presample ratio.

    Examples:
        >>> sample_of(PRESAMPLE_RATIO, 3, "searched", 0, 32, 50_000)
        Sample(presample_ratio=3, subset_size=None)
    """
    if fidelity.name == PRESAMPLE_RATIO.name:
        return Sample(value)
    if fidelity.name == PRESAMPLE_SHARE.name:
        return Sample(round(batch_size * (examples / batch_size) ** value) / batch_size)
    ratio = int(np.random.default_rng([seed, 1]).choice(RANDOM_RATIOS)) if importance == "random" else 1
    if fidelity.name == SUBSET_NAME:
        return Sample(ratio, int(value))
    return Sample(ratio, examples if value == TASK.high else int(TASK_SHARE * examples))


def check_axis(name: str, fidelity: Fidelity) -> None:
    """Refuse a fidelity that trainings do not know.

    Raises:
        ValueError: its name is unknown, or its ends are out of range.
    """
    if fidelity.name not in NAMES:
        raise ValueError(
            f"{name}: expected the fidelity to be named {PRESAMPLE_RATIO.name!r} or {PRESAMPLE_SHARE.name!r}, "
            f"got {fidelity.name!r}; take PRESAMPLE_RATIO, changing its ends with _replace(low=..., high=...)"
        )
    low, high = (0, 1) if fidelity.name == PRESAMPLE_SHARE.name else (1, float("inf"))
    if not low <= fidelity.low <= fidelity.high <= high:
        raise ValueError(
            f"{name}: expected {low} <= low <= high <= {high} of {fidelity.name}, got {fidelity.low} and "
            f"{fidelity.high}; a presample is never smaller than a batch"
        )
