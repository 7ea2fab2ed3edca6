"""A training as a problem: from a space, a data set and functions of the hyperparameters to something to tune."""

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import optax

from ibo_jax.importance import Draw, Switch
from ibo_jax.outcomes import Outcome, Report
from ibo_jax.problems.axes import PRESAMPLE_SHARE, TASK, TASK_SHARE, Sample, check_axis, sample_of, subset_sizes
from ibo_jax.problems.base import Learning, Problem
from ibo_jax.problems.checks import check_settings, check_task
from ibo_jax.space import PRESAMPLE_RATIO, Categorical, Fidelity, Float, Integer, SearchSpace
from ibo_jax.training import trainer
from ibo_jax.training.datasets import Dataset, check, fingerprint, guessing_error
from ibo_jax.training.networks import Network
from ibo_jax.types import Array, Axis, Count, Hyperparameters, Importance, PRNGKeyArray, Value

__all__ = ["PRESAMPLE_SHARE", "training_problem"]

BATCH_SIZE = 64


def training_problem(
    name: str,
    space: SearchSpace,
    data: Dataset,
    *,
    network: Callable[[Hyperparameters], Network | Any],
    optimizer: Callable[[Hyperparameters, Count], optax.GradientTransformation],
    epochs: int,
    batch_size: int | Callable[[Hyperparameters], int] | None = None,
    penalty: Callable[[Any, Hyperparameters], Array] | None = None,
    augment: Callable[[PRNGKeyArray, Array, Hyperparameters], Array] | None = None,
    fidelity: Fidelity = PRESAMPLE_RATIO,
    switch: Switch = "published",
    draw: Draw = "multinomial",
    description: str = "",
    evaluations: int = 30,
    initial: int = 5,
) -> Problem:
    """The problem of choosing the hyperparameters with which a network trains best.

    The functions receive hyperparameters by name. Real ones arrive as traced numbers (rates, probabilities, weights:
    a new value never compiles), integers and names as plain values (sizes: each combination compiles once).

    Args:
        name: used in the study's folder.
        space: what is searched.
        data: data to train on, to choose by and to report on; `datasets.split_arrays` makes it from arrays.
        network: `network(hyperparameters)`, a Flax module or an `init`/`apply` pair.
        optimizer: `optimizer(hyperparameters, steps_per_epoch)`, an Optax transformation. A schedule that compares its
            peak with 0, as Optax's warm-up schedules do, takes a peak of 1; scale by the rate after it:
            `optax.chain(optax.scale_by_adam(), optax.scale_by_schedule(schedule), optax.scale(-h["learning_rate"]))`.
        epochs: length of every training.
        batch_size: by default the hyperparameter "batch_size" if the space has one, else 64 or, if that is smaller,
            a sixth of the training set.
        penalty: `penalty(params, hyperparameters)`, added to the loss.
        augment: `augment(key, inputs, hyperparameters)`, applied to inputs as stored, one example at a time:
            `inputs` is a batch of one, so that mixing examples does nothing.
        fidelity: the ratio of presample to batch, "presample_ratio", or `PRESAMPLE_SHARE`.
        switch: when importance sampling starts, see `training.trainer.train`.
        draw: how a batch is drawn from the presample, see there.
        description: a line for people.
        evaluations: default total of evaluations.
        initial: default size of the initial design.

    Examples:
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
            training set. All of this is checked before anything is trained.
    """
    check_settings(name, space, data, fidelity, network, optimizer, epochs)
    for what, asked, known in (("switch", switch, get_args(Switch)), ("draw", draw, get_args(Draw))):
        if asked not in known:
            raise ValueError(f"{name}: expected a {what} among {known}, got {asked!r}; choose one of them")
    check(data)
    check_axis(name, fidelity)
    corners, examples = _corners(space), len(data.train_labels)
    sizes = _batch_sizes(batch_size, space, examples)
    task = trainer.Task(network, optimizer, epochs, sizes, penalty, augment)
    trained = [check_task(name, task, hyperparameters, fidelity, data) for hyperparameters in corners]

    def view(axis: Axis, importance: Importance) -> Problem:
        smallest = max(task.batch_size(hyperparameters) for hyperparameters in corners)
        part = TASK if axis == "task" else subset_sizes(smallest, examples)
        if axis == "task" and int(TASK_SHARE * examples) < smallest:  # the whole set holds one, as checked above
            raise ValueError(f"{name}: expected a quarter of the {examples} training examples to hold the largest "
                             f"batch, got one of {smallest}; narrow the batch size")  # fmt: skip
        for hyperparameters in corners:
            check_task(name, task, hyperparameters, part, data, on_subsets=True)
        return made(_Training(task, data, space, switch, draw, part, importance))

    def made(training: _Training) -> Problem:
        # if the fidelity is a share, every step at the target would score the whole training set
        plain = training.importance == "off" or training.fidelity.name == PRESAMPLE_SHARE.name
        return Problem(
            name, space, training.evaluate, training.fidelity, floor=0.5 / data.valid_labels.size,
            guess=guessing_error(data.valid_labels), report=training.report,
            report_as_trained=None if plain else training.report_as_trained, view=view, description=description,
            evaluations=evaluations, initial=initial, epochs=epochs, learning=Learning(task, data),
            setup={"training_examples": examples, "validation_examples": len(data.valid_labels),
                   "data": fingerprint(data), "trained": trained, "switch": switch, "draw": draw},
        )  # fmt: skip

    return made(_Training(task, data, space, switch, draw, fidelity, "searched"))


class _Training(NamedTuple):
    """What a problem does at a point; the fidelity says how many examples are scored, or which are trained on."""

    task: trainer.Task
    data: Dataset
    space: SearchSpace
    switch: Switch
    draw: Draw
    fidelity: Fidelity
    importance: Importance

    def evaluate(
        self,
        seed: int,
        hyperparameters: Hyperparameters,
        value: float,
        on_epoch: Callable[[int, float], bool] | None = None,
    ) -> Outcome:
        hyperparameters = self._typed(hyperparameters)
        ratio, subset_size = self._sample(seed, hyperparameters, value)
        return trainer.train(
            seed, self.task, hyperparameters, ratio, self.data, switch=self.switch, draw=self.draw,
            subset_size=subset_size, on_epoch=on_epoch,
        )  # fmt: skip

    def report(self, seed: int, hyperparameters: Hyperparameters) -> Report:
        return trainer.retrain(seed, self.task, self._typed(hyperparameters), self.data)

    def report_as_trained(self, seed: int, hyperparameters: Hyperparameters) -> Report:
        hyperparameters = self._typed(hyperparameters)
        ratio = self._sample(seed, hyperparameters, self.fidelity.target).presample_ratio
        return trainer.retrain(
            seed, self.task, hyperparameters, self.data, presample_ratio=ratio, switch=self.switch, draw=self.draw,
        )  # fmt: skip

    def _typed(self, hyperparameters: Hyperparameters) -> dict[str, Value]:
        """In the order of the space, with numbers of their dimension's kind, however they are written: 4.0 is no width,
        and each rate written as an integer would need its own program."""
        dimensions, known = self.space.dimensions, dict(hyperparameters)
        for name in known.keys() & dimensions.keys():
            if isinstance(dimensions[name], Float):
                known[name] = float(known[name])
            elif isinstance(dimensions[name], Integer) and float(known[name]).is_integer():
                known[name] = int(known[name])
        return {name: known[name] for name in dict.fromkeys((*self.space.names, *known)) if name in known}

    def _sample(self, seed: int, hyperparameters: Hyperparameters, value: float) -> Sample:
        batch_size = self.task.batch_size(hyperparameters)
        return sample_of(self.fidelity, value, self.importance, seed, batch_size, len(self.data.train_labels))


def _batch_sizes(
    given: int | Callable[[Hyperparameters], int] | None, space: SearchSpace, examples: int
) -> Callable[[Hyperparameters], int]:
    if callable(given):
        return given
    if given is None and "batch_size" in space.names:
        return lambda h: int(h["batch_size"])
    size = max(1, min(BATCH_SIZE, examples // int(PRESAMPLE_RATIO.target))) if given is None else given
    return lambda h: size


def _corners(space: SearchSpace) -> list[dict[str, Value]]:
    """Corners of the space: all lowest values, all highest, and between them enough to include every choice."""
    ends = {name: dimension.choices if isinstance(dimension, Categorical) else (dimension.low, dimension.high)
            for name, dimension in space.dimensions.items()}  # fmt: skip
    ends |= {name: tuple(map(float, ends[name])) for name, dim in space.dimensions.items() if isinstance(dim, Float)}
    count = max(map(len, ends.values()), default=2)
    return [{name: values[min(corner, len(values) - 1)] for name, values in ends.items()} for corner in range(count)]
