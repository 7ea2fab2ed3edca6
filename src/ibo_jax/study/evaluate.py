"""One evaluation that always ends in an outcome."""

import json
import math
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from ibo_jax.outcomes import OBSERVED_STATES, Outcome, State
from ibo_jax.problems.base import Problem
from ibo_jax.study.convert import plain
from ibo_jax.types import Hyperparameters

__all__ = ["evaluate"]

OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory")


def evaluate(
    problem: Problem,
    seed: int,
    hyperparameters: Hyperparameters,
    fidelity: float | int,
    on_epoch: Callable[[int, float], bool] | None = None,
) -> tuple[Outcome, float]:
    """Evaluate once; exceptions and errors that are not finite become outcomes.

    Args:
        on_epoch: told of each epoch, for problems that have them; true stops the training.

    Returns:
        The outcome and the wall seconds. A cost in seconds that the problem does not state, or not as a positive
        number, is measured.

    Raises:
        TypeError: the problem returned something else than an `Outcome`, or one of other things than numbers.
    """
    began = time.perf_counter()
    try:
        options = {} if on_epoch is None else {"on_epoch": on_epoch}
        outcome = problem.evaluate(seed, hyperparameters, fidelity, **options)
    except Exception as error:  # raised by the problem: whatever it is, the search goes on
        outcome = Outcome("crashed", math.nan, message=_reason(error))
    seconds = time.perf_counter() - began
    if not isinstance(outcome, Outcome) or outcome.state not in get_args(State):
        raise TypeError(
            f"expected {problem.name}.evaluate to return an Outcome with a state out of {get_args(State)}, "
            f"got {outcome!r}; for example Outcome('ok', error)"
        )
    try:
        outcome = _in_python(outcome)
        json.dumps(plain(outcome.history))  # as it will be stored
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"expected {problem.name}.evaluate to return an Outcome whose error and costs are single numbers and whose "
            f"history is of numbers, got {outcome!r} ({error}); for example Outcome('ok', error=float(error))"
        ) from error
    if outcome.state == "ok" and not math.isfinite(outcome.error):
        outcome = outcome._replace(state="diverged", message=f"the error is {outcome.error}")
    if outcome.state == "diverged" and not math.isfinite(outcome.error):
        outcome = outcome._replace(error=problem.guess)
    if outcome.state not in OBSERVED_STATES:  # what a training that was cut short had reached is in its history
        outcome = outcome._replace(error=math.nan)
    if not 0 < outcome.cost_seconds < math.inf:
        outcome = outcome._replace(cost_seconds=max(seconds - outcome.compile_seconds, 1e-9))
    return outcome, seconds


def _in_python(outcome: Outcome) -> Outcome:
    """Numbers as Python has them, whatever arrays the problem returned, and an exception as text that can be printed
    (names of files may be none); a work that is not finite is unknown."""
    error, seconds, work, compiling, share = (math.nan if value is None else float(value) for value in (
        outcome.error, outcome.cost_seconds, outcome.cost_work, outcome.compile_seconds, outcome.importance_share
    ))  # fmt: skip
    return outcome._replace(
        error=error, cost_seconds=seconds, cost_work=work if math.isfinite(work) else 0.0, compile_seconds=compiling,
        importance_share=share, message=str(outcome.message or "").encode(errors="backslashreplace").decode(),
    )  # fmt: skip


def _reason(error: Exception) -> str:
    """What was raised and where, on one line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error).strip().split("\n", 1)[0][:500]
    memory = isinstance(error, MemoryError) or any(mark in str(error) for mark in OUT_OF_MEMORY)
    said = f"{type(error).__name__}: {text} ({Path(frame.filename).name}, line {frame.lineno}, in {frame.name})"
    return f"out of memory; {said}" if memory else said
