"""One cell: a search with one method and seed, then the answer that it would have given after each evaluation.

Protocol of Ariafar et al. (2021), section 4: after every evaluation the predicted best hyperparameters are retrained
with uniform batches, without importance sampling, and that error is shown. They retrain on the training set and judge
on the set that the search has seen; here the answer is retrained on training and validation examples and judged on the
test set, which the search never sees (`Problem.report`). Retraining waits until the search has ended, so that it costs
the search no time. It uses the cell's seed, and happens once for each distinct answer of a seed, whichever method gave
it.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments.common import rows
from experiments.common.settings import Cell, Experiment
from ibo_jax.problems.base import Problem
from ibo_jax.study import locks
from ibo_jax.study.convert import plain
from ibo_jax.study.progress import Progress, number, say
from ibo_jax.study.rows import Row
from ibo_jax.study.search import Search, prepare
from ibo_jax.study.tune import run

FROM_STUDY = (
    "state", "hyperparameters", "fidelity", "s", "reason", "error", "cost_seconds", "cost_work", "compile_seconds",
    "suggest_seconds", "elapsed_seconds", "importance_share", "predicted_error", "warning", "message",
)  # fmt: skip
TIMES = ("cost_seconds", "compile_seconds", "suggest_seconds", "elapsed_seconds", "retrain_seconds")


class Judged(NamedTuple):
    """A retrained answer; None where there was none yet. A training that diverged has no loss."""

    test_error: float | None
    test_loss: float | None
    retrain_seconds: float  # 0 if it was known already


class Lines(Progress):
    """Progress of one cell among others: a line per finished trial, which says whose it is."""

    def __init__(self, cell: Cell):
        self.cell = cell
        self.shown: int | None = None

    def update(self, rows: Sequence[Row], elapsed: float) -> None:
        del elapsed
        of = "" if self.cell.evaluations is None else f"/{self.cell.evaluations}"
        for row in rows[len(rows) if self.shown is None else self.shown :]:
            said = (f"{row['state']} {number(row['error'])}", f"{row['cost_seconds']:.1f} s", row["message"])
            say(f"{self.cell.method} {self.cell.seed}: trial {row['number'] + 1}{of}, {', '.join(filter(None, said))}")
        self.shown = len(rows)


def run_cell(experiment: Experiment, cell: Cell, path: Path, folder: Path) -> None:
    """Search and judge, appending to the rows at `path` what is missing. The same call resumes.

    Args:
        experiment: makes the problem.
        cell: what to run.
        path: the file of rows.
        folder: where the study is kept.

    Raises:
        ValueError: the problem has no test set, or the rows of this cell do not belong to the study in `folder`.
    """
    problem = experiment.problem(cell.scale, cell.protocol, cell.seed)
    if problem.report is None:
        raise ValueError(f"expected {problem.name} to retrain its answer, got no report; give the Problem one")
    folder.mkdir(parents=True, exist_ok=True)
    with locks.exclusive(folder / ".cell"):  # a second process then finds the work done
        if is_complete(rows.read(path), cell):
            return
        search = prepare(
            problem, cell.method, evaluations=cell.evaluations, seconds=cell.seconds,
            seed=cell.seed, storage=folder, cost=cell.cost, protocol=cell.protocol, progress=False,
        )  # fmt: skip
        search = search._replace(problem=replace(search.problem, report=None))  # all answers are retrained below
        about = {**columns_of(cell), "problem": problem.name, "searched_fidelity": search.problem.fidelity._asdict()}
        rows.append(path, about | {"device": jax.devices()[0].device_kind, "machine": rows.machine()})
        found, answers = _run(search._replace(progress=Lines(cell)))
        _judge(cell, problem, found, answers, path)
        rows.append(path, columns_of(cell) | {"ended": {"trials": len(found), "evaluations": cell.evaluations,
                                                  "seconds": cell.seconds}})  # fmt: skip


def is_complete(found: list[dict[str, Any]], cell: Cell) -> bool:
    """Whether the rows contain this cell to the end of at least this budget."""
    for row in found:
        if "ended" in row and _is_of(row, cell):
            if cell.evaluations is not None and row["ended"]["trials"] >= cell.evaluations:
                return True
            if cell.seconds is not None and (row["ended"]["seconds"] or 0.0) >= cell.seconds:
                return True
    return False


def trials_of(found: list[dict[str, Any]], cell: Cell) -> dict[int, dict[str, Any]]:
    """Rows of this cell's trials by slot."""
    return {row["slot"]: row for row in found if "slot" in row and _is_of(row, cell)}


def _run(search: Search) -> tuple[list[Row], list[Any]]:
    """The study's rows, and the incumbent after each of them."""
    result = run(search)
    # A row contains what was believed when its slot was chosen, that is after the slot before it.
    return result.rows, [*(row["incumbent"] for row in result.rows[1:]), result.hyperparameters]


def _judge(cell: Cell, problem: Problem, found: list[Row], answers: list[Any], path: Path) -> None:
    """Append the trials that are not in the rows, each with its incumbent retrained."""
    there = rows.read(path)
    same = ("experiment", "scale", "protocol", "seed")  # what decides how an answer is retrained
    known = {_text(row["incumbent"]): Judged(row["test_error"], row["test_loss"], 0.0) for row in there
             if "slot" in row and all(row[name] == getattr(cell, name) for name in same)}  # fmt: skip
    written = trials_of(there, cell)
    for row, answer in zip(found, answers, strict=True):
        if old := written.get(row["number"]):
            _check_same(cell, old, row, path)
            continue
        if _text(answer) not in known:
            print(f"{cell.method} {cell.seed}: retraining the incumbent after trial {row['number'] + 1}", flush=True)
        judged = known.get(_text(answer)) or _retrain(problem, cell.seed, answer)
        known[_text(answer)] = judged._replace(retrain_seconds=0.0)
        facts = {name: row[name] for name in FROM_STUDY}  # type: ignore[literal-required]
        flat = {**columns_of(cell), "slot": row["number"], **facts, "incumbent": answer, **judged._asdict()}
        rounded = {name: round(flat[name], 5) for name in TIMES if flat[name] is not None}
        rows.append(path, flat | rounded)


def _retrain(problem: Problem, seed: int, answer: dict[str, Any] | None) -> Judged:
    if answer is None:
        return Judged(None, None, 0.0)
    assert problem.report is not None
    report = problem.report(seed, answer)
    return Judged(report.test_error, plain(report.test_loss), report.seconds)


def _check_same(cell: Cell, old: dict[str, Any], row: Row, path: Path) -> None:
    if old["hyperparameters"] != row["hyperparameters"] or old["error"] != row["error"]:
        raise ValueError(
            f"expected trial {row['number'] + 1} of {cell.method}, seed {cell.seed}, to be that of the study, found "
            f"another one in {path}; remove that cell's rows to run it afresh, or bring its study back"
        )


def columns_of(cell: Cell) -> dict[str, Any]:
    """The columns that all rows of a cell share."""
    names = ("experiment", "scale", "protocol", "cost", "method", "seed")
    return {name: getattr(cell, name) for name in names}


def _is_of(row: dict[str, Any], cell: Cell) -> bool:
    return all(row.get(name) == value for name, value in columns_of(cell).items())


def _text(answer: dict[str, Any] | None) -> str:
    """The answer as text, equal if answers are equal: JSON keeps every bit of a float."""
    return json.dumps(answer, sort_keys=True)
