"""A self-tuning AlexNet-like network on CIFAR-10: 15 hyperparameters, resumable from its last epoch.

    TFDS_DATA_DIR=... python -m experiments.stn_cifar10 --scale cpu --minutes 10
    TFDS_DATA_DIR=... python -m experiments.stn_cifar10 --scale paper --minutes 25      # a GPU

The problem "cifar10-alexnet"; at scale "paper" with the published starts, scales and rates (the published validation
and test loss: 0.575 and 0.576). A row an epoch is appended to `epochs-SCALE.jsonl`, and one at the end to
`rows-SCALE.jsonl`. The state is kept in `--runs`; the same command goes on from there.
"""

import argparse
import pickle
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.common import rows
from ibo_jax.bilevel.judge import judge
from ibo_jax.bilevel.self_tuning import tuner
from ibo_jax.problems import problem
from ibo_jax.study.cache import enable_compilation_cache

HERE = Path(__file__).parent
EPOCHS = {"smoke": 2, "cpu": 25, "paper": 400}
# Rates of "cpu" are for some hundred steps; those of "paper" are the published ones, the defaults.
SETTINGS: dict[str, dict[str, Any]] = {
    "smoke": {"warm_up": 1}, "cpu": {"warm_up": 3, "rate": 0.02, "scale_rate": 0.01}, "paper": {"warm_up": 5},
}  # fmt: skip
START = {"cutout_length": 4.0, "cutout_holes": 1.0}  # the others 0.05


def run(scale: str, seed: int, minutes: float, out: Path, runs: Path) -> None:
    """Epochs until all are done or the time is up."""
    made = problem("cifar10-alexnet", scale=scale)
    tuned = tuner(made, start=dict.fromkeys(made.space.names, 0.05) | START, **SETTINGS[scale])
    kept, key = runs / f"{scale}-{seed}.pickle", jax.random.key(seed)
    state, best = pickle.loads(kept.read_bytes()) if kept.exists() else (tuned.init(key), None)
    began = time.perf_counter()
    while int(state.epoch) < EPOCHS[scale] and time.perf_counter() - began < 60 * minutes:
        number, started = int(state.epoch), time.perf_counter()
        state, measures = tuned.update(jax.random.fold_in(key, number), state)
        values = {name: float(f"{value:.4g}") for name, value in tuned.hyperparameters(state).items()}
        row = {"seed": seed, "epoch": number, "seconds": round(time.perf_counter() - started, 2), "values": values,
               "valid_loss": float(measures.score), "valid_error": float(measures.more["valid_error"])}  # fmt: skip
        if best is None or row["valid_loss"] < best["valid_loss"]:
            test_error, test_loss = judge(made.learning)(tuned.params(state), values, "test")
            best = row | {"test_loss": test_loss, "test_error": test_error}
        rows.append(out / f"epochs-{scale}.jsonl", row)
        print({name: row[name] for name in ("epoch", "seconds", "valid_loss", "valid_error")}, flush=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(pickle.dumps((jax.tree.map(np.asarray, state), best)))
        if not measures.finite:
            break
    if best is not None:
        _conclude(scale, seed, best, out)


def _conclude(scale: str, seed: int, best: dict[str, Any], out: Path) -> None:
    path = out / f"rows-{scale}.jsonl"
    epochs = {row["epoch"]: row for row in rows.read(out / f"epochs-{scale}.jsonl") if row["seed"] == seed}
    series = {name: [row["values"][name] for row in epochs.values()] for name in best["values"]}
    losses = {name: best[name] for name in ("valid_loss", "test_loss", "test_error")}
    rows.append(path, {"part": "cifar10", "method": "stn", "seed": seed, "epochs": len(epochs), "values": series,
                       "device": jax.devices()[0].device_kind, "machine": rows.machine()} | losses)  # fmt: skip
    print(losses)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=EPOCHS, default="cpu")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=25.0, help="for each seed, compilation included")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the rows")
    parser.add_argument("--runs", type=Path, default=Path("runs") / "experiments" / "stn_cifar10")
    chosen = parser.parse_args(arguments)
    enable_compilation_cache()
    for seed in range(chosen.seeds):
        run(chosen.scale, seed, chosen.minutes, chosen.out, chosen.runs)


if __name__ == "__main__":
    main()
