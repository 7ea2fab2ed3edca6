"""The parameters of any Optuna study as points of the unit cube and a fidelity."""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from ibo_jax.space import PRESAMPLE_RATIO, Fidelity, SearchSpace
from ibo_jax.study.convert import dimension, inward, outward

__all__ = ["CHOSEN", "NO_FIDELITY", "Axes", "as_chosen", "fidelity_of"]

NO_FIDELITY = Fidelity("", 1.0, 1.0)
CHOSEN = "ibo_jax:chosen"  # what a trial will have: Optuna stores a parameter only once the objective asks for it
ENQUEUED = "fixed_params"  # Optuna's name for what it will have instead


class Axes(NamedTuple):
    """A study's parameters as points of the unit cube and a fidelity."""

    parameters: dict[str, BaseDistribution]  # without the fidelity
    fidelity: Fidelity

    @property
    def space(self) -> SearchSpace:
        """The space of the parameters, with choices and steps represented by their number."""
        return SearchSpace({name: dimension(found) for name, found in self.parameters.items()})

    def lacking(self, trial: FrozenTrial) -> list[str]:
        """The parameters that a trial lacks, or has outside the bounds or choices."""
        missing = [name for name, found in self.parameters.items()
                   if name not in trial.params or not _contains(found, trial.params[name])]  # fmt: skip
        value = trial.params.get(self.fidelity.name)
        reached = isinstance(value, int | float) and self.fidelity.low <= value <= self.fidelity.high
        return missing if self.fidelity is NO_FIDELITY or reached else [*missing, self.fidelity.name]

    def encode(self, values: Mapping[str, Any]) -> tuple[np.ndarray, float]:
        """The point in the unit cube, and the fidelity in [0, 1]."""
        x = self.space.encode({name: inward(found, values[name]) for name, found in self.parameters.items()})
        return x, 1.0 if self.fidelity is NO_FIDELITY else self.fidelity.encode(values[self.fidelity.name])

    def decode(self, x: np.ndarray, s: float) -> dict[str, Any]:
        """The way back, by name."""
        values = self.space.decode(x)
        found = {name: outward(self.parameters[name], value) for name, value in values.items()}
        return found if self.fidelity is NO_FIDELITY else found | {self.fidelity.name: self.fidelity.decode(s)}


def as_chosen(trial: FrozenTrial) -> FrozenTrial:
    """A running trial with all that it will ask for."""
    if trial.state != TrialState.RUNNING:
        return trial
    found = copy.copy(trial)  # the storage keeps the other
    found.params = {**trial.system_attrs.get(CHOSEN, {}), **trial.system_attrs.get(ENQUEUED, {}), **trial.params}
    return found


def fidelity_of(name: str, parameters: Mapping[str, BaseDistribution]) -> Fidelity:
    """The parameter of this name as the fidelity; its upper end is the target.

    Raises:
        ValueError: there is no such parameter, or it is of a kind that has no scale.
    """
    found = parameters.get(name)
    if found is None:
        raise ValueError(
            f"expected the fidelity {name!r} among the parameters, got {sorted(parameters)}; "
            f"suggest it in the objective, or set fidelity=None"
        )
    if isinstance(found, IntDistribution) and found.step == 1 and found.low >= 1:
        plain = 1 if name == PRESAMPLE_RATIO.name and found.low == 1 else None
        return Fidelity(name, found.low, found.high, integer=True, plain=plain)
    if isinstance(found, FloatDistribution) and found.step is None and not found.log:
        return Fidelity(name, found.low, found.high)
    raise ValueError(
        f"expected the fidelity {name!r} to be whole numbers from 1 or more, or a plain float, got {found}; "
        "change its distribution"
    )


def _contains(found: BaseDistribution, value: Any) -> bool:
    try:
        return found._contains(found.to_internal_repr(value))
    except ValueError:  # it is none of these choices
        return False
