"""Methods by name: each is a pure `suggest(key, observations, state)`, see `ibo_jax.methods.base`."""

import functools

from ibo_jax.methods import random_search
from ibo_jax.methods.base import State, Suggest, Suggestion

__all__ = ["NAMES", "OPTUNA_NAMES", "State", "Suggest", "Suggestion", "make"]

NAMES = ("ibo", "ei", "random")
PROTOCOLS = ("default", "paper", "scripts")
OPTUNA_NAMES = ("grid", "tpe", "gp", "hyperband", "bohb")
"""Methods that `tune` has from Optuna, see `ibo_jax.study.optuna_methods`; all others are made here."""


def make(name: str, dimension: int, levels: tuple[float, ...] | None, *, protocol: str = "default") -> Suggest:
    """The `suggest` function of a method.

    Args:
        name: one of `NAMES`: "ibo" (information gain about the optimum per cost), "ei" (expected improvement at the
            target fidelity, same surrogate), "random".
        dimension: coordinates of the unit cube.
        levels: encoded fidelities that can be chosen; None for any in [0, 1].
        protocol: "default" guards the target fidelity, lets the bias bend and warps the objective; "paper" and
            "scripts" follow Algorithm 1 unguarded, with the published fidelity kernel, on the objective as it is.

    Raises:
        ValueError: unknown name or protocol.
    """
    if name not in NAMES:
        raise ValueError(f"expected a method among {list(NAMES)}, got {name!r}; choose one of them")
    if protocol not in PROTOCOLS:
        raise ValueError(f"expected a protocol among {list(PROTOCOLS)}, got {protocol!r}; choose one of them")
    if name == "random":
        # The cheapest presample ratio is plain training; any other axis is searched at its target.
        return functools.partial(random_search.suggest, fidelity=1.0 if levels is None else levels[0])
    from ibo_jax.acquisition.propose import Acquisition
    from ibo_jax.methods import ibo
    from ibo_jax.surrogate.kernels import ERROR_BASIS, PUBLISHED_ERROR_BASIS

    acquisition: Acquisition = "information_gain" if name == "ibo" else "expected_improvement"
    default = protocol == "default"
    return functools.partial(
        ibo.suggest,
        levels=levels,
        guarded=default,
        acquisition=acquisition,
        error_basis=ERROR_BASIS if default else PUBLISHED_ERROR_BASIS,
        warped=default,
    )
