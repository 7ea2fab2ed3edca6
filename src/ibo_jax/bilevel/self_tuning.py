"""Self-Tuning Networks: hyperparameters follow the validation loss while one network trains (MacKay et al., ICLR 2019).

The network's weights are a structured best response w(u) to the unconstrained hyperparameters u (`best_response`,
`relaxation`). Two steps alternate:

    training     phi descends E_e L_T(u + e, w_phi(u + e)), every example with its own e ~ N(0, sigma^2)
    validation   u and sigma descend E_e L_V(w_phi(u + e)) - tau H(e), through the best response alone

so that no derivative of the training loss by a hyperparameter is ever taken: dropout rates, numbers of holes and the
like may enter it in any way. Hyperparameters of the optimiser do not enter w and cannot be moved.

The layers see u less its start. Published networks see u itself, and then what the weights learn through V u at the
start, as through any weights, pretends to be a response: u is driven away from zero, whatever it stands for.
"""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ibo_jax import importance
from ibo_jax.bilevel import best_response, relaxation
from ibo_jax.bilevel.base import Measures, Tuner
from ibo_jax.problems.base import Problem
from ibo_jax.problems.training import NOT_TRACEABLE
from ibo_jax.space import Integer, SearchSpace
from ibo_jax.training.networks import Network, as_network
from ibo_jax.training.steps import Examples, Learner, augmented, evaluate
from ibo_jax.training.trainer import Task
from ibo_jax.types import AnyArray, Array, Float, Hyperparameters, Int, PRNGKeyArray, Value

__all__ = ["Settings", "State", "schedule", "tuner"]

PENALTY_DRAWS = 8  # perturbations of a batch whose weights are punished: each costs a pass over all weights
START = 0.05  # share of each range: little regularisation, as published


class Settings(NamedTuple):
    """How the two levels take turns; defaults as published for CIFAR-10.

    Attributes:
        warm_up: epochs before the first validation step.
        train_steps: training steps between two turns of validation steps.
        valid_steps: validation steps in a turn.
        rate: Adam's learning rate for the hyperparameters.
        scale_rate: and for the perturbations' scales.
        scale: first standard deviation of the perturbations.
        entropy: tau. None: scales stay, and validation steps are not perturbed, as published for text.
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
        params: of the best response.
        optimizer_state: of the weights.
        upper: unconstrained hyperparameters, and scales before softplus.
        upper_state: of their optimiser.
        epoch: updates done.
        path: hyperparameters at each training step of the last epoch, in the order of the space.
    """

    params: Any
    optimizer_state: Any
    upper: tuple[Float[Array, "hyperparameter"], Float[Array, "hyperparameter"]]
    upper_state: Any
    epoch: Int[Array, ""]
    path: Float[Array, "step hyperparameter"]


class _Game(NamedTuple):
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

    def named(self, values: Array) -> dict[str, Array]:
        return relaxation.by_name(self.space, jax.lax.stop_gradient(values), self.settings.half_lines)

    def network(self, values: Array) -> Network:
        return as_network(self.task.network(self.named(values)))  # type: ignore[arg-type]

    def logits(self, params: Any, inputs: Array, values: Array, *, train: bool, key: Any = None) -> Array:
        away = values - self.first
        return best_response.apply(params, self.network(values), inputs, away, train=train, key=key)

    def plain(self, params: Any, values: Array) -> Any:
        return best_response.collapse(params, values - self.first)

    def optimizer(self) -> optax.GradientTransformation:
        return self.task.optimizer({}, self.steps)

    def upper_optimizer(self) -> optax.GradientTransformation:
        rates = {"values": self.settings.rate, "scales": self.settings.scale_rate}
        return optax.multi_transform({name: optax.adam(rate) for name, rate in rates.items()}, ("values", "scales"))  # type: ignore[arg-type]


def tuner(
    problem: Problem, *, start: Hyperparameters | None = None, epochs: int | None = None, **settings: Any
) -> Tuner:
    """The self-tuning network of a problem; an update is an epoch of training steps and the validation steps between.

    The score is the validation loss, in evaluation mode, of the weights at the present hyperparameters.

    Args:
        problem: made by `training_problem`, of a Flax Linen network.
        start: hyperparameters to begin with; default 5 % of each range.
        epochs: default five times as many as one training of the problem has.
        settings: fields of `Settings`.

    Example:
        >>> from ibo_jax.problems import problem
        >>> tuned = tuner(problem("digits-dropout", scale="smoke"), warm_up=1)
        >>> state, measures = tuned.update(jax.random.key(1), tuned.init(jax.random.key(0)))
        >>> bool(measures.finite), sorted(tuned.hyperparameters(state))
        (True, ['dropout_0', 'dropout_1'])

    Raises:
        ValueError: unordered choices; a hyperparameter of the optimiser, or a size; a network without layers that
            respond; a negative setting.
    """
    chosen = Settings(**settings)
    _check(chosen)
    if problem.learning is None:
        raise ValueError(f"expected a problem with a training, got {problem.name!r}; make it by training_problem")
    (task, data), space = problem.learning, problem.space
    first = relaxation.unconstrained(
        space, start if start is not None else space.decode([START] * space.dimension), chosen.half_lines
    )
    training, judging = (
        Examples(*jax.device_put((inputs, labels, data.mean, data.scale)))
        for inputs, labels in ((data.train_inputs, data.train_labels), (data.valid_inputs, data.valid_labels))
    )
    with _explained(problem):
        batch_size = int(task.batch_size({}))
    turns = max(1, len(data.train_labels) // batch_size // chosen.train_steps)
    game = _Game(task, space, chosen, first, batch_size, turns)
    run_init, run_update = jax.jit(partial(_init, game)), jax.jit(partial(_update, game))
    with jax.enable_x64(False), _explained(problem):
        state = jax.eval_shape(run_init, jax.random.key(0), training)
        jax.eval_shape(run_update, jax.random.key(0), state, training, judging)

    def init(key: PRNGKeyArray) -> State:
        with jax.enable_x64(False):
            return run_init(key, training)

    def update(key: PRNGKeyArray, state: State) -> tuple[State, Measures]:
        with jax.enable_x64(False):
            return run_update(key, state, training, judging)

    def hyperparameters(state: State) -> dict[str, Value]:
        with jax.enable_x64(False):
            named = relaxation.by_name(space, state.upper[0], chosen.half_lines)
        return {name: (int if isinstance(space.dimensions[name], Integer) else float)(named[name]) for name in named}

    def params(state: State) -> Any:
        with jax.enable_x64(False):
            return game.plain(state.params, state.upper[0])

    return Tuner(init, update, hyperparameters, params, epochs or 5 * task.epochs)


def schedule(space: SearchSpace, paths: Sequence[AnyArray]) -> dict[str, Float[np.ndarray, "epoch step"]]:
    """The hyperparameters as they were learnt, by name, of the `path` of each epoch's state; see `replay`."""
    return dict(zip(space.names, np.moveaxis(np.stack([np.asarray(path) for path in paths]), -1, 0), strict=True))


def _init(game: _Game, key: PRNGKeyArray, training: Examples) -> State:
    first = jnp.asarray(game.first)
    inputs = jnp.zeros((1, *training.inputs.shape[1:]), jnp.float32)
    params = best_response.init(key, game.network(first), inputs, first)
    upper = (first, jnp.full(first.shape, jnp.log(jnp.expm1(game.settings.scale)), jnp.float32))
    return State(
        params, game.optimizer().init(params), upper, game.upper_optimizer().init(upper), jnp.zeros((), jnp.int32),
        jnp.zeros((game.steps, len(first)), jnp.float32),
    )  # fmt: skip


def _update(
    game: _Game, key: PRNGKeyArray, state: State, training: Examples, judging: Examples
) -> tuple[State, Measures]:
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
    loss, (score, error) = losses / game.steps, _judge(game, state, judging)
    sound = [jnp.all(jnp.isfinite(leaf)) for leaf in (loss, score, *jax.tree.leaves((state.params, state.upper)))]
    scales = dict(zip(game.space.names, jax.nn.softplus(state.upper[1]), strict=True))
    more = {"valid_error": error, **{f"scale/{name}": scale for name, scale in scales.items()}}
    return state, Measures(loss, score, jnp.all(jnp.stack(sound)), more)


def _train(game: _Game, key: PRNGKeyArray, state: State, training: Examples) -> tuple[State, Array]:
    """One step of the weights; nothing is differentiated by the hyperparameters."""
    key_batch, key_perturb, key_augment, key_dropout = jax.random.split(key, 4)
    index = importance.presample(key_batch, len(training.labels), game.batch_size)
    values = _perturbed(key_perturb, state.upper, game.batch_size)
    named, inputs = game.named(values), training.inputs[index]
    augment, penalty = game.task.augment, game.task.penalty
    if augment is not None:
        keys = jax.random.split(key_augment, game.batch_size)
        inputs = augmented(keys, inputs, augment, named)
    inputs = training.normalised(inputs)

    def objective(params: Any) -> Array:
        logits = game.logits(params, inputs, values, train=True, key=key_dropout)
        loss = jnp.mean(importance.loss(logits, training.labels[index]))
        if penalty is None:
            return loss
        few = jax.tree.map(lambda leaf: leaf[:PENALTY_DRAWS], (values, named))
        return loss + jnp.mean(jax.vmap(lambda at, h: penalty(game.plain(params, at), h))(*few))

    loss, gradient = jax.value_and_grad(objective)(state.params)
    updates, optimizer_state = game.optimizer().update(gradient, state.optimizer_state, state.params)
    return state._replace(params=optax.apply_updates(state.params, updates), optimizer_state=optimizer_state), loss


def _validate(game: _Game, key: PRNGKeyArray, state: State, judging: Examples) -> State:
    """One step of the hyperparameters and of their scales, by the best response alone."""
    key_batch, key_perturb = jax.random.split(key)
    size, tau = min(game.batch_size, len(judging.labels)), game.settings.entropy
    index = importance.presample(key_batch, len(judging.labels), size)
    inputs = judging.normalised(judging.inputs[index])

    def objective(upper: tuple[Array, Array]) -> Array:
        still = (upper[0], jnp.full_like(upper[1], -jnp.inf))
        values = _perturbed(key_perturb, still if tau is None else upper, size)
        logits = game.logits(state.params, inputs, values, train=False)
        entropy = 0.0 if tau is None else tau * jnp.sum(jnp.log(jax.nn.softplus(upper[1])))  # but for a constant
        return jnp.mean(importance.loss(logits, judging.labels[index])) - entropy

    updates, upper_state = game.upper_optimizer().update(jax.grad(objective)(state.upper), state.upper_state)
    values, scales = optax.apply_updates(state.upper, updates)  # type: ignore[misc]
    values = relaxation.clip(values, game.space, game.settings.half_lines)
    return state._replace(upper=(values, scales), upper_state=upper_state)


def _perturbed(key: PRNGKeyArray, upper: tuple[Array, Array], count: int) -> Float[Array, "example hyperparameter"]:
    noise = jax.random.normal(key, (count, len(upper[0])), jnp.float32)
    return upper[0] + jax.nn.softplus(upper[1]) * noise


def _judge(game: _Game, state: State, judging: Examples) -> tuple[Array, Array]:
    """Validation loss and share of wrong predictions of the plain network at the hyperparameters."""
    network = game.network(state.upper[0])
    learner = Learner(network.init, network.apply, game.optimizer())
    wrong, loss = evaluate(game.plain(state.params, state.upper[0]), judging, learner)
    return loss, wrong / judging.labels.size


def _check(settings: Settings) -> None:
    counts = (settings.warm_up, settings.train_steps - 1, settings.valid_steps - 1, settings.entropy or 0.0)
    rates = (settings.rate, settings.scale_rate, settings.scale)
    if min(counts) < 0 or min(rates) <= 0:
        raise ValueError(f"expected positive steps, rates and scales, no negative warm-up or entropy, got {settings}; "
                         "change those")  # fmt: skip


@contextlib.contextmanager
def _explained(problem: Problem) -> Iterator[None]:
    """The first trace tells which hyperparameters cannot be moved."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{problem.name}: expected the optimiser and the batch size to be fixed, got {error} among "
                         "the hyperparameters, to which no weights respond; fix it, or choose another tuner"
                         ) from error  # fmt: skip
    except (*NOT_TRACEABLE, TypeError) as error:
        raise ValueError(f"{problem.name}: expected hyperparameters that may differ from example to example (rates, "
                         f"probabilities, weights) among {list(problem.space.names)}, got a size or a choice; fix it, "
                         "or choose another tuner") from error  # fmt: skip
