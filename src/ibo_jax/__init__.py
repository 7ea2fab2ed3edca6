"""Importance-based Bayesian optimisation of neural networks, in JAX.

    tune(problem, method="ibo", ...)     search for the hyperparameters of lowest validation error
    training_problem(...)                a problem made from your own network and data
    importance                           importance-sampled training steps, usable alone
    IBOSampler                           the method in any Optuna study

Everything is loaded when it is first used, so that the import is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibo_jax import importance, problems
    from ibo_jax.observations import Observations
    from ibo_jax.outcomes import Outcome, Report
    from ibo_jax.problems.base import Problem
    from ibo_jax.problems.training import training_problem
    from ibo_jax.space import PRESAMPLE_RATIO, Categorical, Fidelity, Float, Integer, SearchSpace
    from ibo_jax.study.result import Result
    from ibo_jax.study.sampler import IBOSampler
    from ibo_jax.study.tune import tune
    from ibo_jax.training.datasets import split_arrays

__all__ = [
    "PRESAMPLE_RATIO",
    "Categorical",
    "Fidelity",
    "Float",
    "IBOSampler",
    "Integer",
    "Observations",
    "Outcome",
    "Problem",
    "Report",
    "Result",
    "SearchSpace",
    "importance",
    "problems",
    "split_arrays",
    "training_problem",
    "tune",
]

_HOMES = {
    "ibo_jax.observations": ("Observations",),
    "ibo_jax.outcomes": ("Outcome", "Report"),
    "ibo_jax.problems.base": ("Problem",),
    "ibo_jax.problems.training": ("training_problem",),
    "ibo_jax.space": ("PRESAMPLE_RATIO", "Categorical", "Fidelity", "Float", "Integer", "SearchSpace"),
    "ibo_jax.study.sampler": ("IBOSampler",),
    "ibo_jax.study.result": ("Result",),
    "ibo_jax.study.tune": ("tune",),
    "ibo_jax.training.datasets": ("split_arrays",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in ("importance", "problems"):
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
