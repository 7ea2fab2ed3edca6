"""Tune a problem: the only loop over evaluations, and the answer at its end."""

import math
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ibo_jax import bilevel
from ibo_jax.problems.base import Problem
from ibo_jax.study.attempt import refresh, take, work
from ibo_jax.study.checks import check_cost
from ibo_jax.study.convert import plain
from ibo_jax.study.parallel import assistants, check_parallel
from ibo_jax.study.propose import propose, seed_of
from ibo_jax.study.result import ERRORS, Result
from ibo_jax.study.rows import Row
from ibo_jax.study.search import Search, Slots, observed, prepare, state_after
from ibo_jax.study.storage import is_final
from ibo_jax.types import Hyperparameters

__all__ = ["evaluate_all", "run", "tune"]

POLL_SECONDS = 0.5  # between checks of what other workers do


def tune(
    problem: Problem | str,
    method: str = "ibo",
    *,
    evaluations: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    storage: Path | str | None = None,
    parallel: int = 1,
    cost: str = "seconds",
    protocol: str = "default",
    progress: bool = True,
) -> Result:
    """Search for the hyperparameters of lowest validation error.

    The same call on the same `storage` resumes, after a crash or with a larger budget. Several processes may make the
    same call at once and share the work. With `cost="work"` a resumed search equals an uninterrupted one bit for bit
    (one worker, one machine).

    Args:
        problem: what to tune, or its name, see `ibo-jax problems`.
        method: "ibo", or a baseline: "es", "es-is", "fabolas", "fabolas-is", "mtbo", "ei", "random"; from Optuna "grid"
            (as large as the number of evaluations allows), "tpe", "gp" (needs torch), "hyperband" (random search that
            stops trainings between epochs), "bohb" (TPE that stops them likewise). Those from Optuna train plainly, as
            "random" does. Or a gradient-based tuner, which changes hyperparameters during one training:
            "hypernet-global", "hypernet-local", "stn", "value-function".
        evaluations: total number of evaluations, over restarts and workers; by default what the problem asks for,
            or no limit if `seconds` is given. The fewer are left, the less cost counts in choosing the next one.
            For a gradient-based tuner, the number of epochs.
        seconds: wall time over restarts; a running evaluation is allowed to finish.
        seed: seed of all randomness.
        storage: folder of the study; None keeps everything in memory.
        parallel: workers, each in a process of its own; one of them is this process. They choose one after another,
            each knowing what the others evaluate.
        cost: what an evaluation costs: training "seconds", or "work", the same in every run. Gradient-based tuners
            ignore it.
        protocol: "default"; "paper" for Algorithm 1 to the letter; "scripts" for the authors' code. For a problem given
            by name it also sets the protocol of data and ranges, the only part that gradient-based tuners use.
        progress: show what happens.

    Raises:
        ValueError: an unknown name, a budget that is not positive, a space that cannot be searched, a study that is
            damaged or belongs to another search, or workers without a folder or with a problem that cannot be sent to
            them. It is raised before anything is trained.

    Examples:
        >>> from ibo_jax.problems.synthetic import SYNTHETIC
        >>> result = tune(SYNTHETIC["forrester"], "random", evaluations=50, progress=False)
        >>> result.validation_error < -5
        True
    """
    check_parallel(parallel, method, storage)
    if method in bilevel.NAMES:
        from ibo_jax.study import descent

        check_cost(cost)  # checked, although such a tuner does not use it
        if isinstance(problem, str):
            from ibo_jax.problems import catalogue

            problem = catalogue.problem(problem, protocol=protocol)
        return descent.run(descent.prepare(
            problem, method, epochs=evaluations, seconds=seconds, seed=seed, storage=storage, progress=progress
        ))  # fmt: skip
    search = prepare(
        problem, method, evaluations=evaluations, seconds=seconds, seed=seed, storage=storage, cost=cost,
        protocol=protocol, progress=progress,
    )  # fmt: skip
    result = run(search, parallel)
    if result.hyperparameters is None and result.message:
        warnings.warn(result.message, stacklevel=2)
    return result


def run(search: Search, parallel: int = 1) -> Result:
    """Evaluate until the budget is spent, then judge the answer. The study is always left in order."""
    try:
        with search.progress:
            with search.store.lock():  # before anybody adds to it
                search.progress.update(refresh(search.store), search.elapsed)
            with assistants(search, parallel - 1):
                evaluate_all(search)
            with search.store.lock():
                return _conclude(search)
    finally:
        try:
            with search.store.lock():
                refresh(search.store)
        finally:
            search.store.leave()


def evaluate_all(search: Search) -> None:
    """Take slots and evaluate them until none is left, nor one that another worker might give back."""
    while True:
        if ticket := take(search):
            work(search, ticket)
        elif _others_work(search):
            search.progress.note("waiting for the last trials of other workers")
            time.sleep(POLL_SECONDS)
        else:
            return


def _others_work(search: Search) -> bool:
    spent = search.seconds is not None and search.elapsed >= search.seconds
    slots = search.store.slots()
    return not spent and not all(is_final(slots[slot]) for slot in slots if search.is_asked_for(slot))


def _conclude(search: Search) -> Result:
    """The answer, stored with the study and recomputed only if there are new evaluations or a final training failed, as
    for want of memory; the lock must be held."""
    store, slots, found = search.store, search.store.slots(), refresh(search.store)
    search.progress.update(found, search.elapsed)
    finals = sum(is_final(attempts) for attempts in slots.values())
    kept = store.notes().get("result")
    if kept is None or kept["slots"] != finals or kept.get("failed"):
        search.progress.note("judging the answer")
        kept = plain({"slots": finals, **_answer(search, slots, found)})
        store.note("result", kept)
    if store.directory is not None:
        from ibo_jax.study.page import write_or_warn  # slow imports: Matplotlib
        from ibo_jax.study.report import write_report

        write_or_warn(write_report, store.directory)
    errors = {name: kept.get(name) for name in ERRORS}
    return Result(kept["best"], **errors, rows=found, directory=store.directory, message=kept["message"])


def _answer(search: Search, slots: Slots, found: list[Row]) -> dict[str, Any]:
    problem, seen = search.problem, observed(search, slots)
    answer: dict[str, Any] = dict.fromkeys(("best", *ERRORS, "test_loss", "test_loss_as_trained"))
    if not np.any(seen.evaluated):
        said = [f"the last one said: {row['message']}" for row in found if row["message"]][-1:]
        none = "no evaluation succeeded" if found else "no evaluation was begun within the budget"
        return {**answer, "message": "; ".join([none, *said])}
    slot = max(max(slots) + 1, len(search.proposer.design[0]))  # within the initial design a method has no model yet
    suggestion, _ = propose(search.proposer, slot, seen, state_after(slots))
    same = [
        row
        for row in found
        if row["error"] is not None
        and np.array_equal(problem.space.encode(row["hyperparameters"]), suggestion.incumbent)
    ]
    # As they were evaluated: a way to the unit cube and back can change the last digit.
    best = same[0]["hyperparameters"] if same else problem.space.decode(suggestion.incumbent)
    answer |= {
        "best": best,
        "predicted_error": search.scale.natural(suggestion.incumbent_objective),
        "validation_error": max(same, key=lambda row: row["s"])["error"] if same else None,
    }
    return answer | _judged(problem, seed_of(search.proposer, slot), best)


def _judged(problem: Problem, seed: int, best: Hyperparameters) -> dict[str, Any]:
    """The answer on the test set. A failure here becomes a message: the search is worth more than its last step."""
    judged: dict[str, Any] = {}
    messages, failed = [], False
    for suffix, report in (("", problem.report), ("_as_trained", problem.report_as_trained)):
        training = "the final training" + suffix.replace("_", " ")
        if problem.report is None or report is None:
            continue
        try:
            found = report(seed, dict(best))  # which it may change
            judged |= {f"test_error{suffix}": found.test_error, f"test_loss{suffix}": found.test_loss}
            if not math.isfinite(found.test_loss):
                messages.append(f"{training} diverged: its test loss is {found.test_loss}")
        except Exception as error:
            messages.append(f"{training} failed: {type(error).__name__}: {error}")
            failed = True
    return {**judged, "message": "; ".join(messages), "failed": failed}
