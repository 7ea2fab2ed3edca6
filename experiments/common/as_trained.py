"""Answers retrained as their methods train: `python -m experiments.common.as_trained fcn_mnist --scale cpu`.

The published protocol retrains every answer plainly. IBO looks for the best x at its largest presample; trained without
importance sampling that x gives another result, and the optima of the two ways of training differ. So this measures, on
test data, what a user of each method gets: with B / b at the target for methods that search it, the mean over the
ratios drawn for those that draw it, and plain training for all others, whose errors are in the rows of the search
already.

Reads `rows-VARIANT.jsonl`, appends to `as-trained-VARIANT.jsonl` as results come, and trains nothing twice. It retrains
the last answer of each search; with `--every ibo` all answers of that method, for curves.
"""

import argparse
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import curves, rows, tables
from experiments.common.answers import Answer, answers, judged, ratios
from experiments.common.curves import Curves
from experiments.common.settings import Experiment, experiment, experiments, rows_file, variant
from ibo_jax.methods import METHODS
from ibo_jax.training.trainer import retrain

Key = tuple[str, int, str, int]  # method, seed, hyperparameters, ratio


def results_file(path: Path) -> Path:
    """Where the results for a file of rows are kept."""
    return path.with_name(f"as-trained-{path.name.removeprefix('rows-')}")


def retrained(found: list[dict[str, Any]], results: list[dict[str, Any]]) -> Curves:
    """The runs in the rows, with test errors averaged over the ratios; NaN where a result is missing."""
    known = _known(results)

    def error(answer: Answer) -> float:
        each = [answer.plain_error if ratio == 1 else known.get(key) for key, ratio in _trainings(answer).items()]
        return float(np.array(each, float).mean())

    return judged(found, error)


def last_errors(found: Curves) -> tables.Errors:
    """Errors of last answers, by method and seed, where they are known."""
    last = {method: {seed: float(run.error[-1]) for seed, run in runs.items() if np.isfinite(run.error[-1])}
            for method, runs in found.items()}  # fmt: skip
    return {method: by_seed for method, by_seed in last.items() if by_seed}


def whole(found: list[dict[str, Any]], results: list[dict[str, Any]]) -> list[str]:
    """Methods that train plainly, or all of whose answers are in the results."""
    known, lacking = _known(results), {}
    for (method, _), given in answers(found).items():
        lacking[method] = lacking.get(method, False) or not _asked(given).keys() <= known.keys()
    return [method for method, lacks in lacking.items() if not lacks]


def run(made: Experiment, path: Path, every: Collection[str] = ()) -> None:
    """Retrain what is missing, with the scale and protocol of the rows: last answers, and every answer of some methods.

    Raises:
        ValueError: the rows have no search that has ended, are of another experiment, or the experiment trains no
            networks.
    """
    target, searched = results_file(path), rows.read(path)
    found = answers(searched)
    if not found:
        raise ValueError(f"expected searches that have ended in {path}, found none; run experiments.{made.name} first")
    name, scale, protocol = next(tuple(row[n] for n in curves.VARIANT[:3]) for row in searched if "slot" in row)
    if name != made.name:
        raise ValueError(f"expected searches of {made.name} in {path}, found those of {name}; name that")
    known = _known(rows.read(target))
    asked = _asked(answer for (method, _), given in found.items()
                   for answer in (given if method in every else given[-1:]))  # fmt: skip
    for place, key in enumerate([key for key in asked if key not in known]):
        answer, ratio = asked[key]
        learning = made.problem(scale, protocol, answer.seed).learning
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
    parser.add_argument("--scale", default="cpu", help="of the searches")
    parser.add_argument("--cost", choices=("seconds", "work"), default="seconds", help="of the searches")
    parser.add_argument("--every", nargs="+", choices=list(METHODS), default=[], help="retrain all answers of these")
    parser.add_argument("--rows", type=Path, help="of the searches; default: those stored beside the experiment")
    chosen = parser.parse_args(arguments)
    path = chosen.rows or rows_file(chosen.experiment, variant(chosen.scale, cost=chosen.cost))
    try:
        run(experiment(chosen.experiment), path, chosen.every)
    except ValueError as error:
        parser.error(str(error))
    found = retrained(rows.read(path), rows.read(results_file(path)))
    print(*tables.comparison(last_errors(found)), sep="\n")


def _trainings(answer: Answer) -> dict[Key, int]:
    """The trainings of an answer: hyperparameters and ratio."""
    return {(answer.method, answer.seed, answer.text, ratio): ratio for ratio in ratios(answer.method)}


def _asked(given: Iterable[Answer | None]) -> dict[Key, tuple[Answer, int]]:
    """The trainings with importance sampling that these answers need."""
    return {
        key: (answer, ratio) for answer in given if answer for key, ratio in _trainings(answer).items() if ratio > 1
    }


def _known(results: list[dict[str, Any]]) -> dict[Key, float]:
    """The test errors that are in the results already."""
    found = [(Answer(*(row[name] for name in Answer._fields)), row) for row in results if "method" in row]
    return {(answer.method, answer.seed, answer.text, row["presample_ratio"]): row["test_error"]
            for answer, row in found}  # fmt: skip


if __name__ == "__main__":
    main()
