"""Record real trainings of the MNIST network at random points of the space, at random presamples and subsets.

    TFDS_DATA_DIR=... OMP_NUM_THREADS=1 XLA_FLAGS=--xla_cpu_multi_thread_eigen=false \\
        python -m experiments.tabular.record [--trainings 800] [--shard 0/2]

Appends one row per training to `recorded.jsonl` and skips those that are there. A third of the trainings see all
examples at a presample ratio of 1 to 6 (what IBO chooses), a third a subset without importance sampling (Fabolas), a
third a subset with it (Fabolas-IS). `cpu_share` is the processor time of the process over its wall time: below one
where other processes took the core, so that cost_seconds * cpu_share is what a quiet machine would have needed.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import rows
from ibo_jax.problems import catalogue
from ibo_jax.problems.base import Problem
from ibo_jax.study.cache import enable_compilation_cache
from ibo_jax.study.evaluate import evaluate
from ibo_jax.types import Axis, Importance

RECORDED = Path(__file__).with_name("recorded.jsonl")
VIEWS: tuple[tuple[Axis, Importance], ...] = (("presample", "searched"), ("subset", "off"), ("subset", "random"))


def views(problem: Problem) -> list[Problem]:
    """The problem as IBO, Fabolas and Fabolas-IS see it."""
    return [problem.seen(axis, importance) for axis, importance in VIEWS]


def record(number: int, seen: list[Problem]) -> dict[str, Any]:
    """Training `number` of the design; all randomness follows from it."""
    rng = np.random.default_rng([17, number])
    problem = seen[number % len(seen)]
    levels = problem.fidelity.levels
    s = float(rng.choice(levels) if levels is not None else rng.uniform())
    h, value = problem.space.decode(rng.uniform(size=problem.space.dimension)), problem.fidelity.decode(s)
    wall, cpu = time.perf_counter(), time.process_time()
    outcome, _ = evaluate(problem, int(rng.integers(2**31)), h, value)
    share = (time.process_time() - cpu) / (time.perf_counter() - wall)
    return {
        "number": number,
        "state": outcome.state,
        "hyperparameters": h,
        "presample_ratio": outcome.presample_ratio,
        "subset_size": value if problem.fidelity.name == "subset_size" else None,
        "error": outcome.error,
        "errors": [round(error, 4) for error in outcome.history.get("error", [])],
        "cost_seconds": round(outcome.cost_seconds, 4),
        "cost_work": outcome.cost_work,
        "compile_seconds": round(outcome.compile_seconds, 2),
        "cpu_share": round(share, 3),
        "importance_share": round(outcome.importance_share, 4),
        "message": outcome.message,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=800)
    parser.add_argument("--shard", default="0/1", help="I/N: every N-th training from the I-th on, for N processes")
    parser.add_argument("--rows", type=Path, default=RECORDED)
    arguments = parser.parse_args()
    shard, shards = map(int, arguments.shard.split("/"))
    enable_compilation_cache()
    seen, there = views(catalogue.problem("mnist-fcn")), {row.get("number") for row in rows.read(arguments.rows)}
    rows.append(arguments.rows, {"machine": rows.machine()})
    began = time.monotonic()
    missing = [number for number in range(shard, arguments.trainings, shards) if number not in there]
    for done, number in enumerate(missing, 1):
        row = record(number, seen)
        rows.append(arguments.rows, row)
        left = (time.monotonic() - began) / done * (len(missing) - done)
        print(f"{number}: error {row['error']:.4f}, {row['cost_seconds']:.1f} s ({row['compile_seconds']:.0f} s to "
              f"compile), {left / 60:.0f} minutes left", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
