"""The command of an experiment: `python -m experiments.NAME`. The same command resumes and repeats nothing.

Exit status: 0 when all cells are complete, 1 if some failed, 2 on bad input, 130 on Ctrl-C (143 on SIGTERM), saved.
"""

import argparse
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from experiments.common import pages, rows, workers
from experiments.common.cell import is_complete, trials_of
from experiments.common.settings import RUNS, Cell, Experiment, registered, rows_file

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def main(experiment: Experiment, arguments: Sequence[str] | None = None) -> int:
    """Run what is missing; the exit status."""
    chosen = _parser(experiment).parse_args(arguments)
    try:
        cells = cells_of(experiment, chosen)
    except ValueError as error:
        print(f"{experiment.name}: {error}", file=sys.stderr)
        return BAD_INPUT
    path = chosen.rows or rows_file(experiment.name, cells[0].variant)
    there = rows.read(path)
    left = [cell for cell in cells if not is_complete(there, cell)]
    print(f"{experiment.name}, scale {chosen.scale}: {len(cells)} cells, {len(cells) - len(left)} of them complete, "
          f"rows in {path}", flush=True)  # fmt: skip
    if not left:
        return 0
    print(f"about {_clock(estimate(experiment, left, there) / chosen.jobs)} with {chosen.jobs} at once", flush=True)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        failures = _run(experiment, left, chosen.jobs, path, chosen.runs)
    except KeyboardInterrupt:
        print("interrupted; everything is saved, the same command resumes", file=sys.stderr)
        return INTERRUPTED
    for message in dict.fromkeys(said for _, said in failures):  # missing data fail every cell with the same message
        which = "; ".join(f"{cell.method}, seed {cell.seed}" for cell, said in failures if said == message)
        print(f"failed: {which}: {message}", file=sys.stderr)
    for file in pages.draw(path, experiment.title):
        print(rows.relative(file))
    return FAILED if failures else 0


def cells_of(experiment: Experiment, chosen: argparse.Namespace) -> list[Cell]:
    """What was asked for, seed by seed, so that an interrupted comparison is still paired.

    Raises:
        ValueError: an unknown method, or a number that is not positive.
    """
    budget, asked, known = experiment.budgets[chosen.scale], chosen.methods or experiment.methods, registered()
    seeds = budget.seeds if chosen.seeds is None else chosen.seeds
    for name in ("seeds", "jobs", "evaluations", "seconds"):
        value = getattr(chosen, name)
        if value is not None and not value > 0:
            raise ValueError(f"expected --{name} above 0, got {value}; raise it")
    if unknown := [name for name in asked if name not in (*experiment.methods, *known)]:
        raise ValueError(f"expected methods among {', '.join(experiment.methods)}, got {', '.join(unknown)}")
    if missing := [name for name in asked if name not in known]:
        print(f"not in this version of the library, skipped: {', '.join(missing)}")
    methods = [name for name in asked if name in known]
    if not methods:
        raise ValueError(f"expected a method of the library, got none; it has {', '.join(known)}")

    def evaluations(method: str) -> int | None:
        own = None if chosen.seconds is not None else budget.own.get(method, budget.evaluations)
        return own if chosen.evaluations is None else chosen.evaluations

    return [
        Cell(experiment.name, chosen.scale, chosen.protocol, chosen.cost, method, seed, evaluations(method),
             chosen.seconds)
        for seed in range(chosen.first_seed, chosen.first_seed + seeds)
        for method in methods
    ]  # fmt: skip


def estimate(experiment: Experiment, cells: Sequence[Cell], there: list[dict[str, Any]]) -> float:
    """Seconds that the cells take one after another: by what finished trials of each method took, or else those of all
    methods, or else as the settings say. Trials that are in the rows already are not counted."""
    finished = [row for row in there if "slot" in row]
    scale = experiment.budgets[cells[0].scale]
    stated = 60 * scale.minutes / scale.evaluations
    measured: dict[str, float] = {}
    for method in {row["method"] for row in finished}:
        measured[method] = _seconds_a_trial([row for row in finished if row["method"] == method])
    default = statistics.mean(measured.values()) if measured else stated
    total = 0.0
    for cell in cells:
        if cell.seconds is not None:
            total += cell.seconds
        if cell.evaluations is not None:
            left = max(cell.evaluations - len(trials_of(there, cell)), 0)
            total += left * measured.get(cell.method, default)
    return total


def _seconds_a_trial(trials: Sequence[dict[str, Any]]) -> float:
    """Wall seconds of a search per trial, with retraining; costs need not be seconds of this machine."""
    ends: dict[int, float] = {}
    for row in trials:
        ends[row["seed"]] = max(ends.get(row["seed"], 0.0), row["elapsed_seconds"] or 0.0)
    return (sum(ends.values()) + sum(row["retrain_seconds"] for row in trials)) / len(trials)


def _run(experiment: Experiment, cells: Sequence[Cell], jobs: int, path: Path, runs: Path) -> list[tuple[Cell, str]]:
    began, done, failures = time.monotonic(), 0, []

    def ended(cell: Cell, message: str) -> None:
        nonlocal done
        done += 1
        left = (time.monotonic() - began) / done * (len(cells) - done)
        trials = trials_of(rows.read(path), cell)
        last = trials[max(trials)]["test_error"] if trials else None
        said = message or f"{len(trials)} trials, test error {'-' if last is None else f'{last:.4f}'}"
        print(f"[{done}/{len(cells)}] {cell.method}, seed {cell.seed}: {said}; about {_clock(left)} left", flush=True)
        if message:
            failures.append((cell, message))

    def folder(cell: Cell) -> Path:
        return runs / experiment.name / cell.variant / f"{cell.method}-{cell.seed}"

    workers.run_cells(cells, jobs, path, folder, ended)
    return failures


def _parser(experiment: Experiment) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(f"python -m experiments.{experiment.name}", description=experiment.title)
    parser.add_argument("--scale", choices=list(experiment.budgets), default="cpu")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help=f"default: {' '.join(experiment.methods)}")
    parser.add_argument("--seeds", type=int, metavar="N", help="how many; default: the scale's")
    parser.add_argument("--first-seed", type=int, default=0, metavar="K")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--evaluations", type=int, metavar="N", help="budget of each search; default: the scale's")
    budget.add_argument("--seconds", type=float, metavar="S", help="wall time of each search, without retraining")
    parser.add_argument("--jobs", type=int, default=1, metavar="K", help="cells at once, each a process of one thread")
    parser.add_argument("--cost", choices=("seconds", "work"), default="seconds", help="work repeats bit for bit")
    parser.add_argument("--protocol", choices=("default", "paper", "scripts"), default="default")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="default: beside the settings, for smoke under runs/")
    parser.add_argument("--runs", type=Path, default=RUNS, metavar="DIR", help=f"folder of studies; default: {RUNS}")
    return parser


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    """End the processes of the cells as well."""
    raise SystemExit(128 + signum)


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 120 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
