"""The protocol of tuners that work inside a training: a state and its update, one epoch at a time.

    tuner = self_tuning.tuner(problem)
    for state, measures in updates(key, tuner): ...

A state is a pytree of arrays, so that it can be stored in a checkpoint; an update is one or a few compiled programs.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from ibo_jax.problems.base import Learning, Problem
from ibo_jax.types import Array, Float, PRNGKeyArray, Value

__all__ = ["Measures", "Tuner", "check_epochs", "first_line", "learning_of", "updates"]

State = Any


class Measures(NamedTuple):
    """What an update reports.

    Attributes:
        train_loss: mean loss of the training examples in this epoch, penalties included.
        score: the answer is that of the epoch with the lowest score; NaN before there is an answer.
        finite: whether the state is still finite; if not, the run ends as diverged.
        more: further numbers of this tuner by name, for the rows.
    """

    train_loss: float | Float[Array, ""]
    score: float | Float[Array, ""]
    finite: bool | Array
    more: dict[str, float | Array] = {}


class Tuner(NamedTuple):
    """A gradient-based tuner of one problem.

    Attributes:
        init: `init(key) -> state`.
        update: `update(key, state) -> (state, measures)`, one epoch. May consume the old state.
        hyperparameters: `hyperparameters(state)` by name, as a training would get them.
        params: `params(state)`, the network's parameters at these hyperparameters: those that `init` of
            `problem.learning.task.network(hyperparameters)` would make.
        epochs: default number of updates.
        limit: largest number of updates for which a state has room; None if there is no limit.
    """

    init: Callable[[PRNGKeyArray], State]
    update: Callable[[PRNGKeyArray, State], tuple[State, Measures]]
    hyperparameters: Callable[[State], dict[str, Value]]
    params: Callable[[State], Any]
    epochs: int
    limit: int | None = None


def check_epochs(tuner: Tuner, epochs: int | None) -> None:
    """Refuse more updates than there is room for."""
    if epochs is not None and tuner.limit is not None and epochs > tuner.limit:
        raise ValueError(f"expected at most {tuner.limit} epochs of this tuner on this problem, got {epochs}; "
                         "ask for fewer")  # fmt: skip


def first_line(error: Exception) -> str:
    """The type of the error and the first line of its message, cut at 200 characters."""
    said = str(error).strip().split("\n", 1)[0]
    return f"{type(error).__name__}: {said[:200]}"


def learning_of(problem: Problem) -> Learning:
    """The training to look into.

    Raises:
        ValueError: there is none.
    """
    if problem.learning is None:
        raise ValueError(f"expected a problem whose training can be looked into, got {problem.name!r}; make it by "
                         "training_problem, or choose a method that only evaluates")  # fmt: skip
    return problem.learning


def updates(key: PRNGKeyArray, tuner: Tuner, epochs: int | None = None) -> Iterator[tuple[State, Measures]]:
    """One state after another, by default for the tuner's number of epochs; a state that is not finite is the last.

    Raises:
        ValueError: more epochs than the tuner has room for.

    Examples:
        >>> from ibo_jax import bilevel
        >>> from ibo_jax.problems import problem
        >>> tuner = bilevel.make("hypernet-local", problem("digits-l2", scale="smoke"))
        >>> [bool(measures.finite) for state, measures in updates(jax.random.key(0), tuner, epochs=2)]
        [True, True]
    """
    check_epochs(tuner, epochs)
    state = tuner.init(key)
    for number in range(tuner.epochs if epochs is None else epochs):
        state, measures = jax.block_until_ready(tuner.update(jax.random.fold_in(key, number), state))
        yield state, measures
        if not measures.finite:
            return
