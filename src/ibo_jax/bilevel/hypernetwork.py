"""A hypernetwork as the tuner of a problem: `tuner(problem, algorithm="global" | "local")`.

The hypernet sees every hyperparameter on the scale on which it is searched, from -1 at its lowest to 1 at its highest
value. The training loss is that of the problem's trainings, with dropout, penalty and augmentation; the validation loss
is cross-entropy in evaluation mode.

Lorraine and Duvenaud, arXiv 1802.09419 (2018), Algorithms 2 and 3.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ibo_jax import importance
from ibo_jax.bilevel import coordinates, hypernets, hypertraining
from ibo_jax.bilevel.base import Measures, Tuner, first_line, learning_of
from ibo_jax.bilevel.hypertraining import State, Update
from ibo_jax.numerics import in_float32
from ibo_jax.problems.base import Problem
from ibo_jax.problems.checks import NOT_TRACEABLE
from ibo_jax.space import SearchSpace
from ibo_jax.training.augmentation import Augmentation
from ibo_jax.training.layers import parted
from ibo_jax.training.steps import Examples, Learner, all_finite, augmented, evaluate
from ibo_jax.types import AnyArray, Array, Float, PRNGKeyArray, Value

__all__ = ["Algorithm", "tuner"]

Algorithm = Literal["global", "local"]
Vector = Float[Array, "hyperparameter"]
FEW_PARAMETERS = 20_000  # of the network: up to this many, a hypernet with a hidden layer of 50 costs little
GLOBAL_SHARE = 0.8  # of the epochs for the first phase


class _Training(NamedTuple):
    """A problem's training as functions of hyperparameters in [-1, 1].

    A batch is a pair: examples, after the key of their dropout or after the hyperparameters in use.
    """

    init: Callable[[PRNGKeyArray], Any]
    train_loss: Callable[[Any, Vector, tuple[PRNGKeyArray, Examples]], Array]
    valid_loss: Callable[[Any, tuple[Vector, Examples]], Array]
    evaluate: Callable[[Any, Vector, Examples], tuple[Array, Array]]
    batch_size: int


def tuner(
    problem: Problem,
    algorithm: Algorithm = "local",
    *,
    epochs: int | None = None,
    response_rate: float = 1e-3,
    hyper_rate: float = 1e-2,
    scale: float = 0.25,
    samples: int = 1,
    hidden: tuple[int, ...] | None = None,
) -> Tuner:
    """The tuner of a problem whose hyperparameters are numbers that act through the training loss.

    `score` is the validation loss of the response to the current hyperparameters; `train_loss` is NaN in epochs without
    training, as in the second phase of "global".

    Args:
        algorithm: "global" learns the response everywhere during the first four fifths of the epochs and then follows
            it, for at least the last one; "local" does both in every step.
        epochs: number of updates, by default that of the problem's trainings.
        response_rate: Adam's learning rate for the hypernet.
        hyper_rate: Adam's learning rate for the hyperparameters.
        scale: standard deviation of the hyperparameters that "local" draws, on a range of length 2.
        samples: hyperparameters drawn per step.
        hidden: widths of the hypernet's hidden layers, by default one of 50 for a small network, none for a large one.

    Raises:
        ValueError: a number is out of range, or a hyperparameter has unordered choices, determines a shape, the batch
            size or control flow, or does not change the training loss (as a learning rate does not).
    """
    if algorithm not in get_args(Algorithm):
        raise ValueError(f"expected an algorithm among {get_args(Algorithm)}, got {algorithm!r}; choose one of them")
    if min(response_rate, hyper_rate, scale) < 0 or min(samples, 1 if epochs is None else epochs) < 1:
        raise ValueError(f"expected no negative rate or scale, at least one sample and one epoch, got {response_rate}, "
                         f"{hyper_rate}, {scale}, {samples} and {epochs}; change those")  # fmt: skip
    (task, data), dimension = learning_of(problem), len(problem.space.names)
    training = _training(problem)
    seen, judged = Examples.of(data, "train"), Examples.of(data, "valid")
    _check_that_each_acts(problem, training, seen.taken(jnp.arange(training.batch_size)))
    count, epochs = len(data.train_labels) // training.batch_size, epochs or task.epochs
    if algorithm == "global" and epochs < 2:
        raise ValueError(f"{problem.name}: expected an epoch to learn the response and one to follow it, got {epochs}; "
                         "train longer, or choose hypernet-local")  # fmt: skip
    with jax.enable_x64(False):
        if hidden is None:
            sizes = jax.tree.leaves(jax.eval_shape(training.init, jax.random.key(0)))
            hidden = (50,) if sum(leaf.size for leaf in sizes) <= FEW_PARAMETERS else ()
        hypernet = hypernets.mlp(training.init, dimension, hidden, scale=0.0)  # else the first hyper steps follow noise
    conditional = hypertraining.everywhere(-1, 1) if algorithm == "global" else hypertraining.nearby(scale)
    made = hypertraining.steps(
        hypernet, training.train_loss, training.valid_loss, hypertraining.clipped(conditional, -1, 1),
        optax.adam(response_rate), optax.adam(hyper_rate), samples=samples, bounds=(-1, 1),
    )  # fmt: skip
    responses = min(max(1, round(GLOBAL_SHARE * epochs)), epochs - 1) * count
    update = hypertraining.global_update(made, responses) if algorithm == "global" else hypertraining.local_update(made)

    def run_epoch(key: PRNGKeyArray, state: State, seen: Examples, judged: Examples) -> tuple[State, Measures]:
        state, train_loss = _epoch(key, state, update, count, training.batch_size, seen, judged)
        _, loss = training.evaluate(hypernet.apply(state.phi, state.lam), state.lam, judged)
        return state, Measures(train_loss, loss, all_finite((loss, state)))

    start = jax.jit(lambda key: made.init(key, jnp.zeros(dimension, jnp.float32)))
    epoch = jax.jit(run_epoch)  # not donated: the old state must be there to save when an epoch is interrupted
    respond = jax.jit(lambda state: hypernet.apply(state.phi, state.lam))
    return Tuner(
        in_float32(start),
        in_float32(lambda key, state: epoch(key, state, seen, judged)),
        lambda state: _decoded(problem.space, np.asarray(state.lam)),
        in_float32(respond),
        epochs,
    )


def _epoch(
    key: PRNGKeyArray, state: State, update: Update, count: int, batch_size: int, seen: Examples, judged: Examples
) -> tuple[State, Float[Array, ""]]:
    """`count` updates in one loop, on batches drawn with replacement; also the mean training loss."""

    def drawn(key: PRNGKeyArray, examples: Examples) -> Examples:
        return examples.taken(importance.presample(key, len(examples.labels), batch_size))

    def body(i: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
        state, total = carry
        key_train, key_valid, key_loss, key_step = jax.random.split(jax.random.fold_in(key, i), 4)
        batches = (key_loss, drawn(key_train, seen)), (state.lam, drawn(key_valid, judged))
        state, (train_loss, _) = update(key_step, state, *batches)
        return state, total + train_loss

    state, total = jax.lax.fori_loop(0, count, body, (state, jnp.zeros((), jnp.float32)))
    return state, total / count


def _training(problem: Problem) -> _Training:
    task, data = problem.learning  # type: ignore[misc]
    batch_size = _batch_size(problem)
    shape = data.train_inputs.shape[1:]

    def learner(lam: Vector) -> Learner:
        return task.learner(_named(problem.space, lam), len(data.train_labels) // batch_size)

    def init(key: PRNGKeyArray) -> Any:
        return learner(jnp.zeros(len(problem.space.names), jnp.float32)).init(key, jnp.zeros((1, *shape), jnp.float32))

    def train_loss(params: Any, lam: Vector, batch: tuple[PRNGKeyArray, Examples]) -> Array:
        (key, examples), taught = batch, learner(lam)
        key_augment, key_dropout = jax.random.split(key)
        inputs = _seen(key_augment, examples, taught.augment)
        logits, punished = parted(taught.apply(params, inputs, train=True, key=key_dropout))
        penalty = 0.0 if taught.penalty is None else taught.penalty(params)
        return jnp.mean(importance.loss(logits, examples.labels)) + jnp.mean(punished) + penalty

    def valid_loss(params: Any, batch: tuple[Vector, Examples]) -> Array:
        lam, examples = batch  # as data: a network may use them in evaluation mode too, but no gradient flows through
        logits = learner(lam).apply(params, examples.normalised(examples.inputs), train=False, key=None)
        return jnp.mean(importance.loss(logits, examples.labels))

    def judge(params: Any, lam: Vector, examples: Examples) -> tuple[Array, Array]:
        return evaluate(params, examples, learner(lam))

    return _Training(init, train_loss, valid_loss, judge, batch_size)


def _seen(key: PRNGKeyArray, examples: Examples, augment: Augmentation | None) -> Array:
    """Inputs as the network sees them, each augmented separately."""
    inputs = examples.inputs
    if augment is not None:
        inputs = augmented(jax.random.split(key, len(inputs)), inputs, augment)
    return examples.normalised(inputs)


def _batch_size(problem: Problem) -> int:
    task, dimension = problem.learning.task, len(problem.space.names)  # type: ignore[union-attr]
    sizes = {int(task.batch_size(_decoded(problem.space, np.full(dimension, end)))) for end in (-1.0, 1.0)}
    if len(sizes) > 1:
        raise ValueError(f"{problem.name}: expected one batch size, got {sorted(sizes)} at the ends of the space; fix "
                         "it, or choose a method that only evaluates")  # fmt: skip
    return sizes.pop()


def _named(space: SearchSpace, lam: Float[AnyArray, "hyperparameter"]) -> dict[str, Array]:
    low, high = coordinates.shares(space)
    return coordinates.floored(space, coordinates.by_name(space, low + (high - low) * (lam + 1) / 2))


def _decoded(space: SearchSpace, lam: Float[np.ndarray, "hyperparameter"]) -> dict[str, Value]:
    return coordinates.as_numbers(space, _named(space, lam))


@in_float32
def _check_that_each_acts(problem: Problem, training: _Training, batch: Examples) -> None:
    """Each hyperparameter must give different losses at its two ends, all else equal."""
    names, key = problem.space.names, jax.random.key(0)
    ends = np.stack([-np.eye(len(names)), np.eye(len(names))]).astype(np.float32)

    def losses(ends: Array, batch: Examples) -> Array:
        params = jax.tree.map(lambda leaf: leaf + 0.1, training.init(key))  # not zero, where penalties have no effect
        return jax.vmap(jax.vmap(lambda lam: training.train_loss(params, lam, (key, batch))))(ends)

    try:
        low, high = jax.jit(losses)(ends, batch)
    except (*NOT_TRACEABLE, TypeError) as error:
        raise ValueError(f"{problem.name}: expected hyperparameters that can be used as traced numbers, got a size or "
                         f"Python control flow made of one of {list(names)}, or a fault of the training itself "
                         f"({first_line(error)}); fix it, or choose a method that only evaluates"
                         ) from error  # fmt: skip
    idle = [name for name, a, b in zip(names, low, high, strict=True) if a == b]
    if idle:
        raise ValueError(f"{problem.name}: expected hyperparameters that change the training loss, got {idle}, which "
                         "act otherwise or not at all; fix them, or choose a method that only evaluates")  # fmt: skip
