"""Answers retrained as their methods train: `python -m experiments.common.as_trained fcn_mnist --scale cpu`.

The published protocol retrains every answer plainly. IBO looks for the best x at its largest presample; without
importance that x is another training, and the optima of the two differ. So this is what its user gets, on test data:
B / b at the target for methods that search it, the mean over what is drawn for those that draw it, plain training,
whose errors are in the rows of the search already, for all others.

Reads `rows-SCALE.jsonl`, appends to `as-trained-SCALE.jsonl` as results come, and trains nothing twice. Of each search
its last answer; with `--every ibo` all answers of that method, for curves.
"""

import argparse
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common import curves, rows, tables
from experiments.common.curves import Curves
from experiments.common.settings import BASELINE, Experiment, experiment, experiments, rows_file
from ibo_jax.methods import METHODS
from ibo_jax.problems.axes import RANDOM_RATIOS
from ibo_jax.space import PRESAMPLE_RATIO
from ibo_jax.training.trainer import retrain


class Answer(NamedTuple):
    """Of a search, after one or more of its trials."""

    method: str
    seed: int
    hyperparameters: dict[str, Any]
    plain_error: float | None  # where retraining diverged


def ratios(method: str) -> tuple[int, ...]:
    """Presample ratios at which a method's answer is trained.

    Examples:
        >>> ratios("ibo"), ratios("fabolas"), ratios("tpe")
        ((6,), (1,), (1,))
    """
    importance = METHODS[method].importance if method in METHODS else "off"
    return {"searched": (int(PRESAMPLE_RATIO.target),), "random": RANDOM_RATIOS, "off": (1,)}[importance]


def results_file(path: Path) -> Path:
    """Where the results of a file of rows lie."""
    return path.with_name(path.name.replace("rows-", "as-trained-", 1))


def answers(path: Path) -> dict[tuple[str, int], list[Answer | None]]:
    """Of every search that has ended, by method and seed: what it answers after each trial, None before the first."""
    found: dict[tuple[str, int], list[Answer | None]] = {}
    for row in sorted((row for row in rows.read(path) if "slot" in row), key=lambda row: row["slot"]):
        search, given = (row["method"], row["seed"]), row["incumbent"]
        found.setdefault(search, []).append(None if given is None else Answer(*search, given, row["test_error"]))
    return {(method, seed): found[method, seed] for method, runs in curves.load(path).items() for seed in runs}


def errors(path: Path) -> tables.Errors:
    """Of last answers, by method and seed: mean test error over the ratios, where all of them are there."""
    last = {method: {seed: float(run.error[-1]) for seed, run in runs.items() if np.isfinite(run.error[-1])}
            for method, runs in _retrained(path).items()}  # fmt: skip
    return {method: by_seed for method, by_seed in last.items() if by_seed}


def whole_curves(path: Path) -> Curves:
    """Of methods all of whose answers are there: their runs with these errors; none if IBO is not among them."""
    found, plain = _retrained(path), curves.load(path)
    whole = {
        method: runs
        for method, runs in found.items()
        if all(np.array_equal(np.isnan(run.error), np.isnan(plain[method][seed].error)) for seed, run in runs.items())
    }
    return whole if BASELINE in whole else {}


def run(made: Experiment, scale: str, path: Path, every: Collection[str] = ()) -> None:
    """Retrain what is missing: last answers, and of some methods every one.

    Raises:
        ValueError: no search has ended there, or the experiment trains no networks.
    """
    known, target, found = _known(path), results_file(path), answers(path)
    if not found:
        raise ValueError(f"expected searches that have ended in {path}, found none; run experiments.{made.name} first")
    wanted = [answer for (method, _), of_search in found.items()
              for answer in (of_search if method in every else of_search[-1:]) if answer]  # fmt: skip
    asked = {_key(answer, ratio): (answer, ratio) for answer in wanted for ratio in ratios(answer.method) if ratio > 1}
    for place, key in enumerate([key for key in asked if key not in known]):
        answer, ratio = asked[key]
        learning = made.problem(scale, "default", answer.seed).learning
        if learning is None:
            raise ValueError(f"expected {made.name} to train networks, got a problem without one; choose another")
        if place == 0:
            rows.append(target, {"experiment": made.name, "scale": scale, "machine": rows.machine()})
        report = retrain(answer.seed, learning.task, answer.hyperparameters, learning.data, presample_ratio=ratio)
        result = {"presample_ratio": ratio, "test_error": report.test_error, "seconds": round(report.seconds, 3)}
        rows.append(target, answer._asdict() | result)
        print(f"{answer.method} {answer.seed}, B / b = {ratio}: {report.test_error:.4f}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=[made.name for made in experiments()])
    parser.add_argument("--scale", default="cpu")
    parser.add_argument("--every", nargs="+", choices=list(METHODS), default=[], help="retrain all answers of these")
    parser.add_argument("--rows", type=Path, help="of the searches; default: those stored beside the experiment")
    chosen = parser.parse_args(arguments)
    path = chosen.rows or rows_file(chosen.experiment, chosen.scale)
    try:
        run(experiment(chosen.experiment), chosen.scale, path, chosen.every)
    except ValueError as error:
        parser.error(str(error))
    print(*tables.comparison(errors(path)), sep="\n")


def _retrained(path: Path) -> Curves:
    """The runs with these errors, NaN where one is missing."""
    known, given = _known(path), answers(path)
    return {
        method: {seed: run._replace(error=np.array([_error(answer, known) for answer in given[method, seed]]))
                 for seed, run in runs.items()}
        for method, runs in curves.load(path).items()
    }  # fmt: skip


def _error(answer: Answer | None, known: Mapping[tuple[Any, ...], float]) -> float:
    """Mean over the ratios, NaN if one is missing."""
    if answer is None:
        return float("nan")
    found = [answer.plain_error if ratio == 1 else known.get(_key(answer, ratio)) for ratio in ratios(answer.method)]
    return float(np.array(found, float).mean())


def _key(answer: Answer, ratio: int) -> tuple[Any, ...]:
    return answer.method, answer.seed, json.dumps(answer.hyperparameters, sort_keys=True), ratio


def _known(path: Path) -> dict[tuple[Any, ...], float]:
    """Test errors that are in the results."""
    return {_key(Answer(*(row[name] for name in Answer._fields)), row["presample_ratio"]): row["test_error"]
            for row in rows.read(results_file(path)) if "method" in row}  # fmt: skip


if __name__ == "__main__":
    main()
