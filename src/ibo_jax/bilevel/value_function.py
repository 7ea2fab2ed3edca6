"""Tuning by the value function of the lower level: a few trainings, then passes of the method of multipliers.

First the lower level (an ordinary training) is solved on a design over lambda. Then each pass fits phi-hat to all
solved values, moves weights and hyperparameters together by `augmented_lagrangian.minimise`, solves the lower level
at the new lambda and raises the multipliers. The weights also learn from validation examples, so the validation loss
says nothing about the answer, which is the pass of smallest constraint violation; judge it on a test set.

References:
    [SinhaEtAl2022] A globally convergent gradient-based bilevel hyperparameter optimization method. arXiv 2208.12118,
        with details from the authors' notebooks.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibo_jax.bilevel import coordinates, first_solves, optimal_value, schedules
from ibo_jax.bilevel.augmented_lagrangian import Functions, Iterate, Multipliers, minimise
from ibo_jax.bilevel.base import Measures, Tuner
from ibo_jax.bilevel.lower_level import LowerLevel, lower_level
from ibo_jax.bilevel.optimal_value import Anchored, OptimalValue
from ibo_jax.numerics import in_float32
from ibo_jax.problems.base import Problem
from ibo_jax.surrogate import nuts
from ibo_jax.types import AnyArray, Array, Float, PRNGKeyArray

__all__ = ["PASSES", "State", "Variant", "tuner"]

Numbers = dict[str, float | Array]
Phi = OptimalValue | Anchored
Variant = Literal["corrected", "published"]
Minimiser = Callable[..., Iterate]
PASSES = 5
UNIT = 0.5  # c is measured in units of this share of the optimal value; chosen on MNIST subset 100
REACH = 0.05  # share of the box by which a pass may move lambda: half the spacing of a row of ten
NEAR = 0.01  # the same with the envelope, which corrects phi-hat at one place; chosen on CIFAR-10 subsets 100 to 102
SETTLING = 10.0  # the rates of a pass are this many times those of the descent on f alone after it
SMALLEST = 1e-12  # f by which a violation is divided, at least: it may be 0
FEWEST = 3  # values that phi-hat is learnt from, at least


class State(NamedTuple):
    """Observations of the lower level, padded to their final number, and the progress of the passes.

    Attributes:
        key: data of the key of every training: with the same start and batches phi is a smooth function.
        params, values: the answer of this epoch, lambda on the scale of `coordinates`.
        start_params, start_values: where the next pass starts, at first the solve of lowest validation loss.
        start_loss: that loss.
        points, solved: lambda and what the lower level reached there; NaN if it diverged or is yet to be solved.
        solves: number of solves so far.
        mu, weight: see `Multipliers`.
        chain: chain of the fit of phi-hat.
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


def tuner(problem: Problem, *, variant: Variant = "corrected", passes: int = PASSES, envelope: bool = False) -> Tuner:
    """The tuner of a problem whose hyperparameters are real numbers in its penalty; an update is a solve or a pass.

    f is the mean loss plus the problem's `penalty`, and phi the least of it. What else shapes a training (dropout, a
    fixed augmentation, penalties of activations that a network returns as `Penalised`, weight decay within the
    optimiser) shapes the first solves, but is no part of f, phi or the passes.

    "published" follows, for comparison, the authors' notebooks for two weights; "corrected" repairs them:

    - phi: published, learnt from the loss on one batch; corrected, from f on all data, as a logarithm if positive.
    - Learning rate: published, applied twice, so that steps go with its square; corrected, applied once and falling to
      zero.
    - mu: published, grows by R (f - phi-hat at the lambda of the start); corrected, by R (f - the solve at its end).
    - Start of a pass: published, the best of the first solves; corrected, the solve of the previous pass, where c is 0.
    - Solve after a pass: published, it starts from fresh weights and stops above the optimal value, far below which the
      passes then go, so that c is negative; corrected, it descends on f alone from the weights of the pass, for as many
      steps, so that it never ends above them, and the first solves count as a lower fidelity.
    - c: published, in units of loss; corrected, in units of half of phi at the start, because (R / 2) c^2 has no effect
      on losses of 0.02, or, if a solve is not positive, of half the standard deviation of the solves.
    - lambda: published, moves anywhere; corrected, by a twentieth of its box per pass, because further away the descent
      finds errors of phi-hat.

    Args:
        problem: made by `training_problem`, with a penalty.
        variant: see above.
        passes: fewer, down to one, for a network that can memorise the validation examples: each pass descends on
            their loss, and nothing else tells when to stop. Passes saved from the five are used for solves beside the
            best of the design.
        envelope: take value and slope of phi-hat at the start of a pass from f and df / dlambda there (envelope
            theorem), move lambda by a hundredth of its box per pass, and count none of the first solves for more than
            f of the best one's weights at its lambda, because phi is below that; corrected only. For trainings that
            end at unequal distances above the optimal value, such as deep networks under strong weights, where the
            curve through them gives no slope. Elsewhere the curve gives a better slope, as errors of a solve enter its
            values squared.

    Measures: `violation`, |f - phi| / |f| at the new lambda according to its solve; `valid_loss` F; `phi_error`, phi
    minus phi-hat; `mu`, `weight`; `choice` of the learning rate, -1 if none improved; `solves` so far. The state is not
    finite if fewer than three first solves ended well or no iterate is finite.

    Raises:
        ValueError: a hyperparameter is not a real number, does not affect the penalty, or affects network, optimiser or
            augmentation; the variant is unknown; there is no pass.
    """
    if variant not in ("corrected", "published"):
        raise ValueError(f"expected variant 'corrected' or 'published', got {variant!r}; choose one of them")
    if passes < 1:
        raise ValueError(f"expected at least one pass, got {passes}; raise it")
    game = in_float32(_game)(problem, passes, corrected=variant == "corrected", envelope=envelope)

    @in_float32
    def init(key: PRNGKeyArray) -> State:
        return _init(game, key)

    @in_float32
    def update(key: PRNGKeyArray, state: State) -> tuple[State, Measures]:
        return _explore(game, state) if state.solves < game.first else _improve(game, key, state)

    return Tuner(
        init,
        update,
        lambda state: coordinates.decoded(problem.space, state.values),
        lambda state: state.params,
        epochs=game.capacity,
        limit=game.capacity,
    )


class _Game(NamedTuple):
    """What is played: the lower level, where it is solved first, and how to descend on it."""

    lower: LowerLevel
    box: tuple[Float[np.ndarray, "hyperparameter"], Float[np.ndarray, "hyperparameter"]]
    design: Float[np.ndarray, "point hyperparameter"]
    schedule: schedules.Schedule
    passes: int
    corrected: bool
    envelope: bool
    descend: Minimiser
    settle: Minimiser

    @property
    def first(self) -> int:
        """Solves before the passes: of the design, and beside its best."""
        return len(self.design) + max(PASSES - self.passes, 0)

    @property
    def capacity(self) -> int:
        return self.first + self.passes


def _game(problem: Problem, passes: int, *, corrected: bool, envelope: bool) -> _Game:
    lower, (low, high) = lower_level(problem), coordinates.bounds(problem.space)
    schedule = schedules.corrected(lower.per_epoch) if corrected else schedules.published()
    return _Game(
        lower, (low, high), first_solves.design(low, high), schedule, passes, corrected, envelope and corrected,
        descend=_minimiser(lower.functions), settle=_minimiser(lower.functions._replace(valid_loss=_nothing)),
    )  # fmt: skip


def _minimiser(functions: Functions) -> Minimiser:
    """Compiled for this tuner: its programs and the data in them go when it goes."""
    return jax.jit(partial(minimise, functions=functions, checks=schedules.PARTS))


def _init(game: _Game, key: PRNGKeyArray) -> State:
    params, published, (low, _) = game.lower.start(key), Multipliers(), game.box
    points = np.full((game.capacity, len(low)), np.nan, np.float32)
    points[: len(game.design)] = game.design
    return State(
        np.asarray(jax.random.key_data(key)), params, low, params, low, _float32(np.inf), points,
        np.full(game.capacity, np.nan, np.float32), np.zeros((), np.int32),
        _float32(published.mu), _float32(published.weight), nuts.cold_chain(len(low)),
    )  # fmt: skip


def _explore(game: _Game, state: State) -> tuple[State, Measures]:
    """The next of the first solves."""
    if state.solves == (planned := len(game.design)):
        beside = first_solves.beside(np.asarray(state.start_values), *game.box, planned, game.first - planned)
        state = state._replace(points=np.concatenate([game.design, beside, state.points[game.first :]]))
    point, key = np.asarray(state.points[state.solves]), key_of(state)
    end = game.lower.solve(key, game.lower.start(key), point, game.lower.data)
    state = observed(state, point, end.objective if game.corrected else end.of_batch)
    if end.valid_loss < state.start_loss:
        state = state._replace(params=end.params, values=point, start_params=end.params, start_values=point,
                               start_loss=_float32(end.valid_loss))  # fmt: skip
    if game.envelope and state.solves == game.first:
        reached = game.lower.values(state.start_params, state.points, game.lower.data)
        state = state._replace(solved=np.minimum(state.solved, reached))
    usable = np.isfinite(state.solved).sum() >= FEWEST and np.isfinite(state.start_loss)
    more: Numbers = {"valid_loss": float(end.valid_loss), "solves": float(state.solves)}
    return state, Measures(float(end.objective), float("nan"), bool(usable or state.solves < game.first), more)


def _improve(game: _Game, key: PRNGKeyArray, state: State) -> tuple[State, Measures]:
    """A pass: fit phi-hat, descend on the augmented Lagrangian, solve the lower level there, raise the multipliers."""
    key_fit, key_descent, key_solve = jax.random.split(key, 3)
    phi, chain = _fit(game, key_fit, state)
    unit = UNIT * _scale(state, phi) if game.corrected else 1.0
    new = _descend(game, key_descent, state, phi, unit)
    values, objective = np.asarray(new.values), float(new.objective)
    solved, value, learnt = _settle(game, key_solve, state, new, phi)
    predicted = float(phi(values))
    reference = value if np.isfinite(value) else predicted
    constraint = objective - (reference if game.corrected else float(phi(state.start_values)))
    after = Multipliers(state.mu, state.weight).after(constraint / unit)
    state = observed(state, values, learnt)._replace(
        params=new.params, values=values, mu=_float32(after.mu), weight=_float32(after.weight), chain=chain
    )
    if game.corrected:
        state = state._replace(start_params=solved, start_values=values)
    violation = abs(objective - reference) / max(abs(objective), SMALLEST)
    more: Numbers = {
        "violation": violation, "valid_loss": float(new.valid_loss), "phi_error": reference - predicted,
        "mu": float(after.mu), "weight": float(after.weight), "choice": float(new.choice),
        "solves": float(state.solves),
    }  # fmt: skip
    return state, Measures(objective, violation, bool(np.isfinite(new.lagrangian)), more)


def _fit(game: _Game, key: PRNGKeyArray, state: State) -> tuple[Phi, nuts.Chain]:
    rough = (np.arange(game.capacity) < game.first) & game.corrected
    phi, chain = optimal_value.fit(key, state.points, state.solved, np.isfinite(state.solved), *game.box, state.chain,
                                   rough=rough, positive=game.corrected and _positive(state))  # fmt: skip
    if not game.envelope:
        return phi, chain
    value, slope = game.lower.value_and_slope(state.start_params, state.start_values, game.lower.data)
    return optimal_value.anchored(phi, state.start_values, value, slope), chain


def _positive(state: State) -> bool:
    """Whether f has a logarithm; not so where a loss reaches 0, or a penalty is a log-density."""
    return not np.any(state.solved <= 0)


def _scale(state: State, phi: Phi) -> float:
    """How large differences of f are: as phi at the start, or as the solves differ where its zero means nothing."""
    return float(phi(state.start_values)) if _positive(state) else float(np.nanstd(state.solved)) or 1.0


def _descend(game: _Game, key: PRNGKeyArray, state: State, phi: Phi, unit: float) -> Iterate:
    """Weights and lambda together, from where the state says; corrected, within reach and with c in its unit."""
    (low, high), reach, share = game.box, 1.0, 1.0
    if game.corrected:
        reach = NEAR if game.envelope else REACH
        share = max(1.0, float(state.mu) / unit)  # weight of f in A, by which rates are divided: they are meant for f
    away = reach * (high - low)
    box = np.clip(state.start_values - away, low, high), np.clip(state.start_values + away, low, high)
    multipliers = Multipliers(_float32(state.mu / unit), _float32(state.weight / unit**2))
    return game.descend(
        key, state.start_params, state.start_values, phi, multipliers, box,
        game.schedule.rates / np.float32(share), game.schedule.momenta, game.lower.data,
    )  # fmt: skip


def _settle(game: _Game, key: PRNGKeyArray, state: State, new: Iterate, phi: Phi) -> tuple[Any, float, float]:
    """Where the lower level ends at the new lambda and its value, what phi-hat learns; corrected, down from `new`."""
    values, lower = np.asarray(new.values), game.lower
    if not game.corrected:
        fresh = key_of(state)
        end = lower.solve(fresh, lower.start(fresh), values, lower.data)
        return end.params, float(end.objective), float(end.of_batch)
    below = game.settle(
        key, new.params, new.values, phi, Multipliers(_float32(1.0), _float32(0.0)), (values, values),
        game.schedule.rates / np.float32(SETTLING), game.schedule.momenta, lower.data,
    )  # fmt: skip
    return below.params, float(below.objective), float(below.objective)


def _nothing(params: Any, data: Any) -> Array:
    return jnp.zeros((), jnp.float32)


def _float32(value: Any) -> np.ndarray:
    return np.asarray(value, np.float32)


def key_of(state: State) -> PRNGKeyArray:
    """The key of every training."""
    return jax.random.wrap_key_data(jnp.asarray(state.key))


def observed(state: State, point: Float[np.ndarray, "hyperparameter"], value: Any) -> State:
    """The state after one more solve."""
    points, solved = np.array(state.points), np.array(state.solved)
    points[state.solves], solved[state.solves] = point, value if np.isfinite(value) else np.nan
    return state._replace(points=points, solved=solved, solves=np.asarray(state.solves + 1, np.int32))
