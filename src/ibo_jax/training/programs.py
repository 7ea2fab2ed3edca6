"""Compiled training programs, built ahead of time and kept, so that a repeated configuration never compiles.

Float hyperparameters are arguments of the programs; integers, names and flags are part of them. So a new learning
rate, seed or data of the same shape reuses a program, whereas a new width, batch size or ratio needs another.
"""

import ctypes
import functools
import gc
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from ibo_jax.training.convolution import plainly
from ibo_jax.training.steps import Examples, Learner, Sampling, epoch, evaluate, start, steps_per_epoch
from ibo_jax.types import Array, Count, Hyperparameters, Value

__all__ = ["Programs", "Trainable", "compiled", "release_memory", "split"]

KEPT = 16  # programs, about 20 MB each


@runtime_checkable
class Trainable(Protocol):
    """Anything hashable that turns hyperparameters, some of them traced, into a learner."""

    def learner(self, hyperparameters: Mapping[str, Any], steps_per_epoch: Count) -> Learner: ...


class Programs(NamedTuple):
    """Executables of one configuration.

    Attributes:
        start: `start(seed, rates) -> state`.
        epoch: `epoch(seed, number, rates, state, examples) -> (state, info)`; the old state is consumed.
        evaluate: `evaluate(params, rates, examples) -> (wrong, loss)`.
        forward_flops: floating-point operations of a forward pass of one example with plain convolutions: extra
            multiplications made for speed are not counted, so that every machine counts the same.
        outputs: number of logits.
    """

    start: Callable[..., Any]
    epoch: Callable[..., Any]
    evaluate: Callable[..., Any]
    forward_flops: float
    outputs: int


Static = tuple[tuple[str, Value | None], ...]


def split(hyperparameters: Hyperparameters) -> tuple[dict[str, np.float32], Static]:
    """Real numbers, to be traced, and the rest, to be compiled in, with None in place of each real number: the network
    and the optimiser get their hyperparameters in this order.

    Examples:
        >>> split({"width": 32, "learning_rate": 0.5})
        ({'learning_rate': np.float32(0.5)}, (('width', 32), ('learning_rate', None)))
    """
    real = {name: np.float32(value) for name, value in hyperparameters.items() if _is_real(value)}
    return real, tuple((name, None if name in real else value) for name, value in hyperparameters.items())


def _is_real(value: Any) -> bool:
    """Arrays of one number are, too: a rate may come out of a calculation."""
    return isinstance(value, float) or jnp.issubdtype(getattr(value, "dtype", int), jnp.floating)


@functools.cache
def compiled(
    task: Trainable,
    static: Static,
    sampling: Sampling,
    training: Examples,
    judging: Examples,
) -> Programs:
    """Compiles initialisation, epoch and evaluation side by side.

    Once `KEPT` are stored, all are forgotten: dropping them one at a time leaves holes, and the process keeps growing.

    Args:
        static: hyperparameters that are compiled in, and None for those that are traced (`split`).
        training: shapes and types (`jax.ShapeDtypeStruct`) of the data to train on.
        judging: likewise, of the data to evaluate on.
    """
    if compiled.cache_info().currsize >= KEPT:
        release_memory()
    steps = training.labels.shape[0] // sampling.batch_size
    shape = training.inputs.shape[1:]

    def learner(values: dict[str, Array], steps: Count = steps) -> Learner:
        known: dict[str, Any] = {name: values[name] if value is None else value for name, value in static}
        return task.learner(known, steps)

    def run_start(seed: Array, values: dict[str, Array]) -> Any:
        return start(jax.random.key(seed, impl="rbg"), learner(values), shape)  # rbg compiles in a third of the time

    def run_epoch(seed: Array, number: Array, values: dict[str, Array], state: Any, examples: Examples) -> Any:
        key = jax.random.fold_in(jax.random.key(seed), number)
        taught = learner(values, steps_per_epoch(examples, sampling.batch_size))
        return epoch(key, state, examples, taught, sampling, steps)

    def run_evaluate(params: Any, values: dict[str, Array], examples: Examples) -> Any:
        return evaluate(params, examples, learner(values))

    def forward(params: Any, values: dict[str, Array], inputs: Array) -> Array:
        return learner(values).apply(params, inputs, train=False, key=None)

    whole, real = jax.ShapeDtypeStruct((), jnp.uint32), jax.ShapeDtypeStruct((), jnp.float32)
    values = {name: real for name, value in static if value is None}
    lowered_start = jax.jit(run_start).lower(whole, values)
    state = lowered_start.out_info
    cpu = jax.local_devices(backend="cpu")[0]  # GPUs do not count before they compile
    with jax.default_device(cpu), plainly(True):
        single = jax.jit(forward).lower(state.params, values, jax.ShapeDtypeStruct((1, *shape), jnp.float32))
    lowered = (
        lowered_start,
        jax.jit(run_epoch, donate_argnames="state").lower(whole, whole, values, state, training),
        jax.jit(run_evaluate).lower(state.params, values, judging),
    )
    with ThreadPoolExecutor(len(lowered)) as pool:
        starting, training_epoch, evaluating = pool.map(lambda program: program.compile(), lowered)
    flops = single.cost_analysis()["flops"]  # type: ignore[index]
    return Programs(starting, training_epoch, evaluating, flops, single.out_info.shape[-1])


def release_memory() -> None:
    """Forgets all compiled programs of the process and returns the memory to the system.

    Called by `compiled` when it keeps too many, so that memory stays level in a study of hundreds of network widths.
    """
    compiled.cache_clear()
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
