"""An ordinary training whose hyperparameters follow a given schedule, one value per step: learnt or constant.

It shows whether a learnt schedule wins through its course or through its end (MacKay et al., ICLR 2019, table 1).
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from ibo_jax.bilevel.base import learning_of
from ibo_jax.bilevel.judge import Judged, judge
from ibo_jax.numerics import in_float32
from ibo_jax.problems.base import Problem
from ibo_jax.training.steps import Examples, Learner, Sampling, State, start, step
from ibo_jax.training.trainer import Task
from ibo_jax.types import Array, Float, PRNGKeyArray, Value

__all__ = ["Replayed", "constant", "replay"]

Names = tuple[str, ...]  # of the hyperparameters, in the order of the space: JAX would sort a dictionary


class Replayed(NamedTuple):
    """What a training reached.

    Attributes:
        valid_loss: validation loss after each epoch.
        test_loss: test loss after the epoch of lowest validation loss; NaN if there is none.
        test_error: share of wrong predictions at the same epoch.
    """

    valid_loss: Float[np.ndarray, "epoch"]
    test_loss: float
    test_error: float


def constant(hyperparameters: Mapping[str, Value], epochs: int, steps: int) -> dict[str, np.ndarray]:
    """The schedule that stays constant."""
    return {name: np.full((epochs, steps), value, np.float32) for name, value in hyperparameters.items()}


@in_float32
def replay(problem: Problem, schedule: Mapping[str, Float[np.ndarray, "epoch step"]], *, seed: int = 0) -> Replayed:
    """Trains plainly from scratch; all schedules with equally many steps in an epoch share a program.

    Examples:
        >>> from ibo_jax.problems import problem
        >>> digits = problem("digits-dropout", scale="smoke")
        >>> replayed = replay(digits, constant({"dropout_0": 0.1, "dropout_1": 0.1}, epochs=3, steps=31))
        >>> replayed.valid_loss.shape, replayed.test_error < 0.2
        ((3,), True)

    Raises:
        ValueError: the problem has no training, or the schedule lacks a hyperparameter of the space.
    """
    learning = learning_of(problem)
    (task, data), judged = learning, judge(learning)
    if schedule.keys() != set(problem.space.names):
        raise ValueError(f"expected a schedule of each of {list(problem.space.names)}, got one of {sorted(schedule)}; "
                         "name them all")  # fmt: skip
    names = problem.space.names
    series = np.stack([np.asarray(schedule[name], np.float32) for name in names], axis=-1)
    losses, best = [], Judged(float("nan"), float("nan"))
    training = Examples.of(data, "train")
    state = _start(task, names, jax.random.key(seed), series[0, 0], training)
    for epoch, values in enumerate(series):
        state = _epoch(task, names, jax.random.fold_in(jax.random.key(seed), epoch), state, values, training)
        now = dict(zip(names, values[-1], strict=True))
        losses.append(judged(state.params, now, "valid").loss)
        if losses[-1] <= np.min(losses, where=np.isfinite(losses), initial=np.inf):
            best = judged(state.params, now, "test")
    return Replayed(np.array(losses), best.loss, best.error)


@partial(jax.jit, static_argnums=(0, 1))
def _start(
    task: Task, names: Names, key: PRNGKeyArray, values: Float[Array, "hyperparameter"], training: Examples
) -> State:
    return start(key, _learner(task, names, values, training), training.inputs.shape[1:])


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def _epoch(
    task: Task, names: Names, key: PRNGKeyArray, state: State, values: Float[Array, "step hyperparameter"],
    training: Examples,
) -> State:  # fmt: skip
    batch_size = task.batch_size({})

    def body(number: Array, state: State) -> State:
        learner = _learner(task, names, values[number], training)
        return step(jax.random.fold_in(key, number), state, training, learner, Sampling(batch_size, batch_size))[0]

    return jax.lax.fori_loop(0, len(values), body, state)


def _learner(task: Task, names: Names, values: Float[Array, "hyperparameter"], training: Examples) -> Learner:
    return task.learner(dict(zip(names, values, strict=True)), len(training.labels) // task.batch_size({}))
