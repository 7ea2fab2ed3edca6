"""Synthetic problems with a known optimum and a known cost, on which the search is judged.

The fidelity s is continuous in [0, 1] and biases the function (`problems.functions`); s = 1 is the target.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float as FloatArray

from ibo_jax.outcomes import Outcome
from ibo_jax.problems import functions
from ibo_jax.problems.axes import TASK, TASK_SHARE
from ibo_jax.problems.base import Problem
from ibo_jax.space import Fidelity, Float, SearchSpace
from ibo_jax.types import Axis, Hyperparameters, Importance

__all__ = ["SYNTHETIC", "cost", "value"]

FIDELITY = Fidelity("s", 0.0, 1.0)


class Benchmark(NamedTuple):
    """A function of natural coordinates [..., dimension] and fidelity [...], and what an evaluation costs."""

    function: Callable[[np.ndarray, np.ndarray], functions.Values]
    bounds: tuple[tuple[float, float], ...]
    fixed_cost: float  # an evaluation costs this much plus s
    optimum: float  # at s = 1
    initial: int
    evaluations: int
    description: str


BOREHOLE_BOUNDS = (
    (0.05, 0.15), (100.0, 50_000.0), (63_070.0, 115_600.0), (990.0, 1110.0), (63.1, 116.0), (700.0, 820.0),
    (1120.0, 1680.0), (9855.0, 12_045.0),
)  # fmt: skip
WING_BOUNDS = (
    (150.0, 200.0), (220.0, 300.0), (6.0, 10.0), (-10.0, 10.0), (16.0, 45.0), (0.5, 1.0), (0.08, 0.18), (2.5, 6.0),
    (1700.0, 2500.0), (0.025, 0.08),
)  # fmt: skip
BENCHMARKS = {
    "branin": Benchmark(
        functions.augmented_branin, ((-5.0, 10.0), (0.0, 15.0)), 0.25, 0.397887357729738, 6, 24,
        "AugmentedBranin, 2 dimensions, cost 0.25 + s: a strongly biased, cheap fidelity",
    ),
    "hartmann6": Benchmark(
        functions.augmented_hartmann, ((0.0, 1.0),) * 6, 5.0, -3.32236801141552, 16, 38,
        "AugmentedHartmann, 6 dimensions, cost 5 + s: a weakly biased fidelity that saves little",
    ),
    "forrester": Benchmark(
        functions.forrester, ((0.0, 1.0),), 0.2, -6.02074005576709, 4, 15,
        "Forrester's function, 1 dimension, cost 0.2 + s: small enough to look at",
    ),
    "branin-steps": Benchmark(
        functions.stepped_branin, ((-5.0, 10.0), (0.0, 15.0)), 0.25, 0.397887357729738, 6, 24,
        "AugmentedBranin at the nearest third of s, cost 0.25 + s: a bias that jumps with the fidelity",
    ),
    "currin": Benchmark(
        functions.currin, ((0.0, 1.0),) * 2, 0.1, -13.798722044728438, 6, 24,
        "minus Currin's exponential function, 2 dimensions, cost 0.1 + s: a cheap fidelity that smooths",
    ),
    "borehole": Benchmark(
        functions.borehole, BOREHOLE_BOUNDS, 0.1, 7.819676328755232, 16, 38,
        "Borehole, 8 dimensions, cost 0.1 + s: a cheap fidelity that is nearly proportional to the target",
    ),
    "wing-weight": Benchmark(
        functions.wing_weight, WING_BOUNDS, 0.05, 123.25367170091782, 16, 38,
        "weight of a wing, 10 dimensions, cost 0.05 + s: a cheap fidelity of twice the value",
    ),
}  # fmt: skip


def value(name: str, unit: np.ndarray | Sequence, s: np.ndarray | float = 1.0) -> FloatArray[np.ndarray, "..."]:
    """The function at points of the unit cube; the true regret is `value(name, x) - SYNTHETIC[name].optimum`.

    Args:
        name: a key of `SYNTHETIC`.
        unit: points [..., dimension] of the unit cube.
        s: fidelity, broadcast against the points; the target by default.

    Examples:
        >>> round(float(value("branin", [(np.pi + 5) / 15, 2.275 / 15])), 6)
        0.397887
    """
    benchmark = _benchmark(name)
    unit = np.asarray(unit, np.float64)
    if unit.shape[-1:] != (len(benchmark.bounds),):
        raise ValueError(f"{name}: expected points of {len(benchmark.bounds)} coordinates on the last axis, "
                         f"got shape {unit.shape}; give one coordinate a dimension")  # fmt: skip
    low, high = np.array(benchmark.bounds).T
    return np.asarray(benchmark.function(low + unit * (high - low), np.asarray(s, np.float64)))


def cost(name: str, s: np.ndarray | float) -> FloatArray[np.ndarray, "..."]:
    """What an evaluation at fidelity s costs, in the problem's own unit: a fixed part plus s."""
    return np.asarray(_benchmark(name).fixed_cost + np.asarray(s, np.float64))


def _benchmark(name: str) -> Benchmark:
    if name not in BENCHMARKS:
        raise ValueError(f"expected a synthetic problem out of {sorted(BENCHMARKS)}, got {name!r}; choose one of them")
    return BENCHMARKS[name]


def _problem(name: str, benchmark: Benchmark) -> Problem:
    space = SearchSpace({f"x{axis + 1}": Float(low, high) for axis, (low, high) in enumerate(benchmark.bounds)})

    def evaluate(seed: int, hyperparameters: Hyperparameters, fidelity: float | int) -> Outcome:
        del seed  # no randomness
        s = float(fidelity)
        paid, error = float(cost(name, s)), float(value(name, space.encode(hyperparameters), s))
        return Outcome("ok", error, cost_seconds=paid, cost_work=paid)

    def evaluate_task(seed: int, hyperparameters: Hyperparameters, task: float | int) -> Outcome:
        return evaluate(seed, hyperparameters, 1.0 if task == TASK.high else TASK_SHARE)

    def view(axis: Axis, importance: Importance) -> Problem:
        del importance  # there is one fidelity only
        return replace(problem, evaluate=evaluate_task, fidelity=TASK) if axis == "task" else problem

    problem = Problem(
        name, space, evaluate, FIDELITY, transform="identity", optimum=benchmark.optimum, view=view,
        description=benchmark.description, evaluations=benchmark.evaluations, initial=benchmark.initial,
    )  # fmt: skip
    return problem


SYNTHETIC: dict[str, Problem] = {name: _problem(name, benchmark) for name, benchmark in BENCHMARKS.items()}
