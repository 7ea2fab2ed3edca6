"""The second protocol, of tuners that work inside a training: a state and its update, an epoch at a time.

    tuner = self_tuning.tuner(problem)
    for state, measures in updates(key, tuner): ...

A state is a pytree of arrays, so that it can be kept in a checkpoint; an update is a compiled program or a few.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from ibo_jax.types import Array, Float, PRNGKeyArray, Value

__all__ = ["Measures", "Tuner", "updates"]

State = Any


class Measures(NamedTuple):
    """What an update tells.

    Attributes:
        train_loss: mean loss of the training examples in this epoch, penalties included.
        score: what the answer is chosen by, the lowest of all epochs; NaN before there is an answer.
        finite: whether the state still holds numbers; if not, the run ends as diverged.
        more: numbers of this tuner alone by name, for the rows.
    """

    train_loss: float | Float[Array, ""]
    score: float | Float[Array, ""]
    finite: bool | Array
    more: dict[str, float | Array] = {}


class Tuner(NamedTuple):
    """A gradient-based tuner of one problem.

    Attributes:
        init: `init(key) -> state`.
        update: `update(key, state) -> (state, measures)`, one epoch. May use the old state up.
        hyperparameters: `hyperparameters(state)` by name, as a training would get them.
        params: `params(state)`, the network's parameters at these hyperparameters: those that `init` of
            `problem.learning.task.network(hyperparameters)` would make.
        epochs: default number of updates.
    """

    init: Callable[[PRNGKeyArray], State]
    update: Callable[[PRNGKeyArray, State], tuple[State, Measures]]
    hyperparameters: Callable[[State], dict[str, Value]]
    params: Callable[[State], Any]
    epochs: int


def updates(key: PRNGKeyArray, tuner: Tuner, epochs: int | None = None) -> Iterator[tuple[State, Measures]]:
    """One state after another, the tuner's number of epochs by default; one that is not finite is the last.

    Example:
        >>> from ibo_jax import bilevel
        >>> from ibo_jax.problems import problem
        >>> tuner = bilevel.make("hypernet-local", problem("digits-l2", scale="smoke"))
        >>> [bool(measures.finite) for state, measures in updates(jax.random.key(0), tuner, epochs=2)]
        [True, True]
    """
    state = tuner.init(key)
    for number in range(tuner.epochs if epochs is None else epochs):
        state, measures = jax.block_until_ready(tuner.update(jax.random.fold_in(key, number), state))
        yield state, measures
        if not measures.finite:
            return
