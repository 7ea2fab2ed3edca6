"""Test error on the digits: IBO against random search given the same training seconds, paired by split.

    python -m experiments.benchmarks.digits [--splits 20] [--first-split 0] [--evaluations 30]
    python -m experiments.benchmarks.digits --table

A split is a split of the data and the seed of both searches. IBO is `ibo-jax tune digits-mlp`. Random search starts
from the same initial design (the same evaluations, their seconds counted) and continues with plain trainings at uniform
points until it has used as many seconds of training as IBO, including the training that crosses the line. Both answers
are retrained in the same way on training and validation data. Appends one row per search to `digits.jsonl` and skips
those that are there.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from scipy.stats import t as student_t

import ibo_jax
from experiments.common import rows
from ibo_jax.observations import empty
from ibo_jax.problems import catalogue
from ibo_jax.study.cache import enable_compilation_cache
from ibo_jax.study.evaluate import evaluate
from ibo_jax.study.propose import Proposer, make_proposer, propose, seed_of

METHODS = ("ibo", "random")
MEDIAN_OF = 5  # number of splits in the row on the error itself
CONFIDENCE = 0.9


def search_ibo(split: int, evaluations: int) -> dict[str, Any]:
    """The row of a whole run of `tune`."""
    problem = catalogue.problem("digits-mlp", split=split)
    result = ibo_jax.tune(problem, evaluations=evaluations, seed=split, progress=False)
    trials = [
        {name: row[name] for name in ("hyperparameters", "fidelity", "reason", "error", "cost_seconds")}
        for row in result.rows
    ]
    return {
        "cost_seconds": sum(trial["cost_seconds"] for trial in trials),
        "best": result.hyperparameters,
        "validation_error": result.validation_error,
        "test_error": result.test_error,
        "trials": trials,
    }


def search_random(split: int, seconds: float, initial: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of random search, which starts with the trials `initial` and stops once it has trained for `seconds`."""
    problem = catalogue.problem("digits-mlp", split=split)
    proposer = make_proposer("random", split, problem.space.dimension, problem.fidelity, initial=0, protocol="default")
    trials = list(initial)
    while (spent := sum(trial["cost_seconds"] for trial in trials)) < seconds:
        trials.append(_random_trial(problem, proposer, len(trials)))
    best = min(trials, key=lambda trial: trial["error"])
    assert problem.report is not None
    return {
        "cost_seconds": spent,
        "best": best["hyperparameters"],
        "validation_error": best["error"],
        "test_error": problem.report(seed_of(proposer, len(trials)), best["hyperparameters"]).test_error,
        "trials": trials,
    }


def _random_trial(problem: ibo_jax.Problem, proposer: Proposer, slot: int) -> dict[str, Any]:
    suggestion, _ = propose(proposer, slot, empty(problem.space.dimension), None)
    hyperparameters = problem.space.decode(suggestion.x)
    fidelity = problem.fidelity.decode(suggestion.fidelity)
    outcome, _ = evaluate(problem, seed_of(proposer, slot), hyperparameters, fidelity)
    if outcome.state == "crashed":
        raise RuntimeError(outcome.message)
    return {
        "hyperparameters": hyperparameters,
        "fidelity": fidelity,
        "reason": "random",
        "error": outcome.error,
        "cost_seconds": outcome.cost_seconds,
    }


def run(splits: range, evaluations: int, path: Path) -> None:
    """Run every search that is missing, split by split, so that an interrupted comparison is still paired."""
    done = searches(path)
    missing = [(method, split) for split in splits for method in METHODS if (method, split) not in done]
    if missing:
        rows.append(path, {"machine": rows.machine()})
    for method, split in missing:
        began = time.perf_counter()
        if method == "ibo":
            found = search_ibo(split, evaluations)
        else:
            rival = done["ibo", split]
            initial = [trial for trial in rival["trials"] if trial["reason"] == "initial"]
            found = search_random(split, rival["cost_seconds"], initial)
        row = {"method": method, "split": split, "wall_seconds": round(time.perf_counter() - began, 1), **found}
        rows.append(path, row)
        done[method, split] = row
        print(f"split {split}, {method}: {len(row['trials'])} evaluations, {row['cost_seconds']:.1f} s of training in "
              f"{row['wall_seconds']:.0f} s, test error {row['test_error']:.4f}", flush=True)  # fmt: skip


def searches(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Rows of finished searches by method and split."""
    return {(row["method"], row["split"]): row for row in rows.read(path) if "method" in row}


def table(path: Path) -> str:
    """Median test error of the first splits, and the paired difference over all that both methods have finished."""
    found = {key: row["test_error"] for key, row in searches(path).items()}
    first = [found["ibo", split] for split in range(MEDIAN_OF) if ("ibo", split) in found]
    pairs = np.array([(found["ibo", split], error) for (method, split), error in found.items() if method == "random"])
    ibo, rival = pairs.mean(0)
    difference = pairs[:, 0] - pairs[:, 1]
    deviation = difference.std(ddof=1) / len(pairs) ** 0.5 if len(pairs) > 1 else np.nan
    bound = difference.mean() + student_t.ppf(CONFIDENCE, len(pairs) - 1) * deviation
    return "\n".join((
        f"test error of IBO, median of {len(first)} splits: {np.median(first):.4f}",
        f"means over {len(pairs)} splits: IBO {ibo:.4f}, random search {rival:.4f}",
        f"IBO - random search: {difference.mean():+.4f} (s.e. {deviation:.4f}), "
        f"{CONFIDENCE:.0%} upper bound {bound:+.4f}",
    ))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--first-split", type=int, default=0)
    parser.add_argument("--evaluations", type=int, default=30)
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_name("digits.jsonl"))
    parser.add_argument("--table", action="store_true", help="only print the summary of stored rows")
    arguments = parser.parse_args()
    if not arguments.table:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        enable_compilation_cache()
        splits = range(arguments.first_split, arguments.first_split + arguments.splits)
        run(splits, arguments.evaluations, arguments.rows)
    print(table(arguments.rows))


if __name__ == "__main__":
    main()
