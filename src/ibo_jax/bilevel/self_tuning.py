"""Self-Tuning Networks: hyperparameters follow the validation loss while one network trains (MacKay et al., ICLR 2019).

The network's weights are a structured best response w(u) to the unconstrained hyperparameters u (`best_response`,
`relaxation`). Two steps alternate:

    training     phi descends E_e L_T(u + e, w_phi(u + e)), every example with its own e ~ N(0, sigma^2)
    validation   u and sigma descend E_e L_V(w_phi(u + e)) - tau H(e), through the best response alone

so that no derivative of the training loss with respect to a hyperparameter is ever taken: dropout rates, numbers of
holes and the like may enter it in any way. Hyperparameters of the optimiser do not enter w and cannot be tuned.

The layers see u minus its start. Published networks see u itself; then what the weights learn through V u at the start,
as through any weights, looks like a response, and u is driven away from zero whatever it stands for.
"""

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from ibo_jax.bilevel import alternation, relaxation
from ibo_jax.bilevel.alternation import Settings, State
from ibo_jax.bilevel.base import Measures, Tuner, first_line, learning_of
from ibo_jax.numerics import in_float32
from ibo_jax.problems.base import Problem
from ibo_jax.problems.checks import NOT_TRACEABLE
from ibo_jax.space import Integer, SearchSpace
from ibo_jax.training.steps import Examples
from ibo_jax.types import AnyArray, Float, Hyperparameters, PRNGKeyArray, Value

__all__ = ["Settings", "State", "schedule", "tuner"]

START = 0.05  # share of each range: little regularisation, as published


def tuner(
    problem: Problem, *, start: Hyperparameters | None = None, epochs: int | None = None, **settings: Any
) -> Tuner:
    """The self-tuning network of a problem; an update is an epoch of training steps with validation steps in between.

    The score is the validation loss, in evaluation mode, of the weights at the current hyperparameters.

    Args:
        problem: made by `training_problem` with a Flax Linen network. It may be built with vectors, a value for each
            example: `training.layers.of_examples(h["noise"], x)` puts one along the first axis of `x`.
        start: initial hyperparameters; default 5 % of each range.
        epochs: default five times the epochs of one training of the problem. Where its learning rate follows a
            schedule to zero in those, the weights stay still for the rest: let it last.
        settings: fields of `Settings`.

    Examples:
        >>> from ibo_jax.problems import problem
        >>> tuned = tuner(problem("digits-dropout", scale="smoke"), warm_up=1)
        >>> state, measures = tuned.update(jax.random.key(1), tuned.init(jax.random.key(0)))
        >>> bool(measures.finite), sorted(tuned.hyperparameters(state))
        (True, ['dropout_0', 'dropout_1'])

    Raises:
        ValueError: a hyperparameter has unordered choices, belongs to the optimiser or is a size; the network has no
            layers that respond; a setting is negative; there is no epoch.
    """
    if unknown := sorted(settings.keys() - set(Settings._fields)):
        raise ValueError(f"expected settings among {Settings._fields}, got {unknown}; drop those")
    chosen = Settings(**settings)
    _check(chosen)
    if epochs is not None and epochs < 1:
        raise ValueError(f"{problem.name}: expected at least one epoch, got {epochs}; train longer")
    (task, data), space = learning_of(problem), problem.space
    first = relaxation.unconstrained(
        space, start if start is not None else space.decode([START] * space.dimension), chosen.half_lines
    )
    training, judging = Examples.of(data, "train"), Examples.of(data, "valid")
    with _explained(problem):
        batch_size = int(task.batch_size({}))
    turns = max(1, len(data.train_labels) // batch_size // chosen.train_steps)
    game = alternation.Game(task, space, chosen, first, batch_size, turns)
    run_init, run_update = jax.jit(partial(alternation.init, game)), jax.jit(partial(alternation.epoch, game))
    with jax.enable_x64(False), _explained(problem):
        state = jax.eval_shape(run_init, jax.random.key(0), training)
        jax.eval_shape(run_update, jax.random.key(0), state, training, judging)
        other = game._replace(batch_size=batch_size + 1)  # a vector of a batch may fit an axis of as many features
        jax.eval_shape(partial(alternation.epoch, other), jax.random.key(0), state, training, judging)

    @in_float32
    def init(key: PRNGKeyArray) -> State:
        return run_init(key, training)

    @in_float32
    def update(key: PRNGKeyArray, state: State) -> tuple[State, Measures]:
        return run_update(key, state, training, judging)

    @in_float32
    def hyperparameters(state: State) -> dict[str, Value]:
        named = relaxation.by_name(space, state.upper[0], chosen.half_lines)
        return {name: (int if isinstance(space.dimensions[name], Integer) else float)(named[name]) for name in named}

    @in_float32
    def params(state: State) -> Any:
        return game.plain(state.params, state.upper[0])

    return Tuner(init, update, hyperparameters, params, epochs or 5 * task.epochs)


def schedule(space: SearchSpace, paths: Sequence[AnyArray]) -> dict[str, Float[np.ndarray, "epoch step"]]:
    """The hyperparameters as they were learnt, by name, from the `path` of each epoch's state; see `replay`."""
    return dict(zip(space.names, np.moveaxis(np.stack([np.asarray(path) for path in paths]), -1, 0), strict=True))


def _check(settings: Settings) -> None:
    counts = (settings.warm_up, settings.train_steps - 1, settings.valid_steps - 1, settings.entropy or 0.0)
    rates = (settings.rate, settings.scale_rate, settings.scale)
    if min(counts) < 0 or min(rates) <= 0:
        raise ValueError(f"expected positive steps, rates and scales, no negative warm-up or entropy, got {settings}; "
                         "change those")  # fmt: skip


@contextlib.contextmanager
def _explained(problem: Problem) -> Iterator[None]:
    """The first trace shows which hyperparameters cannot be tuned."""
    try:
        yield
    except KeyError as error:
        if error.args[0] not in problem.space.names:
            raise
        raise ValueError(f"{problem.name}: expected the optimiser and the batch size to be fixed, got {error} among "
                         "the hyperparameters, to which no weights respond; fix it, or choose another tuner"
                         ) from error  # fmt: skip
    except (*NOT_TRACEABLE, TypeError, ValueError) as error:
        if isinstance(error, ValueError) and "shapes for broadcasting" not in str(error):
            raise
        raise ValueError(f"{problem.name}: expected hyperparameters that may differ from example to example (rates, "
                         f"probabilities, weights) among {list(problem.space.names)}, got a size, a choice, a vector "
                         f"of a batch that `layers.of_examples` was not applied to, or a fault of the training itself "
                         f"({first_line(error)}); fix it, or choose another tuner"
                         ) from error  # fmt: skip
