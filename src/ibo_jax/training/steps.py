"""One training step, uniform or importance-sampled, and an epoch of them: pure functions to be traced.

The two kinds of step differ only in how the batch is found, so a `lax.cond` chooses the batch and one forward and
backward pass serves both (Katharopoulos and Fleuret, ICML 2018, Algorithm 1).
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Shaped

from ibo_jax import importance
from ibo_jax.numerics import in_float32
from ibo_jax.training.augmentation import Augmentation
from ibo_jax.training.datasets import Dataset
from ibo_jax.training.layers import parted
from ibo_jax.types import Array, Bool, Count, Float, Int, PRNGKeyArray

__all__ = [
    "Epoch", "Examples", "Learner", "Sampling", "State", "Subset", "all_finite", "augmented", "chunk_of", "epoch",
    "evaluate", "in_chunks", "start", "step", "steps_per_epoch",
]  # fmt: skip

CHUNK = 512  # most examples in one forward pass without gradients, which bounds memory
CHUNK_VALUES_CPU = 64 * 32 * 32 * 3  # most input values in one on a CPU, so that it fits the cache: 64 CIFAR images


class Subset(NamedTuple):
    """The first `size` examples in a given order; traced, so that one program trains on subsets of every size."""

    order: Int[Array, "example"]
    size: Int[Array, ""]


class Examples(NamedTuple):
    """Data as stored; the network sees (inputs - mean) / scale, and is trained on `subset` if there is one."""

    inputs: Array
    labels: Int[Array, "example *place"]
    mean: Float[Array, "..."]
    scale: Float[Array, "..."]
    subset: Subset | None = None

    @classmethod
    @in_float32
    def of(cls, data: Dataset, part: Literal["train", "valid", "test"]) -> "Examples":
        """A part of a data set, on the device."""
        inputs, labels = getattr(data, f"{part}_inputs"), getattr(data, f"{part}_labels")
        moments = (np.expand_dims(each, tuple(range(inputs.ndim - np.ndim(each)))) for each in (data.mean, data.scale))
        return cls(*jax.device_put((inputs, labels, *moments)))

    def normalised(self, inputs: Array) -> Float[Array, "example ..."]:
        """Inputs of the data, as stored, as the network sees them."""
        return (inputs.astype(jnp.float32) - self.mean) / self.scale

    def taken(self, index: Int[Array, "taken"]) -> "Examples":
        """Some of them, a batch for example."""
        return self._replace(inputs=self.inputs[index], labels=self.labels[index])


class Learner(NamedTuple):
    """What is trained and how, with hyperparameters filled in (possibly traced)."""

    init: Callable[[PRNGKeyArray, Array], Any]
    apply: Callable[..., Any]  # gives logits, in training perhaps with a penalty, see `networks.Network`
    optimizer: optax.GradientTransformation
    penalty: Callable[[Any], Array] | None = None
    augment: Augmentation | None = None


class Sampling(NamedTuple):
    """How batches are chosen; importance sampling is off if the presample is as large as the batch."""

    batch_size: int
    presample_size: int
    switch: importance.Switch = "published"
    draw: importance.Draw = "multinomial"


class State(NamedTuple):
    """What the next step needs; `tau` is the moving average of the equivalent batch-size ratio."""

    params: Any
    optimizer_state: Any
    tau: Float[Array, ""]


class Batch(NamedTuple):
    """Indices of the examples to train on and their positions in the presample; `tau` is 0 after a uniform draw.

    Indices, not images: those would be copied out of the `lax.cond`, at 4 % of a small network's step.
    """

    indices: Int[Array, "batch"]
    positions: Int[Array, "batch"]
    weights: Float[Array, "batch"]
    tau: Float[Array, ""]


class Epoch(NamedTuple):
    """For people: mean weighted loss (an unbiased estimate of the training loss), last tau, share of steps drawn by
    importance, and whether loss and parameters are `finite`."""

    loss: Float[Array, ""]
    tau: Float[Array, ""]
    importance_share: Float[Array, ""]
    finite: Bool[Array, ""]


def steps_per_epoch(examples: Examples, batch_size: int) -> Count:
    """Updates in an epoch; a traced number if the examples are a subset."""
    population = len(examples.labels) if examples.subset is None else examples.subset.size
    return population // batch_size


def start(key: PRNGKeyArray, learner: Learner, shape: tuple[int, ...]) -> State:
    """Fresh parameters for examples of `shape` and the optimiser's state: one program instead of dozens."""
    params = learner.init(key, jnp.zeros((1, *shape), jnp.float32))
    return State(params, learner.optimizer.init(params), jnp.zeros((), jnp.float32))


def step(
    key: PRNGKeyArray, state: State, examples: Examples, learner: Learner, sampling: Sampling
) -> tuple[State, tuple[Float[Array, ""], Bool[Array, ""]]]:
    """One update; also returns the weighted batch loss and whether the batch was drawn by importance."""
    key_batch, key_augment, key_dropout = jax.random.split(key, 3)

    def see(index: Array, positions: Array) -> Array:
        return _see(key_augment, index, positions, examples, learner.augment)

    batch, by_importance = _choose(key_batch, see, state, examples, learner, sampling)
    inputs, labels = see(batch.indices, batch.positions), examples.labels[batch.indices]

    def objective(params: Any) -> tuple[Array, tuple[Array, Array]]:
        logits, punished = parted(learner.apply(params, inputs, train=True, key=key_dropout))
        data_loss = jnp.mean(batch.weights * _of_example(importance.loss(logits, labels)))
        penalty = 0.0 if learner.penalty is None else learner.penalty(params)  # never weighted by importance
        return data_loss + jnp.mean(batch.weights * punished) + penalty, (data_loss, logits)

    gradient, (data_loss, logits) = jax.grad(objective, has_aux=True)(state.params)
    updates, optimizer_state = learner.optimizer.update(gradient, state.optimizer_state, state.params)
    params = optax.apply_updates(state.params, updates)
    batch_tau = importance.tau(_of_example(importance.upper_bound(logits, labels)))
    tau = importance.moving_average(state.tau, jnp.where(by_importance, batch.tau, batch_tau))
    return State(params, optimizer_state, tau), (data_loss, by_importance)


def epoch(
    key: PRNGKeyArray, state: State, examples: Examples, learner: Learner, sampling: Sampling, steps: int
) -> tuple[State, Epoch]:
    """`steps` updates in one loop, fewer where a subset has not as many batches."""
    count = steps if examples.subset is None else jnp.minimum(steps, steps_per_epoch(examples, sampling.batch_size))

    def body(i: Array, carry: tuple[State, Array, Array]) -> tuple[State, Array, Array]:
        state, losses, drawn = carry
        state, (loss, by_importance) = step(jax.random.fold_in(key, i), state, examples, learner, sampling)
        return state, losses + loss.astype(jnp.float32), drawn + by_importance

    zero = jnp.zeros((), jnp.float32)
    state, losses, drawn = jax.lax.fori_loop(0, count, body, (state, zero, zero))
    loss = losses / count
    return state, Epoch(loss, state.tau, drawn / count, all_finite((loss, state.params)))


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether no leaf holds NaN or infinity.

    Examples:
        >>> bool(all_finite({"kernel": jnp.ones((2, 3)), "bias": jnp.array([0.0, jnp.inf])}))
        False
    """
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def evaluate(params: Any, examples: Examples, learner: Learner) -> tuple[Int[Array, ""], Float[Array, ""]]:
    """Number of wrong predictions and mean loss, in evaluation mode."""

    def judge(index: Array) -> tuple[Array, Array]:
        logits = learner.apply(params, examples.normalised(examples.inputs[index]), train=False, key=None)
        labels = examples.labels[index]
        return jnp.argmax(logits, axis=-1) != labels, importance.loss(logits, labels)

    wrong, losses = in_chunks(judge, jnp.arange(len(examples.labels), dtype=jnp.int32), chunk_of(examples))
    return jnp.sum(wrong, dtype=jnp.int32), jnp.mean(losses)


def chunk_of(examples: Examples) -> int:
    """Examples in one forward pass without gradients. On CPU scoring by a convolutional network is a third faster in
    chunks of 64, by a small one twice as slow."""
    if jax.default_backend() != "cpu":
        return CHUNK
    values = examples.inputs.size // len(examples.labels)
    return min(CHUNK, max(1, CHUNK_VALUES_CPU // values))


def in_chunks(function: Callable[[Array], Any], values: Array, limit: int) -> Any:
    """`function(values)` for a function of each row by itself, on at most `limit` rows at a time."""
    count = -(-len(values) // limit)
    if count == 1:
        return function(values)
    size = -(-len(values) // count)
    padding = jnp.broadcast_to(values[:1], (count * size - len(values), *values.shape[1:]))
    chunks = jnp.concatenate([values, padding]).reshape(count, size, *values.shape[1:])
    results = jax.lax.map(function, chunks)
    return jax.tree.map(lambda leaf: leaf.reshape(count * size, *leaf.shape[2:])[: len(values)], results)


def _choose(
    key: PRNGKeyArray, see: Callable[[Array, Array], Array], state: State, examples: Examples, learner: Learner,
    sampling: Sampling,
) -> tuple[Batch, Bool[Array, ""]]:  # fmt: skip
    size, subset = sampling.batch_size, examples.subset

    def draw(key: PRNGKeyArray, count: int) -> Int[Array, "example"]:
        index = importance.presample(key, len(examples.labels) if subset is None else subset.size, count)
        return index if subset is None else subset.order[index]

    def uniform(key: PRNGKeyArray) -> Batch:
        index, positions = draw(key, size), jnp.arange(size, dtype=jnp.int32)
        return Batch(index, positions, jnp.ones(size, jnp.float32), jnp.zeros((), jnp.float32))

    def by_importance(key: PRNGKeyArray) -> Batch:
        key_pool, key_draw = jax.random.split(key)
        pool = draw(key_pool, sampling.presample_size)

        def score(positions: Array) -> Array:
            index = pool[positions]
            logits = learner.apply(state.params, see(index, positions), train=False, key=None)
            return _of_example(importance.upper_bound(logits, examples.labels[index]))

        scores = in_chunks(score, jnp.arange(sampling.presample_size, dtype=jnp.int32), chunk_of(examples))
        positions, weights = importance.resample(key_draw, scores, size, method=sampling.draw)
        return Batch(pool[positions], positions, weights, importance.tau(scores))

    if sampling.presample_size == size:
        return uniform(key), jnp.zeros((), bool)
    pays = importance.pays(state.tau, sampling.presample_size, size, sampling.switch)
    return jax.lax.cond(pays, by_importance, uniform, key), pays


def augmented(keys: Shaped[Array, "example ..."], inputs: Array, augment: Callable[..., Array], *own: Any) -> Array:
    """Inputs changed one by one, each with its own key and its own part of further arguments, as stored."""
    return jax.vmap(lambda key, single, *own: augment(key, single[None], *own)[0])(keys, inputs, *own)


def _see(key: PRNGKeyArray, index: Array, positions: Array, examples: Examples, augment: Augmentation | None) -> Array:
    """Inputs as the network sees them; a position in the presample is augmented in one way, scored or trained on."""
    inputs = examples.inputs[index]
    if augment is not None:
        inputs = augmented(jax.vmap(jax.random.fold_in, (None, 0))(key, positions), inputs, augment)
    return examples.normalised(inputs)


def _of_example(values: Array) -> Array:
    """Means over the places of an example with several labels, such as a window of text; for norms this is a bound."""
    return values.mean(range(1, values.ndim))
