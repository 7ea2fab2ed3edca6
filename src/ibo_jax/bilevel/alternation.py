"""The two levels of a self-tuning network in turn: steps of the weights, then steps of the hyperparameters.

Pure functions of a `Game`, which `self_tuning` makes from a problem; the equations are given there.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ibo_jax import importance
from ibo_jax.bilevel import best_response, relaxation
from ibo_jax.bilevel.base import Measures
from ibo_jax.space import SearchSpace
from ibo_jax.training.layers import parted
from ibo_jax.training.networks import Network, as_network
from ibo_jax.training.steps import Examples, Learner, all_finite, augmented, evaluate
from ibo_jax.training.trainer import Task
from ibo_jax.types import Array, Float, Int, PRNGKeyArray

__all__ = ["Game", "Settings", "State", "epoch", "init"]

PENALTY_DRAWS = 8  # perturbations per batch for which weights are penalised: each costs a pass over all weights


class Settings(NamedTuple):
    """How the two levels take turns; the defaults are those published for CIFAR-10.

    Attributes:
        warm_up: epochs before the first validation step.
        train_steps: training steps between two turns of validation steps.
        valid_steps: validation steps in a turn.
        rate: Adam's learning rate for the hyperparameters.
        scale_rate: Adam's learning rate for the perturbations' scales.
        scale: initial standard deviation of the perturbations.
        entropy: tau. With None, scales stay fixed and validation steps are not perturbed, as published for text.
        half_lines: hyperparameters without upper bound, see `relaxation`.
    """

    warm_up: int = 5
    train_steps: int = 2
    valid_steps: int = 1
    rate: float = 3e-3
    scale_rate: float = 3e-3
    scale: float = 0.5
    entropy: float | None = 1e-3
    half_lines: Collection[str] = ()


class State(NamedTuple):
    """Weights and hyperparameters in training.

    Attributes:
        params: parameters of the best response.
        optimizer_state: optimiser state of the weights.
        upper: unconstrained hyperparameters, and scales before softplus.
        upper_state: optimiser state of those.
        epoch: number of updates done.
        path: hyperparameters at each training step of the last epoch, in the order of the space.
    """

    params: Any
    optimizer_state: Any
    upper: tuple[Float[Array, "hyperparameter"], Float[Array, "hyperparameter"]]
    upper_state: Any
    epoch: Int[Array, ""]
    path: Float[Array, "step hyperparameter"]


class Game(NamedTuple):
    """What is played: the task as functions of unconstrained hyperparameters."""

    task: Task
    space: SearchSpace
    settings: Settings
    first: Float[np.ndarray, "hyperparameter"]
    batch_size: int
    turns: int

    @property
    def steps(self) -> int:
        return self.turns * self.settings.train_steps

    def named(self, values: Array) -> dict[str, Any]:
        return relaxation.by_name(self.space, jax.lax.stop_gradient(values), self.settings.half_lines)

    def network(self, values: Array) -> Network:
        return as_network(self.task.network(self.named(values)))

    def logits(self, params: Any, inputs: Array, values: Array, *, train: bool, key: Any = None) -> Any:
        away = values - jax.lax.broadcast_to_rank(self.first, values.ndim)
        return best_response.apply(params, self.network(values), inputs, away, train=train, key=key)

    def plain(self, params: Any, values: Array) -> Any:
        return best_response.collapse(params, values - self.first)

    def optimizer(self) -> optax.GradientTransformation:
        return self.task.optimizer({}, self.steps)

    def upper_optimizer(self) -> optax.GradientTransformation:
        rates = {"values": self.settings.rate, "scales": self.settings.scale_rate}
        return optax.multi_transform({name: optax.adam(rate) for name, rate in rates.items()}, ("values", "scales"))  # type: ignore[arg-type]


def init(game: Game, key: PRNGKeyArray, training: Examples) -> State:
    """Fresh weights at the first hyperparameters."""
    first = jnp.asarray(game.first)
    inputs = jnp.zeros((1, *training.inputs.shape[1:]), jnp.float32)
    params = best_response.init(key, game.network(first), inputs, first)
    upper = (first, jnp.full(first.shape, jnp.log(jnp.expm1(game.settings.scale)), jnp.float32))
    return State(
        params, game.optimizer().init(params), upper, game.upper_optimizer().init(upper), jnp.zeros((), jnp.int32),
        jnp.zeros((game.steps, len(first)), jnp.float32),
    )  # fmt: skip


def epoch(game: Game, key: PRNGKeyArray, state: State, training: Examples, judging: Examples) -> tuple[State, Measures]:
    """Training steps for one epoch, with validation steps after every `train_steps` of them once warmed up.

    Measures: `scale/NAME`, standard deviations of the perturbations.
    """
    count = game.settings.train_steps
    turns = jnp.where(state.epoch < game.settings.warm_up, 0, game.settings.valid_steps)

    def train(step: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
        state, losses = carry
        state, loss = _train(game, jax.random.fold_in(key, 2 * step), state, training)
        now = jnp.stack(list(game.named(state.upper[0]).values()))
        return state._replace(path=state.path.at[step].set(now)), losses + loss

    def turn(number: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
        state, losses = jax.lax.fori_loop(number * count, (number + 1) * count, train, carry)
        key_turn = jax.random.fold_in(key, 2 * number + 1)

        def validate(step: Array, state: State) -> State:
            return _validate(game, jax.random.fold_in(key_turn, step), state, judging)

        return jax.lax.fori_loop(0, turns, validate, state), losses

    state, losses = jax.lax.fori_loop(0, game.turns, turn, (state, jnp.zeros((), jnp.float32)))
    state = state._replace(epoch=state.epoch + 1)
    loss, score = losses / game.steps, _judge(game, state, judging)
    scales = dict(zip(game.space.names, jax.nn.softplus(state.upper[1]), strict=True))
    more = {f"scale/{name}": scale for name, scale in scales.items()}
    return state, Measures(loss, score, all_finite((loss, score, state.params, state.upper)), more)


def _train(game: Game, key: PRNGKeyArray, state: State, training: Examples) -> tuple[State, Array]:
    """One step of the weights; nothing is differentiated with respect to the hyperparameters."""
    key_batch, key_perturb, key_augment, key_dropout = jax.random.split(key, 4)
    index = importance.presample(key_batch, len(training.labels), game.batch_size)
    values = _perturbed(key_perturb, state.upper, game.batch_size)
    augment, penalty = game.task.augment, game.task.penalty
    inputs = training.inputs[index]
    if augment is not None:
        keys = jax.random.split(key_augment, game.batch_size)
        inputs = augmented(keys, inputs, lambda key, one, at: augment(key, one, game.named(at)), values)
    inputs = training.normalised(inputs)

    def objective(params: Any) -> Array:
        logits, punished = parted(game.logits(params, inputs, values, train=True, key=key_dropout))
        loss = jnp.mean(importance.loss(logits, training.labels[index])) + jnp.mean(punished)
        if penalty is None:
            return loss
        few = values[:PENALTY_DRAWS]
        return loss + jnp.mean(jax.vmap(lambda at: penalty(game.plain(params, at), game.named(at)))(few))

    loss, gradient = jax.value_and_grad(objective)(state.params)
    updates, optimizer_state = game.optimizer().update(gradient, state.optimizer_state, state.params)
    return state._replace(params=optax.apply_updates(state.params, updates), optimizer_state=optimizer_state), loss


def _validate(game: Game, key: PRNGKeyArray, state: State, judging: Examples) -> State:
    """One step of the hyperparameters and their scales, through the best response alone."""
    key_batch, key_perturb = jax.random.split(key)
    size, tau = min(game.batch_size, len(judging.labels)), game.settings.entropy
    index = importance.presample(key_batch, len(judging.labels), size)
    inputs = judging.normalised(judging.inputs[index])

    def objective(upper: tuple[Array, Array]) -> Array:
        still = (upper[0], jnp.full_like(upper[1], -jnp.inf))
        values = _perturbed(key_perturb, still if tau is None else upper, size)
        logits = game.logits(state.params, inputs, values, train=False)
        entropy = 0.0 if tau is None else tau * jnp.sum(jnp.log(jax.nn.softplus(upper[1])))  # up to a constant
        return jnp.mean(importance.loss(logits, judging.labels[index])) - entropy

    updates, upper_state = game.upper_optimizer().update(jax.grad(objective)(state.upper), state.upper_state)
    values, scales = optax.apply_updates(state.upper, updates)  # type: ignore[misc]
    values = relaxation.clip(values, game.space, game.settings.half_lines)
    return state._replace(upper=(values, scales), upper_state=upper_state)


def _perturbed(key: PRNGKeyArray, upper: tuple[Array, Array], count: int) -> Float[Array, "example hyperparameter"]:
    noise = jax.random.normal(key, (count, len(upper[0])), jnp.float32)
    return upper[0][None] + jax.nn.softplus(upper[1])[None] * noise


def _judge(game: Game, state: State, judging: Examples) -> Array:
    """Validation loss of the plain network at the hyperparameters."""
    network = game.network(state.upper[0])
    learner = Learner(network.init, network.apply, game.optimizer())
    return evaluate(game.plain(state.params, state.upper[0]), judging, learner)[1]
