"""Compiled pieces of a training, which the experiments put together: start, a few steps, evaluation.

They are made of the library's own steps. The learning rate is an argument of every piece, so that a schedule can follow
anything that is known between two pieces, such as the seconds spent.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.importance.settings import CASES, OPTIMIZERS, Case, Scale
from ibo_jax.training.datasets import Dataset, load, take
from ibo_jax.training.networks import Network, as_network, squared_kernels
from ibo_jax.training.steps import Examples, Learner, Sampling, epoch, evaluate, start

STEPS = 20  # per piece: few beside a training, but enough that calling it costs nothing


class Data(NamedTuple):
    """Examples on the device: to train on, to evaluate the training loss on, and to test on."""

    training: Examples
    judging: Examples
    test: Examples


class Programs(NamedTuple):
    """Executables of one configuration.

    Attributes:
        start: `start(seed) -> state`.
        run: `run(seed, number, rate, state, examples) -> (state, info)`, `STEPS` steps; the old state is used up.
        evaluate: `evaluate(params, examples) -> (wrong, loss)`, compiled where it is first called.
    """

    start: Callable[..., Any]
    run: Callable[..., Any]
    evaluate: Callable[..., Any]


@functools.cache
def data(scale: Scale, network: str) -> Data:
    """The case's examples; the training loss is evaluated on the first of the training part."""
    case = CASES[scale][network]
    train, judged = case.images
    arrays: Dataset = take(load(case.source), train=train)
    whole = Examples.of(arrays, "train")
    return Data(whole, whole.taken(jnp.arange(judged)), Examples.of(arrays, "test"))


@functools.lru_cache(maxsize=32)  # all ratios and switches of an optimiser; about 20 MB each
def programs(scale: Scale, network: str, optimizer: str, sampling: Sampling) -> Programs:
    """The programs, compiled ahead of time, so that the first piece takes as long as the others."""
    case = CASES[scale][network]
    examples = data(scale, network).training
    shape = examples.inputs.shape[1:]

    def run_start(seed: jax.Array) -> Any:
        return start(jax.random.key(seed), _learner(case, optimizer, 0.0), shape)

    def run(seed: jax.Array, number: jax.Array, rate: jax.Array, state: Any, examples: Examples) -> Any:
        key = jax.random.fold_in(jax.random.key(seed), number)
        return epoch(key, state, examples, _learner(case, optimizer, rate), sampling, STEPS)

    def judge(params: Any, examples: Examples) -> Any:
        return evaluate(params, examples, _learner(case, optimizer, 0.0))

    whole, real = jax.ShapeDtypeStruct((), jnp.uint32), jax.ShapeDtypeStruct((), jnp.float32)
    starting = jax.jit(run_start).lower(whole)
    running = jax.jit(run, donate_argnames="state").lower(whole, whole, real, starting.out_info, examples)
    return Programs(starting.compile(), running.compile(), jax.jit(judge))


def network_of(scale: Scale, network: str) -> Network:
    """The case's network as two functions."""
    return as_network(CASES[scale][network].module)


def rate_of(scale: Scale, network: str, optimizer: str) -> float:
    """The first learning rate."""
    return dict(CASES[scale][network].rates)[optimizer]


def _learner(case: Case, optimizer: str, rate: Any) -> Learner:
    network = as_network(case.module)
    penalty = (lambda params: jnp.float32(case.l2) * squared_kernels(params)) if case.l2 else None
    return Learner(network.init, network.apply, OPTIMIZERS[optimizer](rate), penalty, case.augment)
