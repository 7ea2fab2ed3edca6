"""A training as a problem: from a space, a data set and functions of the hyperparameters to something to tune."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ibo_jax import importance
from ibo_jax.outcomes import Outcome, Report
from ibo_jax.problems.base import Problem
from ibo_jax.space import PRESAMPLE_RATIO, Categorical, Fidelity, SearchSpace
from ibo_jax.training import trainer
from ibo_jax.training.augmentation import Augmentation
from ibo_jax.training.datasets import Dataset, check
from ibo_jax.training.networks import Network, as_network
from ibo_jax.types import Array, Hyperparameters, Value

__all__ = ["PRESAMPLE_SHARE", "training_problem"]

PRESAMPLE_SHARE = Fidelity("presample_share", 0.0, 1.0)
"""s = log(B / b) / log(m / b) in [0, 1] for batches of b and m training examples: Algorithm 1 to the letter."""

NOT_TRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


def training_problem(
    name: str,
    space: SearchSpace,
    data: Dataset,
    *,
    network: Callable[[Hyperparameters], Network | Any],
    optimizer: Callable[[Hyperparameters, int], optax.GradientTransformation],
    epochs: int,
    batch_size: Callable[[Hyperparameters], int] | None = None,
    penalty: Callable[[Any, Hyperparameters], Array] | None = None,
    augment: Augmentation | None = None,
    fidelity: Fidelity = PRESAMPLE_RATIO,
    switch: importance.Switch = "published",
    draw: importance.Draw = "multinomial",
    description: str = "",
    evaluations: int = 30,
    initial: int = 5,
) -> Problem:
    """The problem of choosing the hyperparameters with which a network trains best.

    The functions receive hyperparameters by name. Real ones arrive as traced numbers (rates, probabilities, weights:
    a new value never compiles), whole ones and names as plain values (sizes: each combination compiles once).

    Args:
        name: as in the study's folder.
        space: what is searched.
        data: what is trained on, chosen by and reported on; `datasets.split_arrays` makes one of arrays.
        network: the network, a Flax module or an `init`/`apply` pair.
        optimizer: `optimizer(hyperparameters, steps_per_epoch)`, an Optax transformation.
        epochs: length of every training.
        batch_size: default the hyperparameter "batch_size" if the space has one, else 64.
        penalty: `penalty(params, hyperparameters)`, added to the loss.
        augment: `augment(key, inputs)`, on inputs as stored.
        fidelity: the ratio of presample and batch, "presample_ratio", or `PRESAMPLE_SHARE`.
        switch, draw: see `training.trainer.train`.
        description: a line for people.
        evaluations: default total of evaluations.
        initial: default size of the initial design.

    Example:
        >>> from flax import linen
        >>> from ibo_jax.space import Float, Integer
        >>> from ibo_jax.training.datasets import load
        >>> def network(h):
        ...     return linen.Sequential([lambda x: x.reshape(len(x), -1), linen.Dense(h["width"]), linen.relu,
        ...                              linen.Dense(10)])
        >>> problem = training_problem(
        ...     "mine", SearchSpace({"learning_rate": Float(1e-4, 1e-1, log=True), "width": Integer(16, 64)}),
        ...     load("digits"), network=network, optimizer=lambda h, steps: optax.adam(h["learning_rate"]), epochs=5)
        >>> problem.evaluate(0, {"learning_rate": 3e-3, "width": 32}, 2).error < 0.3
        True

    Raises:
        ValueError: the data cannot be trained on; a function needs a hyperparameter that the space lacks or fails on
            its bounds; the network has fewer outputs than there are classes; the largest presample exceeds the
            training set. All of it before anything is trained.
    """
    check(data)
    _check_fidelity(name, fidelity)
    if epochs < 1:
        raise ValueError(f"{name}: expected at least one epoch, got {epochs}; train longer")
    task = trainer.Task(network, optimizer, epochs, batch_size or _default_batch_size(space), penalty, augment)
    for hyperparameters in _corners(space):
        _check_task(name, task, hyperparameters, fidelity, data)

    def evaluate(
        seed: int,
        hyperparameters: Hyperparameters,
        value: float,
        on_epoch: Callable[[int, float], bool] | None = None,
    ) -> Outcome:
        ratio = _presample_ratio(fidelity, value, task.batch_size(hyperparameters), len(data.train_labels))
        return trainer.train(seed, task, hyperparameters, ratio, data, switch=switch, draw=draw, on_epoch=on_epoch)

    def report(seed: int, hyperparameters: Hyperparameters) -> Report:
        return trainer.retrain(seed, task, hyperparameters, data)

    return Problem(
        name, space, evaluate, fidelity, floor=0.5 / len(data.valid_labels), guess=guessing_error(data.valid_labels),
        report=report, description=description, evaluations=evaluations, initial=initial,
        epochs=epochs,
    )  # fmt: skip


def guessing_error(labels: np.ndarray) -> float:
    """Error of always naming the most frequent class."""
    return 1 - float(np.bincount(labels).max()) / len(labels)


def _default_batch_size(space: SearchSpace) -> Callable[[Hyperparameters], int]:
    return (lambda h: int(h["batch_size"])) if "batch_size" in space.names else (lambda h: 64)


def _presample_ratio(fidelity: Fidelity, value: float, batch_size: int, examples: int) -> float:
    if fidelity.name == PRESAMPLE_RATIO.name:
        return value
    return round(batch_size * (examples / batch_size) ** value) / batch_size


def _corners(space: SearchSpace) -> list[dict[str, Value]]:
    """The two corners of the space: all lowest values or first choices, all highest or last."""
    sides: list[dict[str, Value]] = [{}, {}]
    for name, dimension in space.dimensions.items():
        ends = dimension.choices if isinstance(dimension, Categorical) else (dimension.low, dimension.high)
        sides[0][name], sides[1][name] = ends[0], ends[-1]
    return sides


def _check_fidelity(name: str, fidelity: Fidelity) -> None:
    if fidelity.name not in (PRESAMPLE_RATIO.name, PRESAMPLE_SHARE.name):
        raise ValueError(
            f"{name}: expected the fidelity to be named {PRESAMPLE_RATIO.name!r} or {PRESAMPLE_SHARE.name!r}, "
            f"got {fidelity.name!r}; take PRESAMPLE_RATIO, changing its ends with _replace(low=..., high=...)"
        )
    low, high = (1, float("inf")) if fidelity.name == PRESAMPLE_RATIO.name else (0, 1)
    if not low <= fidelity.low <= fidelity.high <= high:
        raise ValueError(
            f"{name}: expected {low} <= low <= high <= {high} of {fidelity.name}, got {fidelity.low} and "
            f"{fidelity.high}; a presample is never smaller than a batch"
        )


def _check_task(
    name: str, task: trainer.Task, hyperparameters: dict[str, Any], fidelity: Fidelity, data: Dataset
) -> None:
    examples, at = len(data.train_labels), f"{name}, at {hyperparameters}"
    with _explained(at, sorted(hyperparameters)):
        batch_size = int(task.batch_size(hyperparameters))
    presample = batch_size * max(1, _presample_ratio(fidelity, fidelity.target, max(batch_size, 1), examples))
    if not 1 <= batch_size <= presample <= examples:
        raise ValueError(
            f"{at}: expected a batch size from 1, and times the largest presample ratio at most the {examples} "
            f"training examples, got {batch_size} and {presample:g}; narrow the batch size or the fidelity"
        )
    rates = {key: value for key, value in hyperparameters.items() if isinstance(value, float)}

    def outputs(rates: dict[str, Array]) -> tuple[Array, Array]:
        h = hyperparameters | rates
        network, inputs = as_network(task.network(h)), jnp.zeros((2, *data.train_inputs.shape[1:]), jnp.float32)
        params = network.init(jax.random.key(0), inputs)
        task.optimizer(h, examples // batch_size).init(params)
        penalty = jnp.zeros(()) if task.penalty is None else jnp.asarray(task.penalty(params, h))
        return network.apply(params, inputs, train=True, key=jax.random.key(0)), penalty

    with _explained(at, sorted(hyperparameters)):
        logits, loss = jax.eval_shape(outputs, rates)
    if len(logits.shape) != 2 or logits.shape[0] != 2 or logits.shape[1] < data.num_classes:
        raise ValueError(
            f"{at}: expected logits (example, class_) for the {data.num_classes} classes of {data.name}, got shape "
            f"{logits.shape} for 2 examples; give the last layer an output for each class"
        )
    if loss.shape:
        raise ValueError(f"{at}: expected the penalty to be one number, got shape {loss.shape}; sum over parameters")


@contextlib.contextmanager
def _explained(at: str, names: list[str]) -> Iterator[None]:
    """Turn what commonly goes wrong in a user's functions into what to do about it."""
    try:
        yield
    except KeyError as error:
        raise ValueError(
            f"{at}: expected the space to have every hyperparameter that the functions read, got no {error}; "
            f"add it to {names}"
        ) from error
    except NOT_TRACEABLE as error:
        raise ValueError(
            f"{at}: expected real hyperparameters to be used as traced numbers only, got Python control flow or a size "
            "made of one; declare it Integer or Categorical, or use jax.numpy"
        ) from error
