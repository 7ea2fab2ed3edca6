"""Resident memory of a process that tunes networks of ever new widths on tiny data.

    python -m experiments.benchmarks.memory [--method random] [--evaluations 150]

Nearly every trial compiles programs, tens of MB that JAX would keep for the life of the process; `training.programs`
releases them after a number of programs. With `--method random` nothing else is measured; `ibo` adds the programs of
the search. Appends a row to `memory.jsonl`: resident megabytes after each trial, and the growth of the
highest level after trial 20 over the highest before it (goal: under 10 %).
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

import ibo_jax
from experiments.common import rows
from ibo_jax.methods import NAMES
from ibo_jax.outcomes import Outcome
from ibo_jax.training.networks import MLP
from ibo_jax.training.optimizers import rmsprop

SETTLED = 20  # trials after which memory should be level


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=NAMES, default="random")
    parser.add_argument("--evaluations", type=int, default=150)
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_name("memory.jsonl"))
    arguments = parser.parse_args()
    problem, resident = tiny_problem(), []

    def measured(*point: object) -> Outcome:
        outcome = problem.evaluate(*point)
        resident.append(round(resident_megabytes(), 1))
        print(f"trial {len(resident)}: {resident[-1]:.0f} MB", flush=True)
        return outcome

    ibo_jax.tune(
        replace(problem, evaluate=measured), arguments.method, evaluations=arguments.evaluations, progress=False
    )
    growth = max(resident[SETTLED:], default=float("nan")) / max(resident[:SETTLED]) - 1
    about = {"method": arguments.method, "evaluations": arguments.evaluations, "growth": round(growth, 4)}
    rows.append(arguments.rows, about | {"resident_megabytes": resident, "machine": rows.machine()})
    print(f"growth after trial {SETTLED}: {100 * growth:.1f} %")


def resident_megabytes() -> float:
    """Memory of this process (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def tiny_problem() -> ibo_jax.Problem:
    """Noise to classify, importance sampling in every training, and a width for every trial."""
    rng = np.random.default_rng(0)
    return ibo_jax.training_problem(
        "tiny",
        ibo_jax.SearchSpace({"units": ibo_jax.Integer(8, 1000), "learning_rate": ibo_jax.Float(1e-4, 1e-2, log=True)}),
        ibo_jax.split_arrays(rng.normal(size=(400, 8)), rng.integers(4, size=400)),
        network=lambda h: MLP(4, units=h["units"], layers=2),
        optimizer=lambda h, steps_per_epoch: rmsprop(h["learning_rate"]),
        epochs=1,
        batch_size=lambda h: 16,
        fidelity=ibo_jax.PRESAMPLE_RATIO._replace(low=2),
    )


if __name__ == "__main__":
    main()
