"""What hyperparameters are worth on the test set: a plain training with them, which no clock counts."""

from ibo_jax.bilevel.judge import Judged
from ibo_jax.problems.base import Problem
from ibo_jax.training import trainer
from ibo_jax.types import Hyperparameters


def trained(problem: Problem, seed: int, hyperparameters: Hyperparameters) -> Judged:
    """Judge a network trained plainly on the training part, as in a search; NaN if the training diverged."""
    assert problem.learning is not None
    task, data = problem.learning
    on_test = data._replace(valid_inputs=data.test_inputs, valid_labels=data.test_labels)
    outcome = trainer.train(seed, task, hyperparameters, 1, on_test, validate=False)
    return Judged(outcome.error, outcome.history["loss"][-1])


def retrained(problem: Problem, seed: int, hyperparameters: Hyperparameters) -> Judged:
    """Judge a network trained plainly on training and validation examples together."""
    assert problem.learning is not None
    report = trainer.retrain(seed, problem.learning.task, hyperparameters, problem.learning.data)
    return Judged(report.test_error, report.test_loss)
