"""Configurations per minute on one device: one training at a time, several in one program, several processes.

    python -m experiments.benchmarks.trainings_at_once [--networks mlp cnn] [--at-once 1 4 16 64] [--processes 2 4 8]

Configurations differ in learning rate and key and share their sizes, so that `jax.vmap` makes one program of several
trainings. Each process trains one at a time; processes are timed together, from when all of them have compiled. Data
are noise in the shape of MNIST and CIFAR-10, on the device. Appends one row per measurement to
`trainings_at_once.jsonl`.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # before JAX: processes share the device's memory

import jax
import numpy as np

from experiments.benchmarks import training_steps
from experiments.benchmarks.training_steps import Case, noise
from experiments.common import rows
from ibo_jax.training import optimizers
from ibo_jax.training.networks import as_network
from ibo_jax.training.steps import Examples, Learner, Sampling, epoch, start

SECONDS = 3.0  # of each measurement, at least
RATES = (1e-5, 1e-3)
STEPS = {"mlp": 400, "cnn": 100}  # per training
CASES = {name: training_steps.CASES[name]._replace(batch_size=128, steps=steps) for name, steps in STEPS.items()}


class Program(NamedTuple):
    """`run(keys, rates)` trains one configuration for each pair and returns their losses."""

    run: Callable[[jax.Array, np.ndarray], jax.Array]
    compile_seconds: float


def configurations(number: int, count: int) -> tuple[jax.Array, np.ndarray]:
    """Keys and learning rates, different for each number."""
    rates = np.random.default_rng(number).uniform(*np.log(RATES), size=count)
    return jax.random.split(jax.random.key(number), count), np.exp(rates).astype(np.float32)


def program(case: Case, at_once: int) -> Program:
    """One program of this many trainings."""
    network, examples = as_network(case.module), noise(case)
    sampling = Sampling(case.batch_size, case.batch_size)

    def train(key: jax.Array, rate: jax.Array, examples: Examples) -> jax.Array:
        learner = Learner(network.init, network.apply, optimizers.rmsprop(rate, 1e-6))
        state = start(key, learner, case.shape)
        return epoch(key, state, examples, learner, sampling, case.steps)[1].loss

    def single(keys: jax.Array, rates: jax.Array, examples: Examples) -> jax.Array:
        return train(keys[0], rates[0], examples)[None]

    together = jax.vmap(train, (0, 0, None)) if at_once > 1 else single
    began = time.perf_counter()
    compiled = jax.jit(together).lower(*configurations(0, at_once), examples).compile()
    seconds = time.perf_counter() - began
    return Program(lambda keys, rates: jax.block_until_ready(compiled(keys, rates, examples)), seconds)


def in_one_program(name: str, at_once: int) -> dict[str, Any]:
    """Configurations per minute of one program, from the median of its calls."""
    made, seconds = program(CASES[name], at_once), []
    made.run(*configurations(0, at_once))
    while sum(seconds) < SECONDS:
        chosen = configurations(len(seconds) + 1, at_once)
        began = time.perf_counter()
        made.run(*chosen)
        seconds.append(time.perf_counter() - began)
    return {
        "at_once": at_once,
        "processes": 1,
        "calls": len(seconds),
        "compile_seconds": round(made.compile_seconds, 2),
        "a_minute": round(60 * at_once / statistics.median(seconds), 1),
    }


def in_processes(name: str, count: int) -> dict[str, Any]:
    """Configurations per minute of several processes: all that they finish, over the time that the last one takes."""
    context = multiprocessing.get_context("spawn")
    together, times = context.Barrier(count), context.SimpleQueue()
    workers = [context.Process(target=_work, args=(name, SECONDS, together, times)) for _ in range(count)]
    for worker in workers:
        worker.start()
    found = [times.get() for _ in workers]
    for worker in workers:
        worker.join()
    trained = sum(calls for calls, _, _ in found)
    seconds = max(end for _, _, end in found) - min(begin for _, begin, _ in found)
    return {"at_once": 1, "processes": count, "calls": trained, "a_minute": round(60 * trained / seconds, 1)}


def _work(name: str, seconds: float, together: Any, times: Any) -> None:
    made, calls = program(CASES[name], 1), 0
    made.run(*configurations(0, 1))
    together.wait()
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        calls += 1
        made.run(*configurations(calls, 1))
    times.put((calls, began, time.monotonic()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--at-once", nargs="*", type=int, default=[1, 4, 16, 64], help="trainings in one program")
    parser.add_argument("--processes", nargs="*", type=int, default=[2, 4, 8])
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    chosen = parser.parse_args()
    shared = {"service": "MPS"} if "CUDA_MPS_PIPE_DIRECTORY" in os.environ else {}
    about = {**shared, "device": jax.devices()[0].device_kind, "machine": rows.machine()}
    for name in chosen.networks:
        measured = [(in_one_program, count) for count in chosen.at_once]
        for measure, count in [*measured, *((in_processes, count) for count in chosen.processes)]:
            row = {"network": name, "steps": CASES[name].steps, **measure(name, count)}
            rows.append(chosen.rows, row | about)
            print(row, flush=True)


if __name__ == "__main__":
    main()
