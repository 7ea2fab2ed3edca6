"""One evaluation that always ends in an outcome, and the memory that many of them leave behind."""

import math
import sys
import time
import traceback
from pathlib import Path
from typing import get_args

from ibo_jax.outcomes import Outcome, State
from ibo_jax.problems.base import Problem
from ibo_jax.types import Hyperparameters

__all__ = ["GROWTH_MEGABYTES", "evaluate", "release_memory", "resident_megabytes"]

GROWTH_MEGABYTES = 300  # compiled programs are given back after this much growth: about sixty of a small network
OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory")


def evaluate(
    problem: Problem, seed: int, hyperparameters: Hyperparameters, fidelity: float | int
) -> tuple[Outcome, float]:
    """Evaluate once; exceptions and errors that are not finite become outcomes.

    Returns:
        The outcome and the wall seconds. A cost in seconds that the problem does not state is measured.

    Raises:
        TypeError: the problem returned something else than an `Outcome`.
    """
    began = time.perf_counter()
    try:
        outcome = problem.evaluate(seed, hyperparameters, fidelity)
    except Exception as error:  # of the problem: whatever it is, the search goes on
        outcome = Outcome("crashed", math.nan, message=_reason(error))
    seconds = time.perf_counter() - began
    if not isinstance(outcome, Outcome) or outcome.state not in get_args(State):
        raise TypeError(
            f"expected {problem.name}.evaluate to return an Outcome with a state out of {get_args(State)}, "
            f"got {outcome!r}; for example Outcome('ok', error)"
        )
    if outcome.state == "ok" and not math.isfinite(outcome.error):
        outcome = outcome._replace(state="diverged", message=f"the error is {outcome.error}")
    if outcome.state == "diverged" and not math.isfinite(outcome.error):
        outcome = outcome._replace(error=problem.guess)
    if not outcome.cost_seconds > 0:
        outcome = outcome._replace(cost_seconds=max(seconds - outcome.compile_seconds, 1e-9))
    return outcome, seconds


def resident_megabytes() -> float:
    """Memory of this process; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 / 1e6 if statm.exists() else 0.0


def release_memory(allowed: float) -> float:
    """Give compiled programs back if the process has outgrown `allowed` megabytes; the new allowance.

    Does nothing if nothing was trained in this process.
    """
    if resident_megabytes() > allowed and (programs := sys.modules.get("ibo_jax.training.programs")):
        programs.release_memory()
        return resident_megabytes() + GROWTH_MEGABYTES
    return allowed


def _reason(error: Exception) -> str:
    """What was raised and where, on one line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error).strip().split("\n", 1)[0][:500]
    memory = isinstance(error, MemoryError) or any(mark in str(error) for mark in OUT_OF_MEMORY)
    said = f"{type(error).__name__}: {text} ({Path(frame.filename).name}, line {frame.lineno}, in {frame.name})"
    return f"out of memory; {said}" if memory else said
