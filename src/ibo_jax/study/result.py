"""What a search or a descent found."""

from pathlib import Path
from typing import Any, NamedTuple

from ibo_jax.types import Value

__all__ = ["ERRORS", "Result"]

ERRORS = ("predicted_error", "validation_error", "test_error", "test_error_as_trained")
"""Fields of a `Result`, and keys of a study's summary."""


class Result(NamedTuple):
    """What a search found.

    Attributes:
        hyperparameters: the incumbent: of all evaluated configurations, the one of lowest predicted error at the target
            fidelity; None if no evaluation succeeded.
        predicted_error: that prediction; None from a gradient-based tuner.
        validation_error: the error observed with them, at the highest fidelity at which they were evaluated.
        test_error: test error after plain retraining on training and validation data, as in the paper, or that of the
            network that a gradient-based tuner has trained; None if the problem has no report.
        test_error_as_trained: the same with the importance sampling of an evaluation at the target fidelity; None if
            that is plain training or scores all examples in a step, as under protocol "paper".
        rows: one row per slot, see `ibo_jax.study.rows.Row`, or per epoch, see `ibo_jax.study.descent.EpochRow`.
        directory: where the study is stored; None if it was in memory.
        message: what went wrong with the answer, or empty.
    """

    hyperparameters: dict[str, Value] | None
    predicted_error: float | None
    validation_error: float | None
    test_error: float | None
    test_error_as_trained: float | None
    rows: list[Any]
    directory: Path | None = None
    message: str = ""
