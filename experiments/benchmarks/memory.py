"""Resident memory of a process that trains networks of ever new widths, as a study does.

    python -m experiments.benchmarks.memory [--trials 150] [--growth MEGABYTES]

Every trial compiles programs that JAX would keep for the life of the process, several MB a trial. As in the shell
they are given back when the process has grown by its allowance (or by `--growth`) since the last time; with
`--growth 1e9` they never are. Appends a row to `memory.jsonl`: resident megabytes after each trial, and the growth
of the highest level after trial 20 over the highest level before it (goal: under 10 %).
"""

import argparse
import time
from pathlib import Path

import numpy as np
from experiments.benchmarks import rows

from ibo_jax.study import evaluate
from ibo_jax.training.datasets import split_arrays
from ibo_jax.training.networks import MLP
from ibo_jax.training.optimizers import rmsprop
from ibo_jax.training.trainer import Task, train

SETTLED = 20  # trials after which memory should be level
TASK = Task(
    network=lambda h: MLP(4, units=h["units"], layers=2),
    optimizer=lambda h, steps_per_epoch: rmsprop(h["learning_rate"]),
    epochs=1,
    batch_size=lambda h: 16,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--growth", type=float, default=evaluate.GROWTH_MEGABYTES)
    parser.add_argument("--rows", type=Path, default=rows.HERE / "memory.jsonl")
    arguments = parser.parse_args()
    evaluate.GROWTH_MEGABYTES = arguments.growth
    rng = np.random.default_rng(0)
    data = split_arrays(rng.normal(size=(400, 8)), rng.integers(4, size=400))
    resident, releases, seconds = [], [], 0.0
    allowed = evaluate.resident_megabytes() + arguments.growth
    for trial in range(arguments.trials):
        train(trial, TASK, {"units": 8 + trial, "learning_rate": 1e-3}, 3, data)
        resident.append(round(evaluate.resident_megabytes(), 1))
        began, before = time.perf_counter(), allowed
        allowed = evaluate.release_memory(allowed)
        if allowed != before:
            releases.append(trial)
            seconds += time.perf_counter() - began
        print(f"trial {trial + 1}: {resident[-1]:.0f} MB" + (", released" if allowed != before else ""), flush=True)
    growth = max(resident[SETTLED:], default=float("nan")) / max(resident[:SETTLED]) - 1
    row = {
        "trials": arguments.trials, "allowance": arguments.growth, "growth": round(growth, 4), "releases": releases,
        "release_seconds": round(seconds, 2), "resident_megabytes": resident, "machine": rows.machine(),
    }  # fmt: skip
    rows.append(arguments.rows, row)
    print(f"growth after trial {SETTLED}: {100 * growth:.1f} %; {len(releases)} releases took {seconds:.1f} s")


if __name__ == "__main__":
    main()
