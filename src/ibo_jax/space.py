"""The search space: named dimensions and their mapping to and from the unit cube, on which the surrogate works."""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from jaxtyping import Float as FloatArray

from ibo_jax.types import Hyperparameters, Value

__all__ = [
    "PRESAMPLE_RATIO", "Categorical", "Cell", "Cells", "Dimension", "Fidelity", "Float", "Integer", "SearchSpace",
]  # fmt: skip


class Float(NamedTuple):
    """A real hyperparameter in [low, high], searched on a log scale if `log`."""

    low: float
    high: float
    log: bool = False

    @property
    def width(self) -> int:
        return 1

    def encode(self, value: Value) -> list[float]:
        low, high, value = _scaled(self.log, self.low, self.high, float(value))
        return [(value - low) / (high - low)]

    def decode(self, unit: np.ndarray) -> float:
        low, high = _scaled(self.log, self.low, self.high)
        value = low + float(unit[0]) * (high - low)
        return float(np.clip(math.exp(value) if self.log else value, self.low, self.high))


class Integer(NamedTuple):
    """An integer in {low, ..., high}, searched on a log scale if `log`.

    The unit interval spans low - 1/2 to high + 1/2, so that the ends are reached as easily as their neighbours.
    """

    low: int
    high: int
    log: bool = False

    @property
    def width(self) -> int:
        return 1

    def encode(self, value: Value) -> list[float]:
        low, high, value = _scaled(self.log, self.low - 0.5, self.high + 0.5, float(value))
        return [(value - low) / (high - low)]

    def decode(self, unit: np.ndarray) -> int:
        low, high = _scaled(self.log, self.low - 0.5, self.high + 0.5)
        value = low + float(unit[0]) * (high - low)
        return int(np.clip(round(math.exp(value) if self.log else value), self.low, self.high))


class Categorical(NamedTuple):
    """One of several unordered choices, encoded one-hot."""

    choices: tuple[Value, ...]

    @property
    def width(self) -> int:
        return len(self.choices)

    def encode(self, value: Value) -> list[float]:
        if value not in self.choices:
            raise ValueError(f"expected one of {self.choices}, got {value!r}; choose one of them")
        return [float(choice == value) for choice in self.choices]

    def decode(self, unit: np.ndarray) -> Value:
        return self.choices[int(np.argmax(unit))]


Dimension = Float | Integer | Categorical


class Cell(NamedTuple):
    """What one dimension can reach: any value, the encoded `values` of integers, or one of `width` > 1 choices."""

    width: int = 1
    values: tuple[float, ...] = ()


Cells = tuple[Cell, ...]


class SearchSpace:
    """Named dimensions in a fixed order, mapped one to one onto the unit cube.

    Examples:
        >>> space = SearchSpace({"learning_rate": Float(1e-4, 1e-1, log=True), "width": Integer(16, 256, log=True)})
        >>> space.encode({"learning_rate": 1e-4, "width": 256}).round(2).tolist()
        [0.0, 1.0]
        >>> space.decode([0.5, 0.0])["width"]
        16

    Raises:
        ValueError: there are no dimensions; one has low >= high, bounds of the wrong kind or repeated choices, or takes
            the log of something that is not positive.
    """

    def __init__(self, dimensions: Mapping[str, Dimension]):
        if not dimensions:
            raise ValueError(
                "expected a search space with at least one dimension, got none; add one, for example "
                'SearchSpace({"learning_rate": Float(1e-4, 1e-1, log=True)})'
            )
        for name, dimension in dimensions.items():
            _check(name, dimension)
        self.dimensions: dict[str, Dimension] = {name: _plain(found) for name, found in dimensions.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Names in encoding order."""
        return tuple(self.dimensions)

    @property
    def dimension(self) -> int:
        """Number of coordinates of the unit cube (a categorical takes one per choice)."""
        return sum(dimension.width for dimension in self.dimensions.values())

    @property
    def cells(self) -> Cells:
        """What each dimension can reach; empty if that is all of the cube. An integer with too many values for a table
        counts as a range without gaps.

        Examples:
            >>> SearchSpace({"rate": Float(0, 1), "layers": Integer(1, 2)}).cells
            (Cell(width=1, values=()), Cell(width=1, values=(0.25, 0.75)))
        """
        found = tuple(Cell(dim.width, _values(dim)) for dim in self.dimensions.values())
        return found if any(cell != Cell() for cell in found) else ()

    def encode(self, hyperparameters: Hyperparameters) -> FloatArray[np.ndarray, "dimension"]:
        """From hyperparameters by name to a point of the unit cube, float64."""
        missing = [name for name in self.names if name not in hyperparameters]
        if missing:
            raise ValueError(f"expected a value for each of {list(self.names)}, got none for {missing}; name them all")
        parts = [dim.encode(hyperparameters[name]) for name, dim in self.dimensions.items()]
        return np.concatenate([np.asarray(part, np.float64) for part in parts])

    def decode(self, unit: Sequence[float] | np.ndarray) -> dict[str, Value]:
        """From a point of the unit cube to hyperparameters by name, as plain Python values."""
        unit, values, start = np.asarray(unit, np.float64), {}, 0
        if unit.shape != (self.dimension,):
            raise ValueError(f"expected a point of {self.dimension} coordinates, got shape {unit.shape}; give each")
        for name, dim in self.dimensions.items():
            values[name] = dim.decode(unit[start : start + dim.width])
            start += dim.width
        return values

    def snap(self, unit: Sequence[float] | np.ndarray) -> FloatArray[np.ndarray, "dimension"]:
        """The point of the unit cube that encodes what a point decodes to."""
        return self.encode(self.decode(unit))

    def __repr__(self) -> str:
        return f"SearchSpace({self.dimensions})"


class Fidelity(NamedTuple):
    """The axis searched beside x: cheap at `low`, the target at `high`. Encoded s is in [0, 1], 1 is the target.

    If `integer`, the values low, ..., high are above 0 and on a log scale (the presample ratio r = B / b, the size of a
    subset); otherwise s is linear and any value may be chosen. `plain` is the value used by methods that ignore the
    axis, None for the target: a presample ratio of 1 is ordinary training.
    """

    name: str
    low: float
    high: float
    integer: bool = False
    plain: float | None = None

    def encode(self, value: float) -> float:
        if self.low == self.high:
            return 1.0
        low, high, value = _scaled(self.integer, self.low, self.high, value)
        return (value - low) / (high - low)

    def decode(self, s: float) -> float | int:
        low, high = _scaled(self.integer, self.low, self.high)
        value = low + s * (high - low)
        if self.integer:
            return int(np.clip(round(math.exp(value)), self.low, self.high))
        return float(np.clip(value, self.low, self.high))

    @property
    def levels(self) -> tuple[float, ...] | None:
        """Encoded values that can be chosen; None if all of [0, 1], or too many integers for a table."""
        if self.low == self.high:
            return (1.0,)
        if not self.integer or self.high - self.low >= MOST_LEVELS:
            return None
        return tuple(self.encode(value) for value in range(int(self.low), int(self.high) + 1))

    @property
    def target(self) -> float | int:
        """The value at which the optimum is sought."""
        return self.decode(1.0)

    @property
    def plain_s(self) -> float:
        """`plain`, encoded; the cheapest fidelity if `plain` is below it."""
        return 1.0 if self.plain is None else max(0.0, self.encode(self.plain))


MOST_LEVELS = 32
MOST_VALUES = 256
PRESAMPLE_RATIO = Fidelity("presample_ratio", 1, 6, integer=True, plain=1)


def _values(dimension: Dimension) -> tuple[float, ...]:
    if not isinstance(dimension, Integer) or dimension.high - dimension.low >= MOST_VALUES:
        return ()
    return tuple(dimension.encode(value)[0] for value in range(dimension.low, dimension.high + 1))


def _scaled(log: bool, *values: float) -> list[float]:
    return [math.log(value) if log else float(value) for value in values]


def _check(name: str, dimension: Dimension) -> None:
    if not isinstance(name, str):
        raise ValueError(f"expected names of hyperparameters that are strings, got {name!r}; quote it")
    if isinstance(dimension, Categorical):
        return _check_choices(name, dimension.choices)
    if not isinstance(dimension, Float | Integer):
        raise ValueError(f"{name}: expected Float, Integer or Categorical, got {dimension!r}; wrap the bounds in one")
    kind, said = (Integral, "whole numbers") if isinstance(dimension, Integer) else (Real, "numbers")
    if not (isinstance(dimension.low, kind) and isinstance(dimension.high, kind)):
        raise ValueError(f"{name}: expected {said} as bounds, got [{dimension.low!r}, {dimension.high!r}]; change them")
    if not (math.isfinite(dimension.low) and math.isfinite(dimension.high)):
        raise ValueError(f"{name}: expected finite bounds, got [{dimension.low}, {dimension.high}]; give finite ones")
    if not math.isfinite(float(dimension.high) - float(dimension.low)):
        raise ValueError(f"{name}: expected bounds less than 1.8e308 apart, got [{dimension.low}, {dimension.high}]; "
                         "narrow them")  # fmt: skip
    if dimension.low >= dimension.high:
        raise ValueError(f"{name}: expected low < high, got [{dimension.low}, {dimension.high}]; swap or widen them")
    if dimension.log and dimension.low <= 0:
        raise ValueError(f"{name}: expected low > 0 on a log scale, got {dimension.low}; raise it or drop log=True")


def _plain(dimension: Dimension) -> Dimension:
    """The same with bounds and choices as Python types: NumPy's small integers overflow, and none can be JSON."""
    if isinstance(dimension, Integer):
        return Integer(int(dimension.low), int(dimension.high), dimension.log)
    if isinstance(dimension, Float):
        return Float(float(dimension.low), float(dimension.high), dimension.log)
    return Categorical(tuple(each.item() if isinstance(each, np.generic) else each for each in dimension.choices))


def _check_choices(name: str, choices: tuple[Value, ...]) -> None:
    if not isinstance(choices, tuple | list) or not all(isinstance(choice, str | Real) for choice in choices):
        raise ValueError(f"{name}: expected a tuple of strings or numbers, got {choices!r}; wrap or name them")
    if any(isinstance(choice, float | np.floating) and not math.isfinite(choice) for choice in choices):
        raise ValueError(f"{name}: expected no NaN or infinity among the choices, got {choices}; call it by a string")
    if not 2 <= len(choices) == len(set(choices)):
        raise ValueError(f"{name}: expected at least two choices, each once, got {choices}; "
                         "drop the dimension or change them")  # fmt: skip
