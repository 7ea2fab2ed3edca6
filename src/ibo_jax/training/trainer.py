"""Trains one configuration, uniformly or by importance sampling, and reports what it reached and what it cost.

Everything runs in float32 (or what the network chooses) whatever the caller's x64 mode, in one compiled program per
epoch with the data on the device. The same arguments on the same machine give the same bits.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from ibo_jax import importance
from ibo_jax.outcomes import Outcome, Report
from ibo_jax.training.datasets import Dataset, guessing_error, merged
from ibo_jax.training.networks import Network, Params, as_network
from ibo_jax.training.programs import Programs, compiled, split
from ibo_jax.training.steps import Examples, Learner, Sampling, Subset
from ibo_jax.types import Array, Count, Hyperparameters, PRNGKeyArray

__all__ = ["Task", "retrain", "train"]

PASSES = 3  # forward-equivalents of a forward and backward pass


@dataclass(frozen=True)
class Task:
    """How hyperparameters become a training. Make one and keep it: compiled programs are looked up by it.

    The functions receive hyperparameters by name. Real numbers arrive as traced arrays, so they may be rates,
    probabilities and weights but not sizes; integers, names and flags arrive as they are.

    Attributes:
        network: the network (an `init`/`apply` pair or a Flax module).
        optimizer: `optimizer(hyperparameters, steps_per_epoch)`, an Optax transformation.
        epochs: number of epochs, each of len(train) // batch_size steps.
        batch_size: examples per step.
        penalty: `penalty(params, hyperparameters)`, added to the loss and never weighted by importance.
        augment: `augment(key, images, hyperparameters)` on raw images as stored; called with one image at a time,
            under `vmap`.
    """

    network: Callable[[Hyperparameters], Network | Any]
    optimizer: Callable[[Hyperparameters, Count], optax.GradientTransformation]
    epochs: int
    batch_size: Callable[[Hyperparameters], int]
    penalty: Callable[[Any, Hyperparameters], Array] | None = None
    augment: Callable[[PRNGKeyArray, Array, Hyperparameters], Array] | None = None

    def learner(self, hyperparameters: Mapping[str, Any], steps_per_epoch: Count) -> Learner:
        """The task with hyperparameters filled in, the real ones as arrays, traced ones included."""
        network = as_network(self.network(hyperparameters))
        optimizer = self.optimizer(hyperparameters, steps_per_epoch)
        penalty, augment = self.penalty, self.augment
        bound = None if penalty is None else lambda params: penalty(params, hyperparameters)
        change = None if augment is None else lambda key, images: augment(key, images, hyperparameters)
        return Learner(network.init, network.apply, optimizer, bound, change)


class _Measured(NamedTuple):
    """One epoch as numbers; `seconds` is the training time so far, `params` are valid until the next epoch begins."""

    error: float
    loss: float
    train_loss: float
    tau: float
    importance_share: float
    seconds: float
    finite: bool
    params: Params


def train(
    seed: int,
    task: Task,
    hyperparameters: Hyperparameters,
    presample_ratio: float | int,
    data: Dataset,
    *,
    switch: importance.Switch = "published",
    draw: importance.Draw = "multinomial",
    subset_size: int | None = None,
    validate: bool = True,
    on_epoch: Callable[[int, float], bool] | None = None,
) -> Outcome:
    """Trains from scratch on the training part and judges on the validation part.

    Args:
        presample_ratio: r = B / b, examples scored per example trained on; 1 is uniform batches.
        switch: rule that turns importance sampling on and off, see `importance.pays`.
        draw: how a batch is drawn from its presample, see `importance.draw`.
        subset_size: train on this many random examples, different for every seed, as Fabolas does; None for all. An
            epoch is then a pass over the subset. All sizes share one program.
        validate: whether to evaluate after every epoch, not only after the last (not part of the cost).
        on_epoch: called with the number of epochs done and the validation error (NaN without `validate`); returning
            true stops the training, which then counts as pruned.

    Returns:
        The outcome, "diverged" with the error of guessing if the loss or the parameters stopped being finite.
        Series in `history`, one value per epoch: `error` and `loss` of validation, `train_loss`, `tau` (moving average
        at the end of the epoch), `importance_share`, `seconds` (of training so far, initialisation included).

    Examples:
        >>> from ibo_jax.training import datasets, networks, optimizers
        >>> task = Task(lambda h: networks.MLP(10, units=h["units"], layers=1),
        ...             lambda h, steps: optimizers.adam(h["rate"]), epochs=3, batch_size=lambda h: 32)
        >>> outcome = train(0, task, {"rate": 1e-2, "units": 32}, 3, datasets.load("digits"))
        >>> outcome.state, outcome.error < 0.2, len(outcome.history["error"])
        ('ok', True, 3)

    Raises:
        ValueError: the batch is empty or larger than the training set, the ratio is below 1, or outputs are too few.
    """
    return _train(seed, task, hyperparameters, presample_ratio, data, switch, draw, subset_size, validate, on_epoch)[0]


def retrain(
    seed: int,
    task: Task,
    hyperparameters: Hyperparameters,
    data: Dataset,
    *,
    presample_ratio: float = 1,
    switch: importance.Switch = "published",
    draw: importance.Draw = "multinomial",
) -> Report:
    """Trains the answer on training and validation data together and judges it on the test set.

    Args:
        presample_ratio: B / b; 1 is uniform batches, with which Ariafar et al. (2021) judge every answer.
        switch: as for `train`.
        draw: as for `train`.

    Returns:
        The errors on the test set, and the parameters of the trained network.

    Examples:
        >>> from ibo_jax.training import datasets, networks, optimizers
        >>> task = Task(lambda h: networks.MLP(10, units=32, layers=1), lambda h, steps: optimizers.adam(h["rate"]),
        ...             epochs=3, batch_size=lambda h: 32)
        >>> retrain(0, task, {"rate": 1e-2}, datasets.load("digits")).test_error < 0.2
        True

    Raises:
        ValueError: as for `train`.
    """
    final = merged(data)._replace(valid_inputs=data.test_inputs, valid_labels=data.test_labels)
    outcome, params = _train(seed, task, hyperparameters, presample_ratio, final, switch, draw, validate=False)
    return Report(outcome.error, outcome.history["loss"][-1], outcome.cost_seconds, jax.device_get(params))


def _train(
    seed: int,
    task: Task,
    hyperparameters: Hyperparameters,
    presample_ratio: float | int,
    data: Dataset,
    switch: importance.Switch,
    draw: importance.Draw,
    subset_size: int | None = None,
    validate: bool = True,
    on_epoch: Callable[[int, float], bool] | None = None,
) -> tuple[Outcome, Params]:
    """The outcome of a training, and the parameters at its end."""
    batch_size = int(task.batch_size(hyperparameters))
    population = len(data.train_labels) if subset_size is None else subset_size
    _check(task, batch_size, presample_ratio, population, len(data.train_labels))
    sampling = Sampling(batch_size, round(presample_ratio * batch_size), switch, draw)
    rates, static = split(hyperparameters)
    with jax.enable_x64(False), jax.disable_jit(False):  # without jit nothing compiles ahead of time
        subset = None if subset_size is None else _subset(seed, len(data.train_labels), subset_size)
        training = Examples.of(data, "train")._replace(subset=jax.device_put(subset))
        judging = Examples.of(data, "valid")
        began = time.perf_counter()
        programs = compiled(task, static, sampling, _shapes(training), _shapes(judging))
        compile_seconds = time.perf_counter() - began
        if programs.outputs < data.num_classes:
            raise ValueError(f"expected a network with at least {data.num_classes} outputs for the classes of "
                             f"{data.name}, got {programs.outputs}; widen its last layer")  # fmt: skip
        epochs, state = [], "ok"
        for measured in _epochs(programs, seed, rates, training, judging, task.epochs, validate):
            epochs.append(measured)
            if not measured.finite:
                state = "diverged"
                break
            if on_epoch is not None and on_epoch(len(epochs), measured.error):
                state = "pruned"
                break
    message = {
        "diverged": f"loss or parameters not finite in epoch {len(epochs)}",
        "pruned": f"stopped after {len(epochs)} of {task.epochs} epochs",
    }.get(state, "")
    steps, guessing = population // batch_size, guessing_error(data.valid_labels)
    outcome = _outcome(state, epochs, programs, sampling, steps, guessing, compile_seconds, message)
    return outcome, epochs[-1].params


def _subset(seed: int, population: int, size: int) -> Subset:
    order = np.random.default_rng(seed % 2**32).permutation(population).astype(np.int32)
    return Subset(order, np.int32(size))  # type: ignore[arg-type]


def _epochs(
    programs: Programs, seed: int, rates: dict, training: Examples, judging: Examples, count: int, validate: bool
) -> Iterator[_Measured]:
    stream = np.uint32(seed % 2**32)
    jax.block_until_ready((training, judging))
    began = time.perf_counter()
    state = jax.block_until_ready(programs.start(stream, rates))
    seconds = time.perf_counter() - began
    for number in range(count):
        began = time.perf_counter()
        state, info = jax.block_until_ready(programs.epoch(stream, np.uint32(number), rates, state, training))
        seconds += time.perf_counter() - began
        error = loss = float("nan")
        finite = bool(info.finite)
        if finite and (validate or number == count - 1):
            wrong, loss = (float(value) for value in programs.evaluate(state.params, rates, judging))
            error = wrong / judging.labels.size
            finite = bool(np.isfinite(loss))
        numbers = (error, loss, float(info.loss), float(info.tau), float(info.importance_share), seconds)
        yield _Measured(*numbers, finite, state.params)


def _outcome(
    state: Any,
    epochs: list[_Measured],
    programs: Programs,
    sampling: Sampling,
    steps: int,
    guessing: float,
    compile_seconds: float,
    message: str,
) -> Outcome:
    share = float(np.mean([measured.importance_share for measured in epochs]))
    by_importance = round(share * steps * len(epochs))
    passes = PASSES * sampling.batch_size * steps * len(epochs) + sampling.presample_size * by_importance
    series = ("error", "loss", "train_loss", "tau", "importance_share", "seconds")
    history = {name: [float(getattr(e, name)) for e in epochs] for name in series}
    return Outcome(
        state=state,
        error=guessing if state == "diverged" else epochs[-1].error,
        cost_seconds=epochs[-1].seconds,
        cost_work=passes * programs.forward_flops,
        compile_seconds=compile_seconds,
        importance_share=share,
        presample_ratio=sampling.presample_size / sampling.batch_size,
        history=history,
        message=message,
    )


def _shapes(examples: Examples) -> Examples:
    return jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), examples)


def _check(task: Task, batch_size: int, presample_ratio: float | int, population: int, examples: int) -> None:
    if population > examples:
        raise ValueError(f"expected a subset of at most the {examples} training examples, got {population}; take fewer")
    if not 1 <= batch_size <= population:
        raise ValueError(f"expected a batch size from 1 to the {population} training examples, got {batch_size}; "
                         "narrow the search space")  # fmt: skip
    if not presample_ratio >= 1:
        raise ValueError(f"expected a presample ratio B / b of at least 1, got {presample_ratio}; 1 is plain training")
    if task.epochs < 1:
        raise ValueError(f"expected at least one epoch, got {task.epochs}; raise `epochs` of the task")
