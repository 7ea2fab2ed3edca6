"""Checks of every study before anything is trained, and what distinguishes one study from another."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution

from ibo_jax.problems.base import Problem
from ibo_jax.space import Dimension, Fidelity, SearchSpace
from ibo_jax.study.convert import distributions, plain

__all__ = [
    "check_budget", "check_cost", "check_parameters", "check_problem", "check_same", "check_seed", "check_whole",
    "folder_of", "identity", "versions",
]  # fmt: skip

COSTS = ("seconds", "work")
SETTINGS = (
    "problem", "epochs", "space", "transform", "floor", "initial", "fidelity", "method", "seed", "cost", "settings",
)  # fmt: skip
"""What a study stores beside a problem's `setup`; and the protocol, which problems by name have in their setup too."""
PACKAGES = ("ibo_jax", "jax", "jaxlib", "flax", "optax", "numpyro", "numpy", "optuna")


def check_problem(problem: Problem) -> None:
    """Refuse what cannot be tuned."""
    if not isinstance(problem, Problem):
        raise ValueError(f"expected a Problem or the name of one, got {problem!r}; see ibo_jax.problems")
    if not isinstance(problem.space, SearchSpace):
        raise ValueError(f"{problem.name}: expected a SearchSpace, got {problem.space!r}; wrap it in one")
    if not isinstance(problem.fidelity, Fidelity):
        raise ValueError(
            f"{problem.name}: expected a Fidelity, got {problem.fidelity!r}; without any it is Fidelity('s', 1, 1)"
        )
    if problem.transform not in ("log", "identity"):
        raise ValueError(f"{problem.name}: expected transform 'log' or 'identity', got {problem.transform!r}")
    if not problem.floor > 0:
        raise ValueError(f"{problem.name}: expected a floor > 0 under the log, got {problem.floor}; raise it")
    check_whole(f"at least one initial point of {problem.name}", problem.initial, "initial")
    if taken := [name for name in problem.setup if name in SETTINGS]:
        raise ValueError(f"{problem.name}: expected a setup with names of its own, got {taken}, which every study has; "
                         "rename them")  # fmt: skip
    distributions(problem.space, problem.fidelity)


def check_budget(evaluations: int | None, seconds: float | None) -> None:
    """Refuse an empty budget."""
    if evaluations is not None and (not isinstance(evaluations, Integral) or evaluations < 1):
        raise ValueError(f"expected a whole number of evaluations >= 1, got {evaluations!r}; raise the budget")
    if seconds is not None and not (isinstance(seconds, Real) and 0 < seconds < math.inf):
        raise ValueError(f"expected a positive, finite number of seconds, got {seconds!r}; raise the budget")


def check_cost(cost: str) -> None:
    """Refuse an unknown unit of cost."""
    if cost not in COSTS:
        raise ValueError(f"expected a cost among {list(COSTS)}, got {cost!r}; choose one of them")


def check_seed(seed: int) -> None:
    """Refuse an invalid seed."""
    if not isinstance(seed, Real) or not 0 <= seed < 2**32 or int(seed) != seed:
        raise ValueError(f"expected a seed in [0, 2^32), a whole number, got {seed!r}; choose one in that range")


def folder_of(storage: Path | str | None) -> Path | None:
    """The folder of a study, wherever an evaluation changes to; what is none is refused."""
    if storage == "" or "://" in str(storage):
        raise ValueError(f"expected a folder for the study, got {storage!r}; name a folder, or None to keep none")
    return None if storage is None else Path(storage).expanduser().absolute()


def check_whole(what: str, count: Any, name: str) -> None:
    """Refuse what is not a whole number from 1; `name` is the argument."""
    if not isinstance(count, Integral) or count < 1:
        raise ValueError(f"expected {what}, a whole number, got {count!r}; raise `{name}`")


def check_parameters(space: Any) -> None:
    """Refuse what Optuna would trip over in the first trial."""
    if not isinstance(space, Mapping) or not space:
        raise ValueError(f"expected parameters by name as `space`, got {space!r}; leave it out if they are not known")
    for name, found in space.items():
        if not isinstance(found, BaseDistribution | Dimension):
            raise ValueError(f"{name}: expected a distribution of Optuna, or Float, Integer or Categorical, got "
                             f"{found!r}; wrap the bounds in one")  # fmt: skip


def check_same(where: str, found: dict[str, Any], settings: dict[str, Any]) -> None:
    """Refuse to continue a study that was started with other settings; the message names the differences."""
    if other := list(_differences(found, settings)):
        raise ValueError(f"expected the study in {where} to have these settings, found {'; '.join(other)}; "
                         "repeat the command that started it, or use another folder")  # fmt: skip


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any], within: str = "") -> Iterator[str]:
    for name in {**wanted, **found}:
        was, value = found.get(name), wanted.get(name)
        if isinstance(was, Mapping) and isinstance(value, Mapping):
            yield from _differences(was, value, f"{within}{name}.")
        elif was != value:
            yield f"{within}{name} {was!r} instead of {value!r}"


def identity(problem: Problem) -> dict[str, Any]:
    """The parts of a problem that must not change while a study grows, as JSON."""
    dimensions = problem.space.dimensions
    space = {name: {"type": type(found).__name__, **found._asdict()} for name, found in dimensions.items()}
    return plain({"problem": problem.name, **problem.setup, "epochs": problem.epochs, "space": space})


def versions() -> dict[str, str]:
    """Versions of the packages on which results may depend."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
