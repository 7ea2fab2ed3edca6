"""Tuning by the value function of the lower level: a few trainings, then passes of the method of multipliers.

First the lower level (an ordinary training) is solved on a design over lambda. Then each pass fits phi-hat to all
solved values, moves weights and hyperparameters together by `augmented_lagrangian.minimise`, solves the lower level
at the new lambda and raises the multipliers. The weights learn from validation examples too, so validation loss says
nothing about the answer, which is the pass of smallest constraint violation; judge it by a test set.

References:
    [SinhaEtAl2022] A globally convergent gradient-based bilevel hyperparameter optimization method. arXiv 2208.12118,
        with details from the authors' notebooks.
"""

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import qmc

from ibo_jax.bilevel import augmented_lagrangian, coordinates, optimal_value
from ibo_jax.bilevel.augmented_lagrangian import Multipliers
from ibo_jax.bilevel.base import Measures, Tuner
from ibo_jax.bilevel.lower_level import lower_level
from ibo_jax.problems.base import Problem
from ibo_jax.surrogate import nuts
from ibo_jax.types import AnyArray, Array, Float, PRNGKeyArray, Value

__all__ = ["PASSES", "State", "Variant", "design", "tuner"]

Numbers = dict[str, float | Array]
Variant = Literal["corrected", "published"]
PASSES = 5
PARTS = 6  # of a descent: all data judge it after each
STEPS, EPOCHS = 300, 12  # of a descent, whichever is more; the first is published
UNIT = 0.5  # shares of the optimal value in which the constraint counts; chosen on MNIST subset 100
REACH = 0.05  # shares of the box by which a pass may move lambda: half the spacing of a row of ten
SETTLING = 10.0  # the rates of a pass are so much higher than those of the descent on f alone after it
FEWEST = 3  # values from which phi-hat is learnt


class Schedule(NamedTuple):
    """Learning rates, a row a descent, and their momenta."""

    rates: Float[np.ndarray, "choice step"]
    momenta: Float[np.ndarray, "choice"]


class State(NamedTuple):
    """Observations of the lower level, padded to all that there will be, and where the passes stand.

    Attributes:
        key: data of the key of every training: with the same start and batches phi is a smooth function.
        params, values: the answer of this epoch, lambda on the scale of `coordinates`.
        start_params, start_values: where the next pass starts, at first the solve of lowest validation loss.
        start_loss: that loss.
        points, solved: lambda and what the lower level reached there; NaN if it diverged, or is yet to be solved.
        solves: how many so far.
        mu, weight: see `Multipliers`.
        chain: of the fit of phi-hat.
    """

    key: AnyArray
    params: Any
    values: Float[AnyArray, "hyperparameter"]
    start_params: Any
    start_values: Float[AnyArray, "hyperparameter"]
    start_loss: Float[AnyArray, ""]
    points: Float[AnyArray, "observation hyperparameter"]
    solved: Float[AnyArray, "observation"]
    solves: AnyArray
    mu: Float[AnyArray, ""]
    weight: Float[AnyArray, ""]
    chain: nuts.Chain


def tuner(problem: Problem, *, variant: Variant = "corrected") -> Tuner:
    """The tuner of a problem whose hyperparameters are real numbers in its penalty; an update is a solve or a pass.

    "published" does, for comparison, as the notebooks for two weights do; "corrected" repairs this:

    - phi is learnt from the loss on one batch; corrected, from f on all data, and as a logarithm.
    - The learning rate is applied twice, so that steps are of its square; corrected, once, and it falls to zero.
    - mu grows by R (f - phi-hat at the lambda of the start); corrected, by the solve at the new lambda.
    - Every pass starts from the best of the first solves; corrected, where the last one ended.
    - Solves start from fresh weights. Those stop above the optimal value, which the passes then go far below, so
      that c is negative. Corrected, the solve after a pass descends on f alone from its weights by the steps of a
      pass, so that it never ends above; the first solves count as a lower fidelity.
    - c is in units of loss and lambda moves anywhere; corrected, c is in units of half of phi at the start, because
      losses of 0.02 feel no (R / 2) c^2, and a pass moves lambda by a twentieth of its box, because beyond the
      descent finds errors of phi-hat.

    Measures: `violation`, |f - phi| / f at the new lambda by its solve; `valid_loss` F; `phi_error`, phi less phi-hat;
    `mu`, `weight`; `choice` of the learning rate, -1 if none improved; `solves` so far. The state is not finite if
    fewer than three first solves ended well or no iterate is finite.

    Raises:
        ValueError: a hyperparameter that is not a real number, that the penalty does not depend on, or on which
            network, optimiser or augmentation depend; an unknown variant.
    """
    if variant not in ("corrected", "published"):
        raise ValueError(f"expected variant 'corrected' or 'published', got {variant!r}; choose one of them")
    with jax.enable_x64(False):
        functions, start, solve, data, per_epoch = lower_level(problem)
    settling = functions._replace(valid_loss=_nothing)  # f alone
    low, high = coordinates.bounds(problem.space)
    first, corrected = design(low, high), variant == "corrected"
    schedule = corrected_schedule(per_epoch) if corrected else published_schedule()
    capacity = len(first) + PASSES

    def init(key: PRNGKeyArray) -> State:
        with jax.enable_x64(False):
            params = start(key)
        published = Multipliers()
        points = np.concatenate([first, np.full((PASSES, len(low)), np.nan, np.float32)])
        return State(
            np.asarray(jax.random.key_data(key)), params, low, params, low, _float32(np.inf), points,
            np.full(capacity, np.nan, np.float32), np.zeros((), np.int32),
            _float32(published.mu), _float32(published.weight), nuts.cold_chain(len(low)),
        )  # fmt: skip

    def update(key: PRNGKeyArray, state: State) -> tuple[State, Measures]:
        with jax.enable_x64(False):
            return explore(state) if state.solves < len(first) else improve(key, state)

    def explore(state: State) -> tuple[State, Measures]:
        point, key = np.asarray(state.points[state.solves]), key_of(state)
        end = solve(key, start(key), point, data)
        state = observed(state, point, end.objective if corrected else end.of_batch)
        if end.valid_loss < state.start_loss:
            state = state._replace(params=end.params, values=point, start_params=end.params, start_values=point,
                                   start_loss=_float32(end.valid_loss))  # fmt: skip
        usable = np.isfinite(state.solved).sum() >= FEWEST and np.isfinite(state.start_loss)
        more: Numbers = {"valid_loss": float(end.valid_loss), "solves": float(state.solves)}
        return state, Measures(float(end.objective), float("nan"), bool(usable or state.solves < len(first)), more)

    def improve(key: PRNGKeyArray, state: State) -> tuple[State, Measures]:
        key_fit, key_descent, key_solve = jax.random.split(key, 3)
        rough = (np.arange(capacity) < len(first)) & corrected
        phi, chain = optimal_value.fit(key_fit, state.points, state.solved, np.isfinite(state.solved), low, high,
                                       state.chain, rough=rough, positive=corrected)  # fmt: skip
        unit, reach, share = 1.0, high - low, 1.0
        if corrected:
            unit, reach = UNIT * float(phi(state.start_values)), REACH * (high - low)
            share = max(1.0, float(state.mu) / unit)  # what f weighs in A: steps on it are of its own rate
        multipliers = Multipliers(_float32(state.mu / unit), _float32(state.weight / unit**2))
        box = tuple(np.clip(state.start_values + side * reach, low, high) for side in (-1, 1))
        new = augmented_lagrangian.minimise(
            key_descent, state.start_params, state.start_values, phi, multipliers, box,
            schedule.rates / np.float32(share), schedule.momenta, data, functions=functions, checks=PARTS,
        )  # fmt: skip
        values, objective, key = np.asarray(new.values), float(new.objective), key_of(state)
        if corrected:  # down from the weights of the pass, never up
            end = augmented_lagrangian.minimise(
                key_solve, new.params, new.values, phi, Multipliers(_float32(1.0), _float32(0.0)), (values, values),
                schedule.rates / np.float32(SETTLING), schedule.momenta, data, functions=settling, checks=PARTS,
            )  # fmt: skip
        else:
            end = solve(key, start(key), values, data)
        value, predicted = float(end.objective), float(phi(values))
        reference = value if np.isfinite(value) else predicted
        constraint = objective - (reference if corrected else float(phi(state.start_values)))
        after = Multipliers(state.mu, state.weight).after(constraint / unit)
        state = observed(state, values, value if corrected else end.of_batch)._replace(
            params=new.params, values=values, mu=_float32(after.mu), weight=_float32(after.weight), chain=chain
        )
        if corrected:
            state = state._replace(start_params=new.params, start_values=values)
        violation = abs(objective - reference) / objective
        more: Numbers = {
            "violation": violation, "valid_loss": float(new.valid_loss), "phi_error": reference - predicted,
            "mu": float(after.mu), "weight": float(after.weight), "choice": float(new.choice),
            "solves": float(state.solves),
        }  # fmt: skip
        return state, Measures(objective, violation, bool(np.isfinite(new.lagrangian)), more)

    return Tuner(init, update, lambda state: _named(problem, state.values), lambda state: state.params, capacity)


def _named(problem: Problem, values: Float[AnyArray, "hyperparameter"]) -> dict[str, Value]:
    named = coordinates.by_name(problem.space, values)
    # the exponential of a bound may miss it by a rounding
    return {name: float(np.clip(float(named[name]), dimension.low, dimension.high))  # type: ignore[union-attr]
            for name, dimension in problem.space.dimensions.items()}  # fmt: skip


def _nothing(params: Any, data: Any) -> Array:
    return jnp.zeros((), jnp.float32)


def _float32(value: Any) -> np.ndarray:
    return np.asarray(value, np.float32)


def key_of(state: State) -> PRNGKeyArray:
    """Of every training."""
    return jax.random.wrap_key_data(jnp.asarray(state.key))


def observed(state: State, point: Float[np.ndarray, "hyperparameter"], value: Any) -> State:
    """The state after one more solve."""
    points, solved = np.array(state.points), np.array(state.solved)
    points[state.solves], solved[state.solves] = point, value if np.isfinite(value) else np.nan
    return state._replace(points=points, solved=solved, solves=np.asarray(state.solves + 1, np.int32))


def design(low: Float[np.ndarray, "d"], high: Float[np.ndarray, "d"]) -> Float[np.ndarray, "point d"]:
    """Lambda of the first solves: ten in a row, five times five, or at least eight Sobol points a dimension.

    Example:
        >>> design(np.array([-10.0]), np.array([-1.0])).ravel().tolist()
        [-10.0, -9.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0]
    """
    dimension = len(low)
    if dimension <= 2:
        side = np.linspace(0.0, 1.0, 10 if dimension == 1 else 5)
        unit = np.stack(np.meshgrid(*[side] * dimension, indexing="ij"), -1).reshape(-1, dimension)
    else:
        unit = qmc.Sobol(dimension, rng=0).random_base2(math.ceil(math.log2(8 * dimension)))
    return (low + unit * (high - low)).astype(np.float32)


def corrected_schedule(per_epoch: int) -> Schedule:
    """Four rates of f that fall to zero, for a network that sees `per_epoch` batches in an epoch."""
    steps = PARTS * -(-max(STEPS, EPOCHS * per_epoch) // PARTS)
    rates = np.array([[0.1], [0.3], [1.0], [3.0]]) * np.linspace(1.0, 0.0, steps, endpoint=False)
    return Schedule(rates.astype(np.float32), np.full(len(rates), 0.9, np.float32))


def published_schedule() -> Schedule:
    """Five rates times five momenta, held; squared, because the notebooks' step multiplies by the rate twice."""
    rates, momenta = np.meshgrid([0.001, 0.01, 0.05, 0.07, 0.1], [0.1, 0.5, 0.8, 0.9, 0.99], indexing="ij")
    held = np.repeat(rates.reshape(-1, 1) ** 2, STEPS, axis=1)
    return Schedule(held.astype(np.float32), momenta.ravel().astype(np.float32))
