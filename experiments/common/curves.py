"""From rows to arrays: the answer's test error by cost and by trial, over seeds. Only cells that have ended count."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.common.settings import METHODS

AXES = {
    "training": "seconds of training",
    "total": "seconds of training, compilation and suggestions",
    "work": "operations of forward passes",
    "trials": "trials",
}
QUARTILES = (0.25, 0.5, 0.75)
VARIANT = ("experiment", "scale", "protocol", "cost")

Cost = Literal["training", "work"]
Series = Float[np.ndarray, "trial"]


class Run(NamedTuple):
    """One cell, one entry per trial. All trials count, including failed ones and the initial design.

    Attributes:
        training: training seconds up to the end of the trial, without compilation.
        total: the same with compilation and suggestions.
        work: operations of forward passes, the same on every machine.
        trials: 1, 2, ...
        error: test error of the answer after the trial, retrained; NaN while there is none.
    """

    training: Series
    total: Series
    work: Series
    trials: Series
    error: Series


Runs = Mapping[int, Run]  # by seed
Curves = Mapping[str, Runs]  # by method


class Band(NamedTuple):
    """Statistics over seeds as step functions: from x[i] to x[i + 1] the values are those at i. The last x is the end
    of the budget."""

    x: Series
    low: Series
    median: Series
    high: Series
    worst: Series


def searches(found: list[dict[str, Any]]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Trials in order, by method and seed, of every cell that has ended; methods in the order in which they are shown.
    Trials of an extension that has not ended are left out.

    Raises:
        ValueError: the rows have more than one scale, protocol or cost.
    """
    cells: dict[tuple[str, int], dict[int, dict[str, Any]]] = {}
    ended: dict[tuple[str, int], int] = {}
    for row in found:
        if "slot" in row:
            cells.setdefault((row["method"], row["seed"]), {})[row["slot"]] = row
        elif "ended" in row:
            ended[row["method"], row["seed"]] = row["ended"]["trials"]
    if len(variants := {tuple(row.get(name) for name in VARIANT) for row in found if "slot" in row}) > 1:
        raise ValueError(
            f"expected rows of one {', '.join(VARIANT)}, found {sorted(map(str, variants))}; keep a file for each"
        )
    whole = {cell: cells[cell] for cell, count in ended.items() if cells.get(cell, {}).keys() >= set(range(count))}
    ordered = sorted(whole, key=lambda cell: (_order(cell[0]), cell))
    return {cell: [whole[cell][slot] for slot in range(ended[cell])] for cell in ordered}


def load(found: list[dict[str, Any]]) -> dict[str, dict[int, Run]]:
    """The curve of every cell that has ended, see `searches`."""
    curves: dict[str, dict[int, Run]] = {}
    for (method, seed), trials in searches(found).items():
        curves.setdefault(method, {})[seed] = _run(trials)
    return curves


def cost(found: list[dict[str, Any]]) -> Cost:
    """The axis of what the searches counted as cost: searches by work may have run on any machine."""
    return "work" if any(row.get("cost") == "work" for row in found) else "training"


def of(curves: Curves, methods: Iterable[str]) -> Curves:
    """The curves of some methods only."""
    return {method: runs for method, runs in curves.items() if method in methods}


def end(runs: Runs, axis: str) -> float:
    """Where the median run of a method stops. Runs that stop earlier keep their answer: the end of the shortest run
    would say more about chance than about the method."""
    return float(np.median([getattr(run, axis)[-1] for run in runs.values()]))


def last_end(runs: Runs, axis: str) -> float:
    """Where the last run of a method stops."""
    return float(max(getattr(run, axis)[-1] for run in runs.values()))


def common_end(curves: Curves, axis: str) -> float:
    """The end of the common budget: where the first method stops."""
    return min(end(runs, axis) for runs in curves.values())


def at(run: Run, axis: str, spent: float) -> float:
    """Error of the answer once that much is spent; NaN before the first answer.

    Examples:
        >>> run = Run(*(np.array(x) for x in ([2.0, 5.0], [3.0, 8.0], [4e9, 9e9], [1.0, 2.0], [0.4, 0.3])))
        >>> at(run, "training", 1.9), at(run, "training", 4.0), at(run, "total", 9.0)
        (nan, 0.4, 0.3)
    """
    index = int(np.searchsorted(getattr(run, axis), spent, side="right")) - 1
    return float(run.error[index]) if index >= 0 else float("nan")


def band(runs: Runs, axis: str, until: float, points: int = 40) -> Band:
    """Median, quartiles and worst run, from where every run has an answer until so much is spent.

    Steps that change nothing are left out, and some of the others if there are more than `points`. The steps that are
    kept are exact, and so is the end.
    """
    events = np.unique(np.concatenate([getattr(run, axis) for run in runs.values()]))
    x = np.append(events[events < until], until)
    errors = np.array([[at(run, axis, spent) for spent in x] for run in runs.values()])
    known = np.all(np.isfinite(errors), axis=0)
    x, errors = x[known], errors[:, known]
    if not len(x):
        return Band(*np.empty((5, 0)))
    values = np.vstack([np.quantile(errors, QUARTILES, axis=0), errors.max(axis=0)])
    kept = np.flatnonzero(np.append(True, np.any(np.diff(values, axis=1) != 0, axis=0)))
    if len(kept) > points:
        kept = kept[np.linspace(0, len(kept) - 1, points).round().astype(int)]
    kept = np.union1d(kept, len(x) - 1)
    return Band(x[kept], *values[:, kept])


def _run(trials: list[dict[str, Any]]) -> Run:
    training, compilation, suggestions, work = (
        np.cumsum([row[name] for row in trials])
        for name in ("cost_seconds", "compile_seconds", "suggest_seconds", "cost_work")
    )
    error = [np.nan if row["test_error"] is None else row["test_error"] for row in trials]
    total, count = training + compilation + suggestions, np.arange(1.0, len(trials) + 1)
    return Run(training, total, work, count, np.array(error))


def _order(method: str) -> int:
    return METHODS.index(method) if method in METHODS else len(METHODS)
