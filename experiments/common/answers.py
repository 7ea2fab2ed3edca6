"""What a search answers after each of its trials, and its curve if these answers are judged in another way."""

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from experiments.common import curves
from experiments.common.curves import Curves
from ibo_jax.methods import METHODS
from ibo_jax.problems.axes import RANDOM_RATIOS
from ibo_jax.space import PRESAMPLE_RATIO


class Answer(NamedTuple):
    """What a search answers after one or more of its trials."""

    method: str
    seed: int
    hyperparameters: dict[str, Any]
    plain_error: float | None  # None where retraining diverged

    @property
    def text(self) -> str:
        """The hyperparameters as text, equal if they are equal: JSON keeps every bit of a float."""
        return json.dumps(self.hyperparameters, sort_keys=True)


def ratios(method: str) -> tuple[int, ...]:
    """Presample ratios at which a method's answer is trained.

    Examples:
        >>> ratios("ibo"), ratios("fabolas"), ratios("tpe")
        ((6,), (1,), (1,))
    """
    importance = METHODS[method].importance if method in METHODS else "off"
    return {"searched": (int(PRESAMPLE_RATIO.target),), "random": RANDOM_RATIOS, "off": (1,)}[importance]


def answers(found: list[dict[str, Any]]) -> dict[tuple[str, int], list[Answer | None]]:
    """For every search in the rows that has ended, one answer per trial; None before the first."""
    return {
        search: [row["incumbent"] and Answer(*search, row["incumbent"], row["test_error"]) for row in trials]
        for search, trials in curves.searches(found).items()
    }


def judged(found: list[dict[str, Any]], error: Callable[[Answer], float]) -> Curves:
    """The runs with these errors of their answers; NaN before the first answer."""

    def errors(given: Iterable[Answer | None]) -> np.ndarray:
        return np.array([np.nan if answer is None else error(answer) for answer in given])

    given = answers(found)
    return {method: {seed: run._replace(error=errors(given[method, seed])) for seed, run in runs.items()}
            for method, runs in curves.load(found).items()}  # fmt: skip
