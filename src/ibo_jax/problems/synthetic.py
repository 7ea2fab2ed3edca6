"""Synthetic problems with a known optimum and a known cost, on which the search side is judged.

The fidelity s is continuous in [0, 1] and biases the function; s = 1 is the target.

[1] Dixon and Szegoe, "The global optimization problem: an introduction", 1978 (Branin, Hartmann).
[2] Wu et al., "Practical multi-fidelity Bayesian optimization for hyperparameter tuning", UAI 2019 (with fidelity).
[3] Forrester, Sobester and Keane, "Engineering design via surrogate modelling", 2008, appendix A.1.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float as FloatArray

from ibo_jax.outcomes import Outcome
from ibo_jax.problems.base import Problem
from ibo_jax.space import Fidelity, Float, SearchSpace
from ibo_jax.types import Hyperparameters

__all__ = ["SYNTHETIC", "cost", "value"]

Values = np.ndarray | np.float64  # the second for a single point

FIDELITY = Fidelity("s", 0.0, 1.0)
HARTMANN_WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
HARTMANN_RATES = np.array(
    [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ]
)
HARTMANN_CENTRES = 1e-4 * np.array(
    [
        [1312.0, 1696.0, 5569.0, 124.0, 8283.0, 5886.0],
        [2329.0, 4135.0, 8307.0, 3736.0, 1004.0, 9991.0],
        [2348.0, 1451.0, 3522.0, 2883.0, 3047.0, 6650.0],
        [4047.0, 8828.0, 8732.0, 5743.0, 1091.0, 381.0],
    ]
)


class Benchmark(NamedTuple):
    """A function of natural coordinates [..., dimension] and fidelity [...], with what an evaluation costs."""

    function: Callable[[np.ndarray, np.ndarray], Values]
    bounds: tuple[tuple[float, float], ...]
    fixed_cost: float  # an evaluation costs this much plus s
    optimum: float  # at s = 1
    initial: int
    evaluations: int
    description: str


def augmented_branin(x: np.ndarray, s: np.ndarray) -> Values:
    """Branin's valley, its curvature 5.1 / (4 pi^2) lowered by 0.1 (1 - s); three global minima at s = 1 [1, 2]."""
    curvature = 5.1 / (4.0 * math.pi**2) - 0.1 * (1.0 - s)
    valley = x[..., 1] - curvature * x[..., 0] ** 2 + 5.0 / math.pi * x[..., 0] - 6.0
    return valley**2 + 10.0 * (1.0 - 1.0 / (8.0 * math.pi)) * np.cos(x[..., 0]) + 10.0


def augmented_hartmann(x: np.ndarray, s: np.ndarray) -> Values:
    """Minus Hartmann's four bumps in six dimensions, the first one lower by 0.1 (1 - s) [1, 2]."""
    distances = np.sum(HARTMANN_RATES * (x[..., None, :] - HARTMANN_CENTRES) ** 2, axis=-1)
    bias = 0.1 * (1.0 - s) * np.exp(-distances[..., 0])
    return bias - np.exp(-distances) @ HARTMANN_WEIGHTS


def forrester(x: np.ndarray, s: np.ndarray) -> Values:
    """Forrester's function of one variable, between its cheap version f / 2 + 10 (x - 1/2) - 5 and itself [3]."""
    target = (6.0 * x[..., 0] - 2.0) ** 2 * np.sin(12.0 * x[..., 0] - 4.0)
    cheap = 0.5 * target + 10.0 * (x[..., 0] - 0.5) - 5.0
    return s * target + (1.0 - s) * cheap


BENCHMARKS = {
    "branin": Benchmark(
        augmented_branin, ((-5.0, 10.0), (0.0, 15.0)), 0.25, 0.397887357729738, 6, 24,
        "AugmentedBranin, 2 dimensions, cost 0.25 + s: a strongly biased, cheap fidelity",
    ),
    "hartmann6": Benchmark(
        augmented_hartmann, ((0.0, 1.0),) * 6, 5.0, -3.32236801141552, 16, 38,
        "AugmentedHartmann, 6 dimensions, cost 5 + s: a weakly biased fidelity that saves little",
    ),
    "forrester": Benchmark(
        forrester, ((0.0, 1.0),), 0.2, -6.02074005576709, 4, 15,
        "Forrester's function, 1 dimension, cost 0.2 + s: small enough to look at",
    ),
}  # fmt: skip


def value(name: str, unit: np.ndarray | Sequence, s: np.ndarray | float = 1.0) -> FloatArray[np.ndarray, "..."]:
    """The function at points of the unit cube, for the true regret `value(name, x) - SYNTHETIC[name].optimum`.

    Args:
        name: a key of `SYNTHETIC`.
        unit: points [..., dimension] of the unit cube.
        s: fidelity, broadcast against the points; the target by default.

    Example:
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

    return Problem(
        name, space, evaluate, FIDELITY, transform="identity", optimum=benchmark.optimum,
        description=benchmark.description, evaluations=benchmark.evaluations, initial=benchmark.initial,
    )  # fmt: skip


SYNTHETIC: dict[str, Problem] = {name: _problem(name, benchmark) for name, benchmark in BENCHMARKS.items()}
