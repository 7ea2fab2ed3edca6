"""To and from Optuna: distributions and dimensions, trials and observations, and what a trial's attributes can hold."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ibo_jax.methods.base import State
from ibo_jax.observations import Observations, append, empty
from ibo_jax.space import Categorical, Dimension, Fidelity, Float, Integer, SearchSpace

__all__ = [
    "Evaluation",
    "Scale",
    "dimension",
    "distribution",
    "distributions",
    "inward",
    "observations",
    "outward",
    "pack",
    "plain",
    "unpack",
]


class Scale(NamedTuple):
    """The scale on which an objective is modelled: log of a positive error (floored), or the value with a sign."""

    transform: Literal["log", "identity"] = "identity"
    floor: float = 1e-6
    sign: float = 1.0  # -1 where the study maximises

    def model(self, value: float) -> float:
        """What the surrogate minimises."""
        return math.log(max(value, self.floor)) if self.transform == "log" else self.sign * value

    def natural(self, objective: float) -> float:
        """Back to the scale of errors."""
        return math.exp(objective) if self.transform == "log" else self.sign * objective


class Evaluation(NamedTuple):
    """One point of the unit cube at an encoded fidelity, with its objective and costs unless pending or failed."""

    x: np.ndarray
    fidelity: float
    objective: float = 0.0
    cost: float = 1.0
    overhead: float = 0.0
    pending: bool = False
    failed: bool = False


def observations(evaluations: Iterable[Evaluation], dimension: int) -> Observations:
    """Padded buffers of evaluations, in the order given."""
    seen = empty(dimension)
    for x, fidelity, objective, cost, overhead, pending, failed in evaluations:
        seen = append(seen, x, fidelity, objective, math.log(cost), overhead, pending=pending, failed=failed)
    return seen


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension of a search space as Optuna knows it."""
    if isinstance(dimension, Categorical):
        return CategoricalDistribution(dimension.choices)
    if isinstance(dimension, Integer):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def distributions(space: SearchSpace, fidelity: Fidelity) -> dict[str, BaseDistribution]:
    """Every parameter of a trial: the hyperparameters and the fidelity."""
    if fidelity.name in space.names:
        raise ValueError(
            f"expected a fidelity whose name is no hyperparameter, got {fidelity.name!r}, which is both; rename one"
        )
    if not (math.isfinite(fidelity.low) and math.isfinite(fidelity.high)) or fidelity.low > fidelity.high:
        raise ValueError(
            f"{fidelity.name}: expected finite low <= high, got [{fidelity.low}, {fidelity.high}]; swap or change them"
        )
    whole = all(float(bound).is_integer() for bound in (fidelity.low, fidelity.high))
    if fidelity.integer and (fidelity.low < 1 or not whole):
        raise ValueError(
            f"{fidelity.name}: expected whole levels from 1, got [{fidelity.low}, {fidelity.high}]; "
            "change them to whole numbers from 1 (plain training): a presample below the batch cannot be drawn from"
        )
    found = {name: distribution(dimension) for name, dimension in space.dimensions.items()}
    if fidelity.integer:
        return found | {fidelity.name: IntDistribution(int(fidelity.low), int(fidelity.high))}
    return found | {fidelity.name: FloatDistribution(fidelity.low, fidelity.high)}


def dimension(found: BaseDistribution) -> Dimension:
    """Optuna's distribution as a dimension, with choices and steps numbered, see `inward` and `outward`.

    Examples:
        >>> dimension(IntDistribution(16, 256, log=True))
        Integer(low=16, high=256, log=True)
        >>> dimension(FloatDistribution(0.5, 1.0, step=0.25))
        Integer(low=0, high=2, log=False)
    """
    if isinstance(found, CategoricalDistribution):
        return Categorical(tuple(range(len(found.choices))))
    if not isinstance(found, IntDistribution | FloatDistribution):
        raise ValueError(f"expected a float, int or categorical distribution, got {found}; use one of these")
    if step := _step(found):
        return Integer(0, round((found.high - found.low) / step))
    if isinstance(found, IntDistribution):
        return Integer(found.low, found.high, found.log)
    return Float(found.low, found.high, found.log)


def inward(found: BaseDistribution, value: Any) -> Any:
    """Optuna's value as a value of `dimension(found)`."""
    if isinstance(found, CategoricalDistribution):
        return int(found.to_internal_repr(value))
    if isinstance(found, IntDistribution | FloatDistribution) and (step := _step(found)):
        return round((value - found.low) / step)
    return value


def outward(found: BaseDistribution, value: Any) -> Any:
    """A value of `dimension(found)` as Optuna's."""
    if isinstance(found, CategoricalDistribution):
        return found.choices[value]
    if isinstance(found, IntDistribution | FloatDistribution) and (step := _step(found)):
        return min(found.low + value * step, found.high)
    return value


def _step(found: IntDistribution | FloatDistribution) -> float | int | None:
    """The step between values; None for whole numbers one by one and for all real ones."""
    return None if isinstance(found, IntDistribution) and found.step == 1 else found.step


def pack(state: State | None) -> dict[str, Any] | None:
    """A method's state as JSON; every float64 comes back bit for bit."""
    if state is None:
        return None
    arrays = {name: np.asarray(array) for name, array in state.items()}
    return {
        name: {"dtype": array.dtype.str, "shape": list(array.shape), "values": array.ravel().tolist()}
        for name, array in arrays.items()
    }


def unpack(packed: dict[str, Any] | None) -> State | None:
    """The state that was packed."""
    if packed is None:
        return None
    return {name: np.array(a["values"], dtype=a["dtype"]).reshape(a["shape"]) for name, a in packed.items()}


def plain(value: Any) -> Any:
    """The same in types that JSON has: arrays as lists, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
