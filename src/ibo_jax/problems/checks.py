"""What `training_problem` refuses before anything is trained: mixed-up arguments, and functions that fail on the space.

The user's functions are traced at corners of the space, as a training will trace them.
"""

import contextlib
import traceback
from collections.abc import Iterator
from numbers import Integral
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax
from flax import linen

from ibo_jax.problems.axes import sample_of
from ibo_jax.space import Fidelity, SearchSpace
from ibo_jax.training import steps, trainer
from ibo_jax.training.augmentation import Augmentation
from ibo_jax.training.checks import advice
from ibo_jax.training.datasets import Dataset
from ibo_jax.training.layers import parted
from ibo_jax.training.networks import as_network
from ibo_jax.types import Array, Count

__all__ = ["NOT_TRACEABLE", "check_settings", "check_task"]

JAX = Path(jax.__file__).parent
NOT_TRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


def check_settings(name: str, space: Any, data: Any, fidelity: Any, network: Any, optimizer: Any, epochs: Any) -> None:
    """Refuse arguments that are easily mixed up."""
    if not isinstance(space, SearchSpace):
        raise ValueError(f"{name}: expected a SearchSpace, got {space!r}; wrap it in one")
    if not isinstance(data, Dataset):
        raise ValueError(f"{name}: expected a Dataset, got {type(data).__name__}; split_arrays makes one of arrays")
    if not isinstance(fidelity, Fidelity):
        raise ValueError(f"{name}: expected a Fidelity, got {fidelity!r}; leave it out, or change PRESAMPLE_RATIO by "
                         "_replace(high=...)")  # fmt: skip
    for what, given in (("network", network), ("optimizer", optimizer)):
        if isinstance(given, linen.Module | optax.GradientTransformation) or not callable(given):
            raise ValueError(f"{name}: expected a function of the hyperparameters as `{what}`, got "
                             f"{type(given).__name__}; write {what}=lambda h, ...: ...")  # fmt: skip
    if not isinstance(epochs, Integral) or epochs < 1:
        raise ValueError(f"{name}: expected at least one epoch, a whole number, got {epochs}; train longer")


def check_task(
    name: str,
    task: trainer.Task,
    hyperparameters: dict[str, Any],
    fidelity: Fidelity,
    data: Dataset,
    *,
    on_subsets: bool = False,
) -> str:
    """Refuse what cannot be trained; returns the numbers of parameters and of optimiser state, in words."""
    examples, at = len(data.train_labels), f"{name}, at {hyperparameters}"
    with _explained(at, sorted(hyperparameters)):
        batch_size = int(task.batch_size(hyperparameters))
    ratio = sample_of(fidelity, fidelity.target, "off", 0, max(batch_size, 1), examples).presample_ratio
    presample = batch_size * max(1, ratio)
    if not 1 <= batch_size <= presample <= examples:
        raise ValueError(
            f"{at}: expected a batch size from 1 which, times the largest presample ratio, is at most the "
            f"{examples} training examples, got {batch_size} and {presample:g}; lower `batch_size`, or its range "
            "or that of the fidelity"
        )
    rates = {key: value for key, value in hyperparameters.items() if isinstance(value, float)}

    def outputs(rates: dict[str, Array], steps_per_epoch: Count = examples // batch_size) -> tuple[Array, Array, Any]:
        h, key = hyperparameters | rates, jax.random.key(0)
        network, inputs = as_network(task.network(h)), jnp.zeros((2, *data.train_inputs.shape[1:]), jnp.float32)
        params = network.init(key, inputs)
        state = _updated_once(at, task.optimizer(h, steps_per_epoch), params)
        penalty = jnp.zeros(()) if task.penalty is None else jnp.asarray(task.penalty(params, h))
        if (augment := task.augment) is not None:
            inputs = _augmented(at, inputs.astype(data.train_inputs.dtype), lambda key, one: augment(key, one, h))
        network.apply(params, inputs, train=False, key=None)
        logits, _ = parted(network.apply(params, inputs, train=True, key=key))
        if not isinstance(logits, jax.Array):
            raise ValueError(f"{at}: expected a network that returns logits (example, class_), got "
                             f"{type(logits).__name__}; return nothing beside them")  # fmt: skip
        return logits, penalty, (params, state)

    with jax.enable_x64(False), _explained(at, sorted(hyperparameters)):  # as it will be trained
        # the number of batches in a subset is traced, so that subsets of all sizes share a program
        logits, loss, held = jax.eval_shape(outputs, rates, *([jnp.zeros((), jnp.int32)] if on_subsets else []))
    if logits.shape[:-1] != (2, *data.train_labels.shape[1:]) or logits.shape[-1] < data.num_classes:
        many = data.train_labels.ndim > 1  # as many labels as inputs: taken for a text with a label at each place
        axes = "example, place, class_" if many else "example, class_"
        remedy = f"; or, if each example has one label, {advice(data.train_labels)}" if many else ""
        raise ValueError(
            f"{at}: expected logits ({axes}) for the {data.num_classes} classes of {data.name}, got shape "
            f"{logits.shape} for 2 examples; give the last layer an output for each class, numbered from 0 (the lowest "
            f"label is {data.train_labels.min()}){remedy}"
        )
    if loss.shape:
        raise ValueError(f"{at}: expected the penalty to be one number, got shape {loss.shape}; sum over parameters")
    parameters, state = (sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in held)
    return f"{parameters} parameters, {state} numbers of the optimiser, batches of {batch_size}"


def _augmented(at: str, inputs: Array, augment: Augmentation) -> Array:
    """Inputs as training changes them, for the network."""
    keys = jax.random.split(jax.random.key(0), len(inputs))
    changed = steps.augmented(keys, inputs, augment)
    if changed.shape != inputs.shape:
        raise ValueError(f"{at}: expected `augment` to keep the shape of an example, {inputs.shape[1:]}, got "
                         f"{changed.shape[1:]}; it is called with one, as a batch of one")  # fmt: skip
    return changed.astype(jnp.float32)


def _updated_once(at: str, optimizer: Any, params: Any) -> Any:
    """The optimiser's first state, after an update from it was tried as training makes them."""
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise ValueError(f"{at}: expected `optimizer` to return an Optax transformation, got {optimizer!r}; "
                         "for example optax.adam(h['learning_rate'])")  # fmt: skip
    try:
        state = optimizer.init(params)
        optimizer.update(params, state, params)
    except NOT_TRACEABLE:
        raise
    except (TypeError, AttributeError) as error:
        raise ValueError(
            f"{at}: expected an optimiser that updates by gradients, its state and parameters alone, got "
            f"{type(error).__name__}: {error}; take one that asks for no loss and no parameters of its own kind, as "
            "optax.lbfgs, lookahead and contrib.reduce_on_plateau do"
        ) from error
    return state


@contextlib.contextmanager
def _explained(at: str, names: list[str]) -> Iterator[None]:
    """Turn common errors in a user's functions into advice."""
    try:
        yield
    except KeyError as error:
        raise ValueError(
            f"{at}: expected the space to have every hyperparameter that the functions read, got no {error}; "
            f"add it to {names}"
        ) from error
    except NOT_TRACEABLE as error:
        frames = [each for each in traceback.extract_tb(error.__traceback__) if JAX not in Path(each.filename).parents]
        where = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}, in {frames[-1].name}"
        raise ValueError(
            f"{at}: expected real hyperparameters (and steps_per_epoch, for methods that train on subsets) to be used "
            f"as traced numbers only, got Python control flow or a size made of one ({where}); declare it Integer, or "
            "Categorical of names or whole numbers, or use jax.numpy"
        ) from error
    except flax.errors.InvalidRngError as error:
        raise ValueError(
            f"{at}: expected a network that draws random numbers in training only, of the stream 'dropout', got: "
            f"{error}; give its `__call__` a `train` and write linen.Dropout(rate, deterministic=not train)"
        ) from error
