"""The test set, outside of any clock."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from ibo_jax.problems.base import Problem
from ibo_jax.training import steps, trainer
from ibo_jax.training.programs import split
from ibo_jax.types import Hyperparameters


class Judged(NamedTuple):
    """Mean cross-entropy and share of wrong predictions on the test part."""

    test_loss: float
    test_error: float


def judge(problem: Problem) -> Callable[[Any, Hyperparameters], Judged]:
    """`judge(problem)(params, hyperparameters)`, of the plain network; compiles once for all real hyperparameters."""
    assert problem.learning is not None
    task, data = problem.learning
    programs: dict[Any, Any] = {}

    def judged(params: Any, hyperparameters: Hyperparameters) -> Judged:
        rates, static = split(hyperparameters)
        with jax.enable_x64(False):
            examples = steps.Examples(*jax.device_put((data.test_inputs, data.test_labels, data.mean, data.scale)))
            if static not in programs:
                programs[static] = jax.jit(
                    lambda params, rates, examples: steps.evaluate(
                        params, examples, task.learner({**dict(static), **rates}, 1)
                    )
                )
            wrong, loss = programs[static](params, rates, examples)
        return Judged(float(loss), int(wrong) / len(data.test_labels))

    return judged


def trained(problem: Problem, seed: int, hyperparameters: Hyperparameters) -> Judged:
    """Of a network trained plainly on the training part, as in a search; NaN if the training diverged."""
    assert problem.learning is not None
    task, data = problem.learning
    on_test = data._replace(valid_inputs=data.test_inputs, valid_labels=data.test_labels)
    outcome = trainer.train(seed, task, hyperparameters, 1, on_test, validate=False)
    return Judged(outcome.history["loss"][-1], outcome.error)


def retrained(problem: Problem, seed: int, hyperparameters: Hyperparameters) -> Judged:
    """Of one trained plainly on training and validation examples together."""
    assert problem.learning is not None
    report = trainer.retrain(seed, problem.learning.task, hyperparameters, problem.learning.data)
    return Judged(report.test_loss, report.test_error)
