"""One run: a method on the problem for a number of seconds, and what its answer was worth at each moment."""

import math
import time
from dataclasses import replace
from typing import Any

import jax

from experiments.common.trained import retrained, trained
from ibo_jax import bilevel, tune
from ibo_jax.bilevel.judge import judge
from ibo_jax.problems.base import Problem
from ibo_jax.study.convert import plain


def run(problem: Problem, method: str, seed: int, seconds: float) -> dict[str, Any]:
    """A flat row: at the seconds `at` the test loss of the answer became `test_loss`; and the last answer's numbers.

    `state` is "ok", "diverged" or "no answer" when the time was over, or "not applicable" with the tuner's message.
    """
    found = (
        tuned(problem, method, seed, seconds) if method in bilevel.NAMES else searched(problem, method, seed, seconds)
    )
    if found["state"] != "ok":
        return found
    again = retrained(problem, seed, found["hyperparameters"])
    return plain({**found, "retrained_test_loss": again.loss, "retrained_test_error": again.error})


def searched(problem: Problem, method: str, seed: int, seconds: float) -> dict[str, Any]:
    """A search, run by its own loop; every distinct answer is trained once more to be judged."""
    result = tune(replace(problem, report=None), method, seconds=seconds, seed=seed, progress=False)
    answers = [*(row["incumbent"] for row in result.rows[1:]), result.hyperparameters]
    at, losses, last, known = [], [], None, None
    for row, answer in zip(result.rows, answers, strict=True):
        if answer is not None and answer != known:
            known, last = answer, trained(problem, seed, answer)
            at.append(row["elapsed_seconds"])
            losses.append(last.loss)
    if last is None:
        return {"state": "diverged", "message": result.message, "updates": len(result.rows)}
    return {
        "state": "ok", "updates": len(result.rows), "seconds": result.rows[-1]["elapsed_seconds"], "at": at,
        "series": losses, "test_loss": last.loss, "test_error": last.error, "hyperparameters": known,
    }  # fmt: skip


def tuned(problem: Problem, method: str, seed: int, seconds: float) -> dict[str, Any]:
    """A gradient-based tuner, run until its epochs are done, its state stops being finite, or the time is over."""
    assert problem.learning is not None
    judged, began = judge(problem.learning), time.perf_counter()
    try:
        tuner = bilevel.make(method, problem)
    except ValueError as refusal:
        return {"state": "not applicable", "message": str(refusal)}
    best, last, known, updates, finite, spent = math.inf, None, None, 0, True, 0.0
    at, losses = [], []
    for state, measures in bilevel.updates(jax.random.key(seed), tuner):
        score, finite = float(measures.score), bool(measures.finite)
        spent += time.perf_counter() - began
        updates += 1
        if finite and score < best:  # NaN: no answer yet
            best, known = score, tuner.hyperparameters(state)
            last = judged(tuner.params(state), known, "test")
            at.append(spent)
            losses.append(last.loss)
        if spent >= seconds:
            break
        began = time.perf_counter()  # judging does not count
    if last is None:
        why = "no answer" if finite else "diverged"
        return {"state": why, "message": f"no answer after {updates} updates, {spent:.0f} s", "updates": updates}
    return {
        "state": "ok", "updates": updates, "seconds": spent, "at": at, "series": losses, "finite": finite,
        "test_loss": last.loss, "test_error": last.error, "hyperparameters": known,
    }  # fmt: skip
