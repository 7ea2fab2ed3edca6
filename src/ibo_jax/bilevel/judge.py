"""What a tuner's answer is worth: the plain network with its parameters, judged on data on which it was not trained."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optax

from ibo_jax.numerics import in_float32
from ibo_jax.problems.base import Learning
from ibo_jax.training.networks import as_network
from ibo_jax.training.steps import Examples, Learner, evaluate
from ibo_jax.training.trainer import Task
from ibo_jax.types import Array

__all__ = ["Judge", "Judged", "judge"]


class Judged(NamedTuple):
    """Share of wrong predictions, and mean cross-entropy."""

    error: float
    loss: float


Judge = Callable[[Any, Mapping[str, Any], Literal["valid", "test"]], Judged]


def judge(learning: Learning) -> Judge:
    """`judge(params, hyperparameters, part)`, without dropout, augmentation or penalty.

    One program for each part, whatever the hyperparameters: they are traced, integers included.

    Examples:
        >>> from ibo_jax.problems.catalogue import problem
        >>> learning, h = problem("digits-l2", scale="smoke").learning, {"l2_hidden": 0.1, "l2_output": 0.1}
        >>> params = learning.task.learner(h, 1).init(jax.random.key(0), jax.numpy.zeros((1, 8, 8, 1)))
        >>> judge(learning)(params, h, "valid").error > 0.5  # untrained
        True
    """
    task, data = learning.task, learning.data
    parts = {"valid": Examples.of(data, "valid"), "test": Examples.of(data, "test")}
    evaluated = jax.jit(partial(_evaluate, task), static_argnums=1)  # goes with the judge, and so does what tasks hold

    @in_float32
    def judged(params: Any, hyperparameters: Mapping[str, Any], part: Literal["valid", "test"]) -> Judged:
        numbers = [np.float32(value) for value in hyperparameters.values()]
        wrong, loss = evaluated(params, tuple(hyperparameters), numbers, parts[part])
        return Judged(float(wrong) / parts[part].labels.size, float(loss))

    return judged


def _evaluate(
    task: Task, params: Any, names: tuple[str, ...], numbers: list[Array], examples: Examples
) -> tuple[Array, Array]:
    known: dict[str, Any] = dict(zip(names, numbers, strict=True))  # in the order of the space: JAX sorts dictionaries
    network = as_network(task.network(known))  # without a learner, whose optimiser needs a number of steps
    return evaluate(params, examples, Learner(network.init, network.apply, optax.identity()))
