"""A small problem whose evaluations take a moment, and a process that tunes it: `python workers.py FOLDER ...`.

The process writes a line at the start of each evaluation, so that a test knows when to kill it.
"""

import argparse
import os
import signal
import time
from pathlib import Path

from ibo_jax import Outcome, Problem, tune
from ibo_jax.problems.synthetic import SYNTHETIC
from ibo_jax.study import rows

BRANIN = SYNTHETIC["branin"]


def timeless(found: list[rows.Row]) -> list[dict]:
    """Rows without what differs from run to run."""
    return [{name: value for name, value in row.items() if name not in rows.TIMES} for row in found]


def slow_branin(seconds: float, deadly: int | None = None) -> Problem:
    """Branin that sleeps; evaluation number `deadly` kills the process, as a driver or the kernel would."""
    begun = 0

    def evaluate(seed, hyperparameters, fidelity):
        nonlocal begun
        begun += 1
        print("begin", flush=True)
        time.sleep(seconds)
        if begun - 1 == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        outcome = BRANIN.evaluate(seed, hyperparameters, fidelity)
        return outcome._replace(error=outcome.error + seed / 2**31, cost_seconds=seconds)

    return Problem("slow-branin", BRANIN.space, evaluate, BRANIN.fidelity, transform="identity", initial=4)


def failing(how: str) -> Problem:
    """Branin of which every second evaluation fails."""
    begun = 0

    def evaluate(seed, hyperparameters, fidelity):
        nonlocal begun
        begun += 1
        if begun % 2 == 0:
            match how:
                case "raises":
                    raise RuntimeError("no such layer")
                case "memory":
                    raise MemoryError
                case "device memory":
                    raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes.")
                case "diverges" | "nan" | "infeasible":
                    state = "ok" if how == "nan" else "diverged" if how == "diverges" else "infeasible"
                    return Outcome(state, float("nan"), cost_seconds=1.0, cost_work=2.0)
        return BRANIN.evaluate(seed, hyperparameters, fidelity)

    return Problem(
        f"{how}-branin", BRANIN.space, evaluate, BRANIN.fidelity, transform="identity", guess=300.0, initial=4
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", default="random")
    parser.add_argument("--evaluations", type=int, default=12)
    parser.add_argument("--sleep", type=float, default=0.02)
    parser.add_argument("--deadly", type=int)
    chosen = parser.parse_args()
    tune(
        slow_branin(chosen.sleep, chosen.deadly), chosen.method, evaluations=chosen.evaluations,
        storage=chosen.folder, cost="work", progress=False,
    )  # fmt: skip
