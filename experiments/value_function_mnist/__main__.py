"""The command; rows are appended to `rows-SCALE.jsonl`, and what is there is not run again."""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.common import rows
from experiments.common.settings import folder_of
from experiments.common.trained import retrained, trained
from experiments.value_function_mnist import plot
from experiments.value_function_mnist.settings import CELLS, METHODS, Cell, problem
from ibo_jax import tune
from ibo_jax.bilevel import updates, value_function
from ibo_jax.bilevel.judge import Judged, judge
from ibo_jax.problems.base import Problem
from ibo_jax.study.cache import enable_compilation_cache

TUNERS = {"value-function": "corrected", "value-function, published": "published"}


def run(cell: Cell, seed: int, method: str) -> dict[str, Any]:
    """One method on one subset."""
    made, began = problem(cell, seed), time.perf_counter()
    found = by_passes(made, cell, seed, TUNERS[method]) if method in TUNERS else by_search(made, cell, seed, method)
    return {
        "cell": cell.name,
        "seed": seed,
        "method": method,
        "seconds": round(time.perf_counter() - began, 1),
        **found,
    }


def _named(judged: Judged) -> dict[str, float]:
    return {"test_loss": judged.loss, "test_error": judged.error}


def by_passes(made: Problem, cell: Cell, seed: int, variant: Any) -> dict[str, Any]:
    """Run the tuner: its pass of smallest violation, and all passes."""
    assert made.learning is not None
    tuner = value_function.tuner(made, variant=variant, passes=cell.passes, envelope=cell.envelope)
    judged = judge(made.learning)
    answers, passes = [], []
    for number, (state, measures) in enumerate(updates(jax.random.key(seed), tuner)):
        if not measures.finite:
            return {"state": "diverged", "solves": number + 1, "passes": passes}
        if np.isfinite(measures.score):
            named = tuner.hyperparameters(state)
            reached = _named(judged(tuner.params(state), named, "test"))
            answers.append((measures.score, {**reached, "hyperparameters": named}))
            passes.append({"objective": float(measures.train_loss), **reached, **named, **measures.more})
    violation, answer = min(answers, key=lambda answer: answer[0])
    return {"state": "ok", "solves": tuner.epochs, "violation": violation, **answer, "passes": passes}


def by_search(made: Problem, cell: Cell, seed: int, method: str) -> dict[str, Any]:
    """Run a search by validation loss; its answer is trained on the same 60 %, and on all of the subset."""
    searched = made if method == "ibo" else made.seen("presample", "off")  # expected improvement trains plainly here
    found = tune(searched, method, evaluations=cell.evaluations, seed=seed, progress=False)
    if found.hyperparameters is None:
        return {"state": "diverged", "solves": len(found.rows)}
    once = trained(made, seed, found.hyperparameters)
    again = retrained(made, seed, found.hyperparameters)
    return {
        "state": "ok", "solves": len(found.rows), **_named(once), "retrained_test_loss": again.loss,
        "retrained_test_error": again.error, "hyperparameters": found.hyperparameters,
        "valid_loss": found.validation_error,
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m experiments.value_function_mnist", description=__doc__)
    parser.add_argument("--scale", choices=list(CELLS), default="cpu")
    parser.add_argument("--seeds", type=int, default=3, metavar="N")
    parser.add_argument("--first-seed", type=int, default=3, metavar="K", help="0 to 2 have been looked at")
    parser.add_argument("--cells", nargs="+", metavar="NAME", help="default: all of the scale")
    parser.add_argument("--methods", nargs="+", metavar="NAME", default=[*TUNERS, *METHODS],
                        choices=[*TUNERS, *METHODS])  # fmt: skip
    parser.add_argument("--out", type=Path, help="folder of rows and figures; default: here, for smoke under runs/")
    chosen = parser.parse_args(arguments)
    if unknown := {*(chosen.cells or ())} - {cell.name for cell in CELLS[chosen.scale]}:
        known = ", ".join(cell.name for cell in CELLS[chosen.scale])
        parser.error(f"expected cells among {known}, got {', '.join(sorted(unknown))}")
    folder = chosen.out or folder_of("value_function_mnist", chosen.scale)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rows-{chosen.scale}.jsonl"
    enable_compilation_cache()
    cells = [cell for cell in CELLS[chosen.scale] if not chosen.cells or cell.name in chosen.cells]
    for cell in cells:
        for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
            for method in chosen.methods:
                there = {(row.get("cell"), row.get("seed"), row.get("method")) for row in rows.read(path)}
                if (cell.name, seed, method) in there:
                    continue
                row = run(cell, seed, method) | {"device": jax.devices()[0].device_kind}
                rows.append(path, row | {"machine": rows.machine()})
                print(cell.name, seed, method, {name: row.get(name) for name in ("test_loss", "violation", "seconds")},
                      flush=True)  # fmt: skip
    plot.draw(folder)


if __name__ == "__main__":
    main()
