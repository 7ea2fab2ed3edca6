"""A self-tuning AlexNet-like network on CIFAR-10: 15 hyperparameters, resumable from its last epoch.

    TFDS_DATA_DIR=... python -m experiments.stn_cifar10 --scale cpu --minutes 10
    TFDS_DATA_DIR=... python -m experiments.stn_cifar10 --scale paper --minutes 25      # a GPU

The problem is "cifar10-alexnet", at scale "paper" with the published starts, scales and rates (published validation
and test loss: 0.575 and 0.576). The run is kept in `--runs`; the same command with more minutes continues it, and
`ibo-jax report` draws it. What was reached is appended to `rows-SCALE.jsonl`.
"""

import argparse
from pathlib import Path
from typing import Any

import jax

from experiments.common import rows
from experiments.common.settings import folder_of
from ibo_jax.problems import problem
from ibo_jax.study import descent
from ibo_jax.study.cache import enable_compilation_cache

EPOCHS = {"smoke": 2, "cpu": 25, "paper": 400}
# Rates of "cpu" are for a few hundred steps; those of "paper" are the published ones, the defaults.
SETTINGS: dict[str, dict[str, Any]] = {
    "smoke": {"warm_up": 1}, "cpu": {"warm_up": 3, "rate": 0.02, "scale_rate": 0.01}, "paper": {"warm_up": 5},
}  # fmt: skip
START = {"cutout_length": 4.0, "cutout_holes": 1.0}  # the others 0.05


def run(scale: str, seed: int, minutes: float, out: Path, runs: Path) -> None:
    """Run epochs until all are done or the time is up; a row with what was reached by then."""
    made = problem("cifar10-alexnet", scale=scale)
    settings = {"start": dict.fromkeys(made.space.names, 0.05) | START, **SETTINGS[scale]}
    budget: dict[str, Any] = {"epochs": EPOCHS[scale], "seconds": 60 * minutes}
    folder = runs / f"{scale}-{seed}"
    result = descent.run(descent.prepare(made, "stn", settings=settings, seed=seed, storage=folder, **budget))
    _, summary = descent.read(folder)
    row = {
        "part": "cifar10", "method": "stn", "seed": seed, "epochs": len(result.rows),
        **{name: summary[name] for name in ("test_loss", "test_error")}, "valid_loss": summary["validation_loss"],
        "seconds": round(sum(row["cost_seconds"] for row in result.rows), 1),
        "series": [row["validation_loss"] for row in result.rows],
        "values": {name: [row["hyperparameters"][name] for row in result.rows] for name in made.space.names},
    }  # fmt: skip
    path = out / f"rows-{scale}.jsonl"
    if not any(old.get("seed") == seed and old["epochs"] == row["epochs"] for old in rows.read(path)):
        rows.append(path, row | {"device": jax.devices()[0].device_kind, "machine": rows.machine()})


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        "python -m experiments.stn_cifar10", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", choices=EPOCHS, default="cpu")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=25.0, help="time for each seed, over restarts")
    parser.add_argument("--out", type=Path, help="folder of the rows; default: here, for smoke under runs/")
    parser.add_argument("--runs", type=Path, default=Path("runs") / "experiments" / "stn_cifar10")
    chosen = parser.parse_args(arguments)
    enable_compilation_cache()
    out = chosen.out or folder_of("stn_cifar10", chosen.scale)
    for seed in range(chosen.seeds):
        run(chosen.scale, seed, chosen.minutes, out, chosen.runs)


if __name__ == "__main__":
    main()
