"""Seconds per epoch of the same network on the same number of examples: ours, a plain JAX loop, PyTorch.

    OMP_NUM_THREADS=1 XLA_FLAGS=--xla_cpu_multi_thread_eigen=false python -m experiments.benchmarks.training_peers

Compared in turn, after compiling, on one thread:

    ours                an epoch as `ibo_jax` runs it: one program, the importance switch off
    a jitted step       a loop in Python over batches of NumPy, as most JAX code is written (the convolution by hand)
    torch, eager        PyTorch (`peers/torch_training.py`, in the environment of `make peers`)
    torch, compiled     the same with `torch.compile` around the loss

Appends one row per network to `training_peers.jsonl`.
"""

import json
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks import each_network
from experiments.benchmarks.peers import HERE, PYTHON
from experiments.benchmarks.training_steps import CASES, Case
from ibo_jax.training import optimizers
from ibo_jax.training.networks import as_network
from ibo_jax.training.steps import Examples, Learner, Sampling, epoch, start

EXAMPLES = {"mlp": 10_000, "cnn": 2_000}
GOALS = {"mlp": 1.0, "cnn": 1.5}  # ours over the fastest of the others


def ours(case: Case, images: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    network = as_network(case.module)
    learner = Learner(network.init, network.apply, optimizers.rmsprop(1e-6, 1e-6))
    examples = Examples(*jax.device_put((images, labels, np.float32(128), np.float32(74))))
    sampling, steps = Sampling(case.batch_size, case.batch_size), len(labels) // case.batch_size
    key = jax.random.key(0)
    state = jax.jit(lambda key: start(key, learner, case.shape))(jax.random.key(1, impl="rbg"))
    program = jax.jit(lambda key, state, examples: epoch(key, state, examples, learner, sampling, steps))
    program = program.lower(key, state, examples).compile()
    return lambda: program(key, state, examples)


def a_jitted_step(case: Case, images: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    network, optimizer, rng = as_network(case.module), optax.rmsprop(1e-6), np.random.default_rng(0)
    params = network.init(jax.random.key(0), jnp.zeros((1, *case.shape)))
    state = optimizer.init(params)

    @jax.jit
    def step(params: Any, state: Any, images: jax.Array, labels: jax.Array) -> Any:
        def objective(params: Any) -> jax.Array:
            logits = network.apply(params, (images.astype(np.float32) - 128) / 74, train=True, key=None)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        updates, new = optimizer.update(jax.grad(objective)(params), state, params)
        return optax.apply_updates(params, updates), new

    used = len(labels) // case.batch_size * case.batch_size

    def run() -> Any:
        current = params, state
        for index in rng.permutation(len(labels))[:used].reshape(-1, case.batch_size):
            current = step(*current, images[index], labels[index])
        return current

    return run


def torch_seconds(name: str, case: Case, mode: str, epochs: int) -> list[float]:
    """Seconds of the epochs after the first two.

    Raises:
        FileNotFoundError: the peers' environment has not been made.
    """
    if not PYTHON.exists():
        raise FileNotFoundError(f"expected the peers' environment in {PYTHON.parents[1]}, found none; run `make peers`")
    numbers = map(str, (case.batch_size, EXAMPLES[name], epochs))
    command = [str(PYTHON), str(HERE / "torch_training.py"), name, *numbers, mode]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(name: str, repeats: int) -> dict[str, Any]:
    """Medians of the repeats; in each, all run one after another."""
    case, rng = CASES[name], np.random.default_rng(0)
    images = rng.integers(0, 256, size=(EXAMPLES[name], *case.shape)).astype(np.uint8)
    labels = rng.integers(10, size=EXAMPLES[name]).astype(np.int32)
    runs = {"ours": ours(case, images, labels), "a jitted step": a_jitted_step(case, images, labels)}
    seconds: dict[str, list[float]] = {}
    for run in runs.values():
        jax.block_until_ready(run())
    for _ in range(repeats):
        for variant, run in runs.items():
            began = time.perf_counter()
            jax.block_until_ready(run())
            seconds.setdefault(variant, []).append(time.perf_counter() - began)
        for mode in ("eager", "compiled"):
            seconds.setdefault(f"torch, {mode}", []).append(statistics.median(torch_seconds(name, case, mode, 3)))
    medians = {variant: round(statistics.median(found), 4) for variant, found in seconds.items()}
    ratios = {
        variant: round(statistics.median(a / b for a, b in zip(seconds["ours"], found, strict=True)), 3)
        for variant, found in seconds.items()
        if variant != "ours"
    }
    return {"network": name, "batch_size": case.batch_size, "examples": EXAMPLES[name], "repeats": repeats,
            "seconds": medians, "ours_over": ratios}  # fmt: skip


def show(row: dict[str, Any]) -> None:
    print(f"{row['network']}: seconds an epoch of {row['examples']} examples {row['seconds']}, "
          f"ours over {row['ours_over']}, goal at most {GOALS[row['network']]} of the fastest")  # fmt: skip


if __name__ == "__main__":
    each_network.main(__file__, __doc__, EXAMPLES, 5, measure, show)
