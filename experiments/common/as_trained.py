"""Final answers retrained as their methods train: `python -m experiments.common.as_trained fcn_mnist --scale cpu`.

The published protocol retrains every answer plainly. IBO looks for the best x at its largest presample; without
importance that x is another training, and the optima of the two differ. So this is what its user gets, on test data:
B / b at the target for methods that search it, the mean over what is drawn for those that draw it, plain training,
whose errors are in the rows of the search already, for all others.

Reads `rows-SCALE.jsonl`, appends to `as-trained-SCALE.jsonl` as results come, and trains nothing twice.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common import curves, rows, tables
from experiments.common.settings import Experiment, experiment, experiments, rows_file
from ibo_jax.methods import METHODS
from ibo_jax.problems.axes import RANDOM_RATIOS
from ibo_jax.space import PRESAMPLE_RATIO
from ibo_jax.training.trainer import retrain


class Answer(NamedTuple):
    """What a search ended with."""

    method: str
    seed: int
    hyperparameters: dict[str, Any]
    plain_error: float


def ratios(method: str) -> tuple[int, ...]:
    """Presample ratios at which a method's answer is trained.

    Example:
        >>> ratios("ibo"), ratios("fabolas"), ratios("tpe")
        ((6,), (1,), (1,))
    """
    importance = METHODS[method].importance if method in METHODS else "off"
    return {"searched": (int(PRESAMPLE_RATIO.target),), "random": RANDOM_RATIOS, "off": (1,)}[importance]


def results_file(path: Path) -> Path:
    """Where the results of a file of rows lie."""
    return path.with_name(path.name.replace("rows-", "as-trained-", 1))


def answers(path: Path) -> Iterator[Answer]:
    """Of every search in the rows that has ended with one."""
    last = {(row["method"], row["seed"]): row for row in sorted(rows.read(path), key=_slot) if "slot" in row}
    for method, runs in curves.load(path).items():
        for seed in runs:
            row = last[method, seed]
            if row["incumbent"] is not None:
                yield Answer(method, seed, row["incumbent"], row["test_error"])


def errors(path: Path) -> tables.Errors:
    """Mean test error over the ratios, by method and seed, of those that are complete."""
    known = _known(path)
    found: tables.Errors = {}
    for answer in answers(path):
        of_ratio = [known.get(_key(answer, ratio)) if ratio > 1 else answer.plain_error
                    for ratio in ratios(answer.method)]  # fmt: skip
        if None not in of_ratio:
            found.setdefault(answer.method, {})[answer.seed] = float(np.mean(of_ratio))
    return found


def table(path: Path, title: str) -> str:
    """Markdown of what is in the results."""
    name = results_file(path).name
    parts = [f"# {title}: answers as their methods train", "", f"Made of `{name}` by `make figures`.", ""]
    return "\n".join([*parts, *tables.comparison(errors(path))]).rstrip() + "\n"


def run(made: Experiment, scale: str, path: Path) -> None:
    """Retrain what is missing.

    Raises:
        ValueError: no search has ended there, or the experiment trains no networks.
    """
    known, target, found = _known(path), results_file(path), list(answers(path))
    if not found:
        raise ValueError(f"expected searches that have ended in {path}, found none; run experiments.{made.name} first")
    for answer, ratio in [(each, ratio) for each in found for ratio in ratios(each.method)]:
        if ratio == 1 or _key(answer, ratio) in known:
            continue
        learning = made.problem(scale, "default", answer.seed).learning
        if learning is None:
            raise ValueError(f"expected {made.name} to train networks, got a problem without one; choose another")
        if not target.exists():
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
    parser.add_argument("--rows", type=Path, help="of the searches; default: those stored beside the experiment")
    chosen = parser.parse_args(arguments)
    path = chosen.rows or rows_file(chosen.experiment, chosen.scale)
    try:
        run(experiment(chosen.experiment), chosen.scale, path)
    except ValueError as error:
        parser.error(str(error))
    print(table(path, experiment(chosen.experiment).title))


def _slot(row: dict[str, Any]) -> int:
    return row.get("slot", -1)


def _key(answer: Answer, ratio: int) -> tuple[Any, ...]:
    return answer.method, answer.seed, json.dumps(answer.hyperparameters, sort_keys=True), ratio


def _known(path: Path) -> dict[tuple[Any, ...], float]:
    """Test errors that are in the results."""
    return {_key(Answer(*(row[name] for name in Answer._fields)), row["presample_ratio"]): row["test_error"]
            for row in rows.read(results_file(path)) if "method" in row}  # fmt: skip


if __name__ == "__main__":
    main()
