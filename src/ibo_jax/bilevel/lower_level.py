"""A training whose hyperparameters weight its penalty, as the lower level of a bilevel problem."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ibo_jax import importance
from ibo_jax.bilevel import coordinates
from ibo_jax.bilevel.augmented_lagrangian import Functions
from ibo_jax.bilevel.base import learning_of
from ibo_jax.problems.base import Problem
from ibo_jax.space import Float as Real
from ibo_jax.space import SearchSpace
from ibo_jax.training import steps
from ibo_jax.training.layers import parted
from ibo_jax.training.steps import Examples, Learner, Sampling
from ibo_jax.training.trainer import Task
from ibo_jax.types import AnyArray, Array, Float, PRNGKeyArray

__all__ = ["Data", "LowerLevel", "Solved", "lower_level"]

UPDATES = 32  # that are compared: a rate may warm up from zero, and updates may be saved up
REMEDY = "fix it, or choose another tuner or a method that only evaluates"


class Data(NamedTuple):
    """The examples over which f and F are means."""

    train: Examples
    valid: Examples


class Solved(NamedTuple):
    """The end of a training: its weights, f and F on all data, and f on one batch."""

    params: Any
    objective: Float[Array, ""]
    valid_loss: Float[Array, ""]
    of_batch: Float[Array, ""]


class LowerLevel(NamedTuple):
    """The training as functions of lambda, on the scale of `coordinates`.

    Attributes:
        functions: F and f without dropout, and batches of both sets, as large as in the training.
        start: `start(key)`, fresh weights.
        solve: `solve(key, params, lambda, data)`, one ordinary training from these weights, compiled once.
        values: `values(params, lambdas, data)`, f at the same weights for each lambda.
        value_and_slope: `value_and_slope(params, lambda, data)`, f and df / dlambda.
        data: arrays on the device.
        per_epoch: batches in an epoch.
    """

    functions: Functions
    start: Callable[[PRNGKeyArray], Any]
    solve: Callable[[PRNGKeyArray, Any, AnyArray, Data], Solved]
    values: Callable[[Any, AnyArray, Data], Array]
    value_and_slope: Callable[[Any, AnyArray, Data], tuple[Array, Array]]
    data: Data
    per_epoch: int


def lower_level(problem: Problem) -> LowerLevel:
    """The lower level of a problem with a training to look into.

    Raises:
        ValueError: there is no training; a hyperparameter is not a real number, the penalty does not depend on it, or
            the network, the optimiser or the augmentation does.
    """
    task, dataset = learning_of(problem)
    _check_space(problem.name, problem.space, task)
    low, _ = coordinates.bounds(problem.space)
    lowest = {name: float(value) for name, value in coordinates.by_name(problem.space, low).items()}
    batch_size = int(task.batch_size(lowest))
    shape, per_epoch = dataset.train_inputs.shape[1:], len(dataset.train_labels) // batch_size
    sampling = Sampling(batch_size, batch_size)

    def learner(values: AnyArray) -> Learner:
        return task.learner(coordinates.by_name(problem.space, values), per_epoch)

    def valid_loss(params: Any, data: Data) -> Array:
        return steps.evaluate(params, data.valid, learner(low))[1]

    def train_objective(params: Any, values: Array, data: Data) -> Array:
        taught = learner(values)
        assert taught.penalty is not None
        return steps.evaluate(params, data.train, taught)[1] + taught.penalty(params)

    def batch(key: PRNGKeyArray, data: Data) -> Data:
        drawn = []
        for part, part_key in zip(data, jax.random.split(key), strict=True):
            drawn.append(part.taken(importance.presample(part_key, len(part.labels), batch_size)))
        return Data(*drawn)

    @jax.jit
    def start(key: PRNGKeyArray) -> Any:
        return steps.start(key, learner(low), shape).params

    @jax.jit
    def solve(key: PRNGKeyArray, params: Any, values: Array, data: Data) -> Solved:
        key_epochs, key_batch = jax.random.split(key)
        taught = learner(values)

        def epoch(number: Array, state: steps.State) -> steps.State:
            key = jax.random.fold_in(key_epochs, number)
            return steps.epoch(key, state, data.train, taught, sampling, per_epoch)[0]

        state = steps.State(params, taught.optimizer.init(params), jnp.zeros((), jnp.float32))
        params = jax.lax.fori_loop(0, task.epochs, epoch, state).params
        of_batch = train_objective(params, values, batch(key_batch, data))
        return Solved(params, train_objective(params, values, data), valid_loss(params, data), of_batch)

    _check_effects(problem, learner)
    sets = Data(Examples.of(dataset, "train"), Examples.of(dataset, "valid"))
    values = jax.jit(jax.vmap(train_objective, (None, 0, None)))
    value_and_slope = jax.jit(jax.value_and_grad(train_objective, argnums=1))
    functions = Functions(valid_loss, train_objective, batch)
    return LowerLevel(functions, start, solve, values, value_and_slope, sets, per_epoch)


def _check_space(name: str, space: SearchSpace, task: Task) -> None:
    for hyperparameter, dimension in space.dimensions.items():
        if not isinstance(dimension, Real):
            raise ValueError(f"{name}: expected real hyperparameters, got {dimension} for {hyperparameter!r}; {REMEDY}")
    if task.penalty is None:
        raise ValueError(f"{name}: expected a penalty that {list(space.names)} weight, got none; "
                         "give the problem one, or choose another tuner")  # fmt: skip


def _check_effects(problem: Problem, learner: Callable[[AnyArray], Learner]) -> None:
    """Hyperparameters must act through the penalty alone: without it, two distant values must train alike."""
    dataset = learning_of(problem).data
    low, high = coordinates.bounds(problem.space)
    raw = jnp.asarray(dataset.train_inputs[:2])
    key = jax.random.key(0)
    params = jax.jit(lambda values: learner(values).init(key, jnp.zeros(raw.shape, jnp.float32)))(low)

    @jax.jit
    def seen(values: Array) -> Any:
        """What some updates by the same gradient add up to, the penalty left out, as a function of lambda."""
        taught = learner(values)
        keys = jax.random.split(key, len(raw))
        inputs = raw if taught.augment is None else steps.augmented(keys, raw, taught.augment)

        def outputs(params: Any) -> Array:
            logits, punished = parted(taught.apply(params, inputs.astype(jnp.float32), train=True, key=key))
            return jnp.sum(logits**2) + jnp.sum(punished)

        gradient = jax.grad(outputs)(params)

        def update(_: Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            total, state = carry
            change, state = taught.optimizer.update(gradient, state, params)
            return optax.apply_updates(total, change), state

        start = jax.tree.map(jnp.zeros_like, params), taught.optimizer.init(params)
        return jax.lax.fori_loop(0, UPDATES, update, start)[0]

    @jax.jit
    def slope(values: Array) -> Array:
        moved = jax.tree.map(lambda leaf: leaf + 0.1, params)  # not zero, where penalties have no effect
        return jax.grad(lambda values: learner(values).penalty(moved))(values)  # type: ignore[misc]

    at_low = seen(low)
    for index, name in enumerate(problem.space.names):
        moved = low.copy()
        moved[index] = high[index]
        if not jax.tree.all(jax.tree.map(partial(np.array_equal, equal_nan=True), at_low, seen(moved))):
            raise ValueError(f"{problem.name}: expected hyperparameters that enter through the penalty alone, got "
                             f"{name!r}, on which network, optimiser or augmentation depends; {REMEDY}")  # fmt: skip
        if not np.any(slope(jnp.asarray(high))[index]):
            raise ValueError(f"{problem.name}: expected a penalty that depends on every hyperparameter, got one that "
                             f"ignores {name!r}; {REMEDY}")  # fmt: skip
