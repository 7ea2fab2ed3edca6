"""Self-tuning networks on real MNIST (a part of it).

    TFDS_DATA_DIR=... python -m experiments.stn_mnist search --scale cpu
    TFDS_DATA_DIR=... python -m experiments.stn_mnist starts --scale cpu

search: LeNet with a dropout rate per layer, input noise and cutout (the problem "mnist-dropout"), against searches
    given the same seconds; ordinary trainings that replay the learnt schedule, or hold its last values.
starts: the same network with the hidden layer's rate only, on half of the images, learnt from 0.05, 0.3, 0.5, 0.7 and
    0.9; ordinary trainings that replay each schedule, hold its last value, or hold its first one.

Rows are appended to `rows-SCALE.jsonl`; what is there is not run again. `plot.py` draws the figures.
"""

import argparse
from pathlib import Path

from experiments.common import self_tuning
from experiments.common.settings import folder_of
from ibo_jax.bilevel.self_tuning import tuner
from ibo_jax.problems import problem, training_problem
from ibo_jax.problems.base import Problem
from ibo_jax.space import PRESAMPLE_RATIO, Float, SearchSpace
from ibo_jax.study.cache import enable_compilation_cache
from ibo_jax.training import optimizers
from ibo_jax.training.convnets import LeNet
from ibo_jax.training.datasets import take

PLAIN = PRESAMPLE_RATIO._replace(high=1)  # half of the smallest set is smaller than a presample of six batches
EPOCHS = {"search": {"smoke": 3, "cpu": 40}, "starts": {"smoke": 2, "cpu": 80}}
# Chosen on seed 100 for trainings of a few hundred steps; published: 3e-3 in some ten thousand.
SETTINGS = {"search": {"warm_up": 4, "rate": 0.02, "scale_rate": 0.01},
            "starts": {"warm_up": 4, "rate": 0.05, "scale": 1.0, "entropy": 0.01}}  # fmt: skip


def one_rate(scale: str) -> Problem:
    """The network of "mnist-dropout" with one rate, on half of its images, where the rate matters more."""
    like = problem("mnist-dropout", scale=scale)
    assert like.learning is not None
    return training_problem(
        "mnist-one-rate",
        SearchSpace({"dropout": Float(0.0, 0.95)}),
        take(like.learning.data, train=len(like.learning.data.train_labels) // 2),
        network=lambda h: LeNet(10, (4, 8), 128, (0.0, 0.0, h["dropout"])),
        optimizer=lambda h, steps: optimizers.momentum_sgd(0.01, 0.9),
        epochs=20,
        batch_size=lambda h: 64,
        fidelity=PLAIN,
    )


def search(scale: str, seeds: range, path: Path) -> None:
    """Every method, given the same seconds."""
    made, epochs = problem("mnist-dropout", scale=scale), EPOCHS["search"][scale]
    self_tuning.compare(made, tuner(made, **SETTINGS["search"]), seeds, epochs, path, {"part": "search"})


def starts(scale: str, seeds: range, path: Path) -> None:
    """One rate, from every start."""
    made, epochs = one_rate(scale), EPOCHS["starts"][scale]
    tuners = {start: tuner(made, start={"dropout": start}, **SETTINGS["starts"]) for start in self_tuning.STARTS}
    self_tuning.replay_each(made, tuners, seeds, epochs, path, {"part": "starts"})


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        "python -m experiments.stn_mnist", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("search", "starts"))
    parser.add_argument("--scale", choices=("smoke", "cpu"), default="cpu")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the rows; default: here, for smoke under runs/")
    chosen = parser.parse_args(arguments)
    enable_compilation_cache()
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    run, out = {"search": search, "starts": starts}[chosen.part], chosen.out or folder_of("stn_mnist", chosen.scale)
    run(chosen.scale, seeds, out / f"rows-{chosen.scale}.jsonl")


if __name__ == "__main__":
    main()
