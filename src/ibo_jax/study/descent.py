"""Tuning inside one training: the loop over epochs of a gradient-based tuner, its rows and its checkpoints.

The second kind of study. A row is an epoch, the same call resumes from the checkpoint, and the key of an epoch follows
from the seed and its number, so that a resumed run equals an uninterrupted one.
"""

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import jax
import numpy as np

from ibo_jax import bilevel
from ibo_jax.bilevel.judge import Judge, judge
from ibo_jax.problems.base import Problem
from ibo_jax.study import checkpoint, locks, rows
from ibo_jax.study.checkpoint import Checkpoint
from ibo_jax.study.checks import check_budget, check_problem, check_same, check_seed, folder_of, identity, versions
from ibo_jax.study.compiling import stopwatch
from ibo_jax.study.convert import plain
from ibo_jax.study.progress import number, say
from ibo_jax.study.result import Result
from ibo_jax.types import Value

__all__ = ["EpochRow", "Run", "prepare", "read", "run"]

SHARE = 0.1  # of the time that may go into checkpoints
CAVEATS = {"value-function": "its weights were also trained on validation examples: only the test error is honest"}
Told = Callable[[Sequence["EpochRow"]], None]


class EpochRow(TypedDict):
    """One epoch, with these keys in this order; numbers that are not finite are None."""

    number: int
    state: str  # "ok" or "diverged"
    hyperparameters: dict[str, Value]
    train_loss: float | None  # in the epoch, penalties included
    validation_loss: float | None
    error: float | None  # of validation
    score: float | None  # what the answer is chosen by, the lowest
    cost_seconds: float  # the epoch without compilation
    compile_seconds: float
    elapsed_seconds: float  # wall time of the run, over restarts
    more: dict[str, float | None]  # of this tuner alone


class Run(NamedTuple):
    """A run that is ready to start; nothing in it changes."""

    tuner: bilevel.Tuner
    judge: Judge
    settings: dict[str, Any]  # what must not change while it grows
    epochs: int | None
    seconds: float | None
    directory: Path | None
    told: Told


def prepare(
    problem: Problem,
    method: str,
    *,
    settings: Mapping[str, Any] | None = None,
    epochs: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    storage: Path | str | None = None,
    progress: bool = True,
) -> Run:
    """Check the arguments of `tune` for the methods in `bilevel.NAMES`.

    Args:
        settings: settings of the method, as `bilevel.make` takes them; they are stored with the folder.
        epochs: total number of updates, across restarts; by default the tuner's own, or as many as there is room for
            if `seconds` is given.

    Raises:
        ValueError: see `tune`. It is raised before anything is trained or written.
    """
    check_problem(problem)
    check_budget(epochs, seconds)
    check_seed(seed)
    tuner = bilevel.make(method, problem, **settings or {})
    assert problem.learning is not None
    bilevel.check_epochs(tuner, epochs)
    if epochs is None:
        epochs = tuner.epochs if seconds is None else tuner.limit
    directory = folder_of(storage)
    what = identity(problem) | {"method": method, "seed": int(seed), "settings": plain(dict(settings or {}))}
    if directory is not None:
        _check_folder(directory, what)
    told = Lines(epochs) if progress else lambda found: None
    return Run(tuner, judge(problem.learning), what, epochs, seconds, directory, told)


def run(ready: Run) -> Result:
    """Update until the budget is spent or the state is no longer finite, then judge the answer.

    The answer is the epoch of the lowest score, as it was trained: nothing is retrained. Its network is stored in the
    checkpoint (`best`).

    Examples:
        >>> from ibo_jax.problems.catalogue import problem
        >>> result = run(prepare(problem("digits-l2", scale="smoke"), "hypernet-local", epochs=2, progress=False))
        >>> len(result.rows), sorted(result.hyperparameters)
        (2, ['l2_hidden', 'l2_output'])
    """
    if ready.directory is None:
        return _run(ready, _start(ready))
    ready.directory.mkdir(parents=True, exist_ok=True)
    with locks.exclusive(ready.directory / ".lock"):  # a second process then finds the work done
        start = _start(ready)
        there = (ready.directory / checkpoint.FILE).exists()
        return _run(ready, checkpoint.read(ready.directory, start) if there else start)


def read(directory: Path | str) -> tuple[list[EpochRow], dict[str, Any]]:
    """The rows of a run, and what it is of: problem, method, seed, space, versions, the number of the best row, and the
    result once it has ended.

    Raises:
        ValueError: there is no run, or it is damaged.
    """
    facts = checkpoint.facts_of(Path(directory))
    shared = {name: facts[name] for name in ("versions", "best_row")}
    return facts["rows"], {**facts["settings"], **shared, **facts.get("result", {})}


class Lines:
    """One line per epoch."""

    def __init__(self, epochs: int | None):
        self.of, self.shown = "" if epochs is None else f"/{epochs}", 0

    def __call__(self, found: Sequence[EpochRow]) -> None:
        for row in found[self.shown :]:
            values = ", ".join(f"{name} {number(value)}" for name, value in row["hyperparameters"].items())
            say(f"epoch {row['number'] + 1}{self.of}, {row['state']}, validation loss "
                f"{number(row['validation_loss'])}, error {number(row['error'])}, {row['cost_seconds']:.2f} s, "
                f"{values}")  # fmt: skip
        self.shown = len(found)


def _start(run: Run) -> Checkpoint:
    state = run.tuner.init(_key(run, 0))
    facts: dict[str, Any] = {"settings": run.settings, "versions": versions(), "rows": [], "best_row": None}
    return Checkpoint(state, run.tuner.params(state), facts)


def _run(run: Run, at: Checkpoint) -> Result:
    found: list[EpochRow] = at.facts["rows"]
    run.told(found)
    began = time.monotonic() - (found[-1]["elapsed_seconds"] if found else 0.0)
    kept, writing = time.monotonic(), 0.0
    whole = saved = len(found)
    try:
        while not _is_over(run, found, time.monotonic() - began):
            at = _epoch(run, at, began)
            at.facts.pop("result", None)  # that of fewer epochs
            whole = len(found)
            run.told(found)
            if run.directory is not None and time.monotonic() - kept > writing / SHARE:
                start = time.monotonic()
                _keep(run.directory, at)
                kept, saved = time.monotonic(), whole
                writing = kept - start
        at.facts["result"] = _answer(run, at)
    except BaseException:  # Ctrl-C between two checkpoints loses no finished epoch
        if run.directory is not None and saved < len(found) == whole:
            with contextlib.suppress(Exception):  # the first error says more
                _keep(run.directory, at)
        raise
    if run.directory is not None:
        _keep(run.directory, at)
        from ibo_jax.study.descent_report import write_report
        from ibo_jax.study.page import write_or_warn

        write_or_warn(write_report, run.directory)
    result = at.facts["result"]
    fields = (result["best"], None, result["validation_error"], result["test_error"], None)
    return Result(*fields, found, run.directory, result["message"])


def _is_over(run: Run, found: list[EpochRow], elapsed: float) -> bool:
    ended = bool(found) and found[-1]["state"] == "diverged"
    spent = run.seconds is not None and elapsed >= run.seconds
    return ended or spent or (run.epochs is not None and len(found) >= run.epochs)


def _epoch(run: Run, at: Checkpoint, began: float) -> Checkpoint:
    """One update, judged, with its row appended; a state that is no longer finite ends the run."""
    found, epoch = at.facts["rows"], len(at.facts["rows"])
    start = time.perf_counter()
    with stopwatch() as compiling:
        state, measures = jax.block_until_ready(run.tuner.update(_key(run, epoch + 1), at.state))
    seconds = time.perf_counter() - start
    hyperparameters = plain({name: np.asarray(v).item() for name, v in run.tuner.hyperparameters(state).items()})
    sound = bool(measures.finite) and None not in hyperparameters.values()
    params = run.tuner.params(state)
    error, loss = run.judge(params, hyperparameters, "valid") if sound else (math.nan, math.nan)
    row: EpochRow = plain({
        "number": epoch,
        "state": "ok" if sound else "diverged",
        "hyperparameters": hyperparameters,
        "train_loss": float(measures.train_loss),
        "validation_loss": loss,
        "error": error,
        "score": float(measures.score) if sound else None,
        "cost_seconds": max(seconds - compiling.seconds, 0.0),
        "compile_seconds": compiling.seconds,
        "elapsed_seconds": time.monotonic() - began,
        "more": {name: float(value) for name, value in measures.more.items()},
    })  # fmt: skip
    found.append(row)
    best = at.facts["best_row"]
    if row["score"] is not None and (best is None or row["score"] <= found[best]["score"]):
        at.facts["best_row"] = epoch
        return Checkpoint(state, params, at.facts)
    return Checkpoint(state, at.best, at.facts)


def _answer(run: Run, at: Checkpoint) -> dict[str, Any]:
    """The best epoch, and its error on the test set."""
    found, best = at.facts["rows"], at.facts["best_row"]
    diverged = f"diverged in epoch {len(found)}" if found and found[-1]["state"] == "diverged" else ""
    if best is None:
        return {"best": None, "validation_error": None, "validation_loss": None, "test_error": None,
                "test_loss": None, "message": diverged or "no epoch gave an answer; run more epochs"}  # fmt: skip
    row, unmoved = found[best], ""
    if 1 < len(found) < run.tuner.epochs and all(other["hyperparameters"] == row["hyperparameters"] for other in found):
        unmoved = (f"the hyperparameters have not moved in {len(found)} epochs: this method moves them later in a "
                   f"training, by default of {run.tuner.epochs}; ask for more")  # fmt: skip
    error, loss = run.judge(at.best, row["hyperparameters"], "test")
    told = "; ".join(filter(None, (diverged, unmoved, CAVEATS.get(run.settings["method"]))))
    return plain({"best": row["hyperparameters"], "validation_error": row["error"],
                  "validation_loss": row["validation_loss"], "test_error": error, "test_loss": loss, "message": told}
                 )  # fmt: skip


def _keep(directory: Path, at: Checkpoint) -> None:
    checkpoint.write(directory, at)
    rows.write(directory, at.facts["rows"])


def _key(run: Run, update: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(np.uint32(run.settings["seed"])), update)


def _check_folder(directory: Path, settings: dict[str, Any]) -> None:
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"expected a folder for the run, got the file {directory}; choose another folder")
    if (directory / "study.db").exists():
        raise ValueError(f"expected an empty folder or one of this method, found a search's study in {directory}; "
                         "use another folder")  # fmt: skip
    if not (directory / checkpoint.FILE).exists():
        return
    check_same(str(directory), checkpoint.facts_of(directory)["settings"], settings)
