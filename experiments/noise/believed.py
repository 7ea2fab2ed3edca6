"""What a Gaussian process believes after many noisy or few precise trainings, and how good its answer is (figure 1).

Studies of equal cost are drawn from the recorded trainings of a slice. The mean of the precise ones is taken for the
truth.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise.record import RATIO, SHARE
from experiments.noise.settings import Slice
from ibo_jax.numerics import each_draw, in_float64
from ibo_jax.observations import CAPACITY_STEP
from ibo_jax.surrogate import model, nuts
from ibo_jax.surrogate.kernels import ERROR_BASIS
from ibo_jax.surrogate.likelihood import TrainingData
from ibo_jax.surrogate.posterior import condition, predict

GRID = np.linspace(0.0, 1.0, 101)


class Belief(NamedTuple):
    """Log error over the grid: mean and standard deviation over hyperparameter draws, without noise."""

    mean: np.ndarray
    sd: np.ndarray


@in_float64
def _believe(key: jax.Array, data: TrainingData, prior: model.Prior, chain: nuts.Chain, grid: jax.Array) -> Any:
    draws, _, _ = nuts.fit(key, data, prior, chain)
    standard, location, scale = model.standardise(data)
    ones = jnp.ones(len(grid))
    mean, variance = each_draw(lambda draw: predict(condition(draw, standard), grid[:, None], ones), draws)
    return location + scale * jnp.mean(mean, 0), scale * jnp.sqrt(jnp.mean(variance, 0) + jnp.var(mean, 0))


def believe(seed: int, position: np.ndarray, log_error: np.ndarray) -> Belief:
    """The belief of this package's surrogate, given observations of one kind."""
    count = len(position)
    capacity = -(-count // CAPACITY_STEP) * CAPACITY_STEP
    x, y, mask = np.full((capacity, 1), 0.5), np.zeros(capacity), np.arange(capacity) < count
    x[:count, 0], y[:count] = position, log_error
    data = TrainingData(x, np.ones(capacity), y, mask, np.asarray(ERROR_BASIS))
    return Belief(*_believe(jax.random.key(seed), data, model.error_prior(1), nuts.cold_chain(1), GRID))


def unit(value: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Values on the log scale of the slice, in [0, 1]."""
    low, high = np.log(bounds)
    return (np.log(value) - low) / (high - low)


def truth(rows: list[dict[str, Any]], bounds: tuple[float, float]) -> np.ndarray:
    """Mean log error of the precise trainings over the grid, interpolated."""
    precise = [row for row in rows if row["axis"] == RATIO]
    values = sorted({row["position"] for row in precise})
    means = [np.mean([np.log(row["error"]) for row in precise if row["position"] == value]) for value in values]
    return np.interp(GRID, unit(np.array(values), bounds), means)


def studies(rows: list[dict[str, Any]], along: Slice) -> Iterator[dict[str, Any]]:
    """One row per study: trainings of one kind, spread evenly at random, for equal work on average, and what is
    believed after them. Studies that are in the rows are not repeated."""
    there = {(row["axis"], row["study"]) for row in rows if "study" in row}
    rows = [row for row in rows if row.get("part") == "slice" and row["state"] == "ok"]
    true, price = truth(rows, along.bounds), {}
    for axis in (RATIO, SHARE):
        pool = sorted((row for row in rows if row["axis"] == axis), key=lambda row: (row["position"], row["repeat"]))
        price[axis] = float(np.mean([row["cost_work"] for row in pool]))
        count = min(round(along.trainings * price[RATIO] / price[axis]), len(pool))
        for seed in range(along.studies):
            if (axis, seed) in there:
                continue
            strata = (np.arange(count) + np.random.default_rng(seed).uniform(size=count)) / count
            taken = [pool[int(place * len(pool))] for place in strata]
            position = unit(np.array([row["position"] for row in taken]), along.bounds)
            log_error = np.log([row["error"] for row in taken])
            belief = believe(seed, position, log_error)
            drawn = {"position": position, "log_error": log_error, **belief._asdict()} if seed == 0 else {}
            yield {
                "study": seed, "axis": axis, "observations": count,
                "answer": float(np.exp(true[np.argmin(belief.mean)])),
                **{name: values.round(4).tolist() for name, values in drawn.items()},
            }  # fmt: skip
