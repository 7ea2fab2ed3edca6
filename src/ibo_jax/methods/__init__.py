"""Methods by name: each is a pure `suggest(key, observations, state)`, see `ibo_jax.methods.base`."""

import functools
from typing import Any, NamedTuple

from ibo_jax.methods import random_search
from ibo_jax.methods.base import State, Suggest, Suggestion
from ibo_jax.methods.initial import Design
from ibo_jax.space import Cells, Fidelity
from ibo_jax.types import PROTOCOLS, Axis, Importance

__all__ = ["METHODS", "NAMES", "OPTUNA_NAMES", "Method", "State", "Suggest", "Suggestion", "make"]

OPTUNA_NAMES = ("grid", "tpe", "gp", "hyperband", "bohb")
"""Methods that `tune` has from Optuna, see `ibo_jax.study.optuna_methods`; all others are made here."""


class Method(NamedTuple):
    """What distinguishes the methods; surrogates, entropy search and importance sampling are shared by all of them.

    Attributes:
        summary: a line for people.
        axis: what its fidelity is, see `ibo_jax.types.Axis`.
        importance: how the presample ratio is chosen, see `ibo_jax.types.Importance`.
        acquisition: what is maximised, see `ibo_jax.acquisition.propose`; empty: points are drawn at random.
        design: the fidelities of the initial design, see `initial_design`.
    """

    summary: str
    axis: Axis
    importance: Importance
    acquisition: str
    design: Design


METHODS = {
    "ibo": Method("importance-based Bayesian optimisation: presample ratio searched, information gain per cost",
                  "presample", "searched", "information_gain_per_cost", "random"),
    "es": Method("entropy search, plain training", "presample", "off", "information_gain", "plain"),
    "es-is": Method("entropy search, importance sampling with a random presample ratio",
                    "presample", "random", "information_gain", "importance"),
    "fabolas": Method("size of the training set searched, information gain per cost",
                      "subset", "off", "information_gain_per_cost", "growing"),
    "fabolas-is": Method("Fabolas, and importance sampling with a random presample ratio",
                         "subset", "random", "information_gain_per_cost", "growing"),
    "mtbo": Method("multi-task Bayesian optimisation: a quarter of the training set, or all of it",
                   "task", "off", "information_gain_per_cost", "cheapest"),
    "ei": Method("expected improvement at the largest presample, the surrogate of ibo",
                 "presample", "searched", "expected_improvement", "random"),
    "random": Method("random search, plain training", "presample", "off", "", "plain"),
}  # fmt: skip
"""The designs of Ariafar et al. (2021), section 4, of their baselines, and two to compare with."""

NAMES = tuple(METHODS)


def make(name: str, fidelity: Fidelity, *, protocol: str = "default", cells: Cells = ()) -> Suggest:
    """The `suggest` function of a method.

    Args:
        name: one of `NAMES`.
        fidelity: the axis along which evaluations differ; a method that does not search it stays at its plain value.
        protocol: "default" guards the target fidelity, searches around the recommendation, lets the bias bend, warps
            the objective and suggests only what can be evaluated; "paper" and "scripts" follow Algorithm 1 without
            any of this, with the published fidelity kernel, and round what they choose.
        cells: what x can reach, `SearchSpace.cells`.

    Raises:
        ValueError: unknown name or protocol.
    """
    if name not in METHODS:
        raise ValueError(f"expected a method among {list(NAMES)}, got {name!r}; choose one of them")
    if protocol not in PROTOCOLS:
        raise ValueError(f"expected a protocol among {list(PROTOCOLS)}, got {protocol!r}; choose one of them")
    method = METHODS[name]
    if not method.acquisition:
        return functools.partial(random_search.suggest, fidelity=fidelity.plain_s)
    from ibo_jax.methods import entropy_search, ibo
    from ibo_jax.surrogate.kernels import ERROR_BASIS, PUBLISHED_ERROR_BASIS, TASK_BASIS

    default = protocol == "default"
    settings: dict[str, Any] = {"acquisition": method.acquisition, "nearby": default, "warped": default}
    settings["cells"] = cells if default else ()
    if method.axis == "presample" and method.importance != "searched":
        drawn = method.importance == "random"
        return functools.partial(entropy_search.suggest, fidelity=fidelity, drawn=drawn, **settings)
    basis = TASK_BASIS if method.axis == "task" else ERROR_BASIS if default else PUBLISHED_ERROR_BASIS
    return functools.partial(ibo.suggest, levels=fidelity.levels, guarded=default, error_basis=basis, **settings)
