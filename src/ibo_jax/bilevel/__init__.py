"""Gradient-based tuners by name: hyperparameters change during one training, see `ibo_jax.bilevel.base`."""

import importlib
from typing import Any, NamedTuple

from ibo_jax.bilevel.base import Measures, Tuner, check_epochs, learning_of, updates
from ibo_jax.problems.base import Problem

__all__ = ["NAMES", "TUNERS", "Kind", "Measures", "Tuner", "check_epochs", "make", "updates"]


class Kind(NamedTuple):
    """How a tuner is made: `module.tuner(problem, **settings)`."""

    summary: str
    module: str
    settings: dict[str, str] = {}


TUNERS = {
    "hypernet-global": Kind("a hypernetwork learns the best response everywhere, then the hyperparameters follow it",
                            "hypernetwork", {"algorithm": "global"}),
    "hypernet-local": Kind("a hypernetwork learns the best response nearby while the hyperparameters follow it",
                           "hypernetwork", {"algorithm": "local"}),
    "stn": Kind("self-tuning network: structured best response, one training", "self_tuning"),
    "value-function": Kind("value function of the lower level, augmented Lagrangian", "value_function"),
}  # fmt: skip
"""Lorraine and Duvenaud (2018), MacKay et al. (2019), Sinha et al. (2022)."""

NAMES = tuple(TUNERS)


def make(name: str, problem: Problem, **settings: Any) -> Tuner:
    """The tuner of a problem, with settings that its module explains.

    Raises:
        ValueError: the name is unknown; the problem has no training to look into, or has hyperparameters that the tuner
            cannot change.
    """
    if name not in TUNERS:
        raise ValueError(f"expected a tuner among {list(NAMES)}, got {name!r}; choose one of them")
    learning_of(problem)
    kind = TUNERS[name]
    return importlib.import_module(f"ibo_jax.bilevel.{kind.module}").tuner(problem, **kind.settings, **settings)
