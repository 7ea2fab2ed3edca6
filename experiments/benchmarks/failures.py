"""Searches in which some evaluations fail: how many do, and how good the answers are.

    python -m experiments.benchmarks.failures [--problem branin-disk hartmann6-edge] [--method ibo es] [--seeds 20]
    python -m experiments.benchmarks.failures --table

Each is a whole run of `tune` on a synthetic problem that raises an exception in a part of its space, or by chance. The
regret is that of the answer, beyond the lowest value among what succeeds; it is infinite if the answer would fail
itself or there is none. Appends one row per search to `failures.jsonl` and skips those that are there.

References:
    [GelbartEtAl2014] Bayesian optimization with unknown constraints. UAI 2014.
"""

import argparse
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from scipy.optimize import differential_evolution

import ibo_jax
from experiments.common import rows
from ibo_jax.outcomes import Outcome
from ibo_jax.problems.synthetic import SYNTHETIC, value
from ibo_jax.study.cache import enable_compilation_cache

METHODS = ("ibo", "es", "tpe", "random")
CHANCE = 0.2
# By problem, where evaluations fail: coordinates in the unit cube. Without a place, they fail by chance.
PLACES: dict[str, Callable[[np.ndarray], bool] | None] = {
    "branin-disk": lambda x: (15.0 * x[0] - 7.5) ** 2 + (15.0 * x[1] - 7.5) ** 2 > 50.0,  # as in [GelbartEtAl2014]
    "branin-half": lambda x: x[0] > 0.5,  # with two of three optima, of which one is near the edge
    "branin-chance": None,
    "hartmann6-half": lambda x: x[3] > 0.5,
    "hartmann6-edge": lambda x: x[0] + x[4] > 0.45,  # with the optimum, where the sum is .51
    "hartmann6-chance": None,
}


def function(name: str) -> str:
    """The synthetic function without failures."""
    return name.partition("-")[0]


def failing(name: str) -> ibo_jax.Problem:
    """A synthetic problem of which some evaluations raise an exception."""
    base, place = SYNTHETIC[function(name)], PLACES[name]

    def evaluate(seed: int, hyperparameters: dict[str, Any], fidelity: float) -> Outcome:
        by_chance = place is None and np.random.default_rng(seed).random() < CHANCE
        if by_chance or (place is not None and place(base.space.encode(hyperparameters))):
            raise MemoryError("out of memory")
        return base.evaluate(seed, hyperparameters, fidelity)

    return replace(base, name=name, evaluate=evaluate, optimum=None, view=None)


@cache
def lowest(name: str) -> float:
    """The lowest value at the target where evaluations succeed, by differential evolution."""
    base, place = SYNTHETIC[function(name)], PLACES[name]
    if place is None:
        assert base.optimum is not None
        return base.optimum

    def penalised(x: np.ndarray) -> float:
        return math.inf if place(x) else float(value(base.name, x))

    bounds = [(0.0, 1.0)] * base.space.dimension
    return float(differential_evolution(penalised, bounds, strategy="rand1bin", rng=0, tol=1e-10, polish=False).fun)


def regret(problem: ibo_jax.Problem, answer: dict[str, Any] | None) -> float:
    """By how much an answer is above the lowest value; infinite if it fails or there is none."""
    if answer is None:
        return math.inf
    x, place = problem.space.encode(answer), PLACES[problem.name]
    if place is not None and place(x):
        return math.inf
    return float(value(function(problem.name), x)) - lowest(problem.name)


def search(name: str, method: str, seed: int) -> dict[str, Any]:
    """The row of one search."""
    problem = failing(name)
    result = ibo_jax.tune(problem, method, seed=seed, progress=False)
    failed = sum(row["state"] == "crashed" for row in result.rows)
    return {"problem": name, "method": method, "seed": seed, "evaluations": len(result.rows), "failed": failed,
            "regret": regret(problem, result.hyperparameters)}  # fmt: skip


def searches(path: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Rows of finished searches by problem, method and seed."""
    return {(row["problem"], row["method"], row["seed"]): row for row in rows.read(path) if "problem" in row}


def run(cells: list[tuple[str, str, int]], path: Path) -> None:
    """Run every search that is missing."""
    done = searches(path)
    missing = [cell for cell in cells if cell not in done]
    if missing:
        rows.append(path, {"machine": rows.machine()})
    for name, method, seed in missing:
        row = search(name, method, seed)
        rows.append(path, row)
        print(f"{name}, {method}, seed {seed}: {row['failed']} of {row['evaluations']} evaluations failed, "
              f"regret {row['regret']:.3g}", flush=True)  # fmt: skip


def table(path: Path) -> str:
    """Mean number of failed evaluations, quartiles of the regret, and answers that would fail or are missing."""
    found = searches(path)
    lines = ["| evaluations fail in | method (seeds) | failed | regret | no answer |", "|---|---|---|---|---|"]
    for name, method in itertools.product(PLACES, METHODS):
        cell = [row for (problem, by, _), row in found.items() if (problem, by) == (name, method)]
        if cell:
            regrets = np.array([row["regret"] for row in cell])
            low, median, high = np.quantile(regrets, (0.25, 0.5, 0.75), method="inverted_cdf")  # of infinite ones too
            failed = np.mean([row["failed"] for row in cell])
            lines.append(f"| {name} | {method} ({len(cell)}) | {failed:.1f} of {cell[0]['evaluations']} | "
                         f"{median:.3g} [{low:.3g}, {high:.3g}] | {np.isinf(regrets).sum()} |")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", nargs="+", default=list(PLACES), choices=PLACES)
    parser.add_argument("--method", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_name("failures.jsonl"))
    parser.add_argument("--table", action="store_true", help="only print the summary of stored rows")
    chosen = parser.parse_args()
    if not chosen.table:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        enable_compilation_cache()
        seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
        # seed by seed, so that an interrupted comparison is still paired
        run([(*cell, seed) for seed, *cell in itertools.product(seeds, chosen.problem, chosen.method)], chosen.rows)
    print(table(chosen.rows))


if __name__ == "__main__":
    main()
