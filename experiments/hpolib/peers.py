"""Other tools on HPOLib's tables, in the same rows as our methods; needs `make peers`.

    python -m experiments.hpolib.peers protein --methods smac-gp vizier-gp --seeds 50

For each seed they start from the initial design of `es`, and their evaluations are seeded like its own. They are told
which hyperparameters are whole numbers and which choices, and see the logarithm of the error, as our surrogate does.
Their answer is the configuration of lowest error so far. Appends to the rows of `experiments.hpolib_protein` or
`hpolib_naval`; a finished search is not run again.
"""

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import peers
from experiments.common import pages, rows
from experiments.common.cell import columns_of, is_complete
from experiments.common.settings import TOOLS, Cell, Experiment, experiment, rows_file
from ibo_jax.observations import append, empty
from ibo_jax.problems.base import Problem
from ibo_jax.study.convert import Scale
from ibo_jax.study.propose import make_proposer, seed_of

SCALE = "cpu"


def search(problem: Problem, method: str, seed: int, evaluations: int) -> Iterator[dict[str, Any]]:
    """The trials of one search, each with the answer that would be given after it."""
    space, report = problem.space, problem.report
    assert report is not None
    proposer = make_proposer("es", seed, space.dimension, problem.fidelity, initial=problem.initial, protocol="default")
    began, design = time.perf_counter(), proposer.design[0]
    scale = Scale(problem.transform, problem.floor)
    seen, best, answer = empty(space.dimension), np.inf, None
    with peers.suggesting(method, 0.0, space) as suggest:
        for slot in range(evaluations):
            asked, initial = time.perf_counter(), slot < len(design)
            suggestion = None if initial else suggest(jax.random.fold_in(proposer.key, slot), seen, None)[0]
            seconds = time.perf_counter() - asked
            hyperparameters = space.decode(design[slot] if suggestion is None else suggestion.x)
            outcome = problem.evaluate(seed_of(proposer, slot), hyperparameters, problem.fidelity.target)
            seen = append(seen, space.encode(hyperparameters), 1.0, scale.model(outcome.error))
            if outcome.error < best:
                best, answer = outcome.error, hyperparameters
            assert answer is not None
            judged = report(seed, answer)
            yield {
                "slot": slot,
                "state": outcome.state,
                "hyperparameters": hyperparameters,
                "error": outcome.error,
                "cost_seconds": round(outcome.cost_seconds, 5),
                "cost_work": outcome.cost_work,
                "compile_seconds": 0.0,
                "suggest_seconds": round(seconds, 5),
                "elapsed_seconds": round(time.perf_counter() - began, 5),
                "reason": "initial" if initial else "acquisition",
                "incumbent": answer,
                "test_error": judged.test_error,
                "test_loss": judged.test_loss,
                "retrain_seconds": 0.0,
            }


def run(of: Experiment, method: str, seed: int, path: Path) -> None:
    """Append the rows of one search unless they are there."""
    evaluations = of.budgets[SCALE].evaluations
    cell = Cell(of.name, SCALE, "default", "seconds", method, seed, evaluations)
    if is_complete(rows.read(path), cell):
        return
    key = columns_of(cell)
    rows.append(path, key | {"machine": rows.machine()})
    for row in search(of.problem(SCALE, cell.protocol, seed), method, seed, evaluations):
        rows.append(path, key | row)
    rows.append(path, key | {"ended": {"trials": evaluations, "evaluations": evaluations, "seconds": None}})
    print(f"{of.name} {method} seed {seed}: {row['test_error']:.5g}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("protein", "naval"))
    parser.add_argument("--methods", nargs="+", choices=TOOLS, default=TOOLS)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rows", type=Path, help="default: those of the experiment")
    chosen = parser.parse_args()
    of = experiment(f"hpolib_{chosen.data}")
    path = chosen.rows or rows_file(of.name, SCALE)
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    for seed, method in itertools.product(seeds, chosen.methods):
        run(of, method, seed, path)
    for file in pages.draw(path, of.title):
        print(rows.relative(file))


if __name__ == "__main__":
    main()
