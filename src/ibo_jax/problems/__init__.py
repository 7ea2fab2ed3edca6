"""What can be tuned: problems by name, and `training_problem`, which makes one of any network and data."""

from typing import Any

from ibo_jax.problems.base import Problem
from ibo_jax.problems.catalogue import describe, names, problem

__all__ = ["Problem", "describe", "names", "problem", "training_problem"]


def __getattr__(name: str) -> Any:
    if name != "training_problem":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ibo_jax.problems.training import training_problem  # JAX and Flax, loaded only when asked for

    return training_problem
