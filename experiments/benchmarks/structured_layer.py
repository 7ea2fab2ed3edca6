"""A training step of structured layers against the same step of plain ones, in turn in one process.

    python -m experiments.benchmarks.structured_layer [--networks dense conv lstm] [--repeats 9]

Measured is the network of each case alone (no data pipeline, no validation steps), with 15 hyperparameters and a vector
of them for each example: forward and backward pass and a step of SGD, in a loop on the device. Appends one row per
network to `structured_layer.jsonl`: milliseconds of a step (minimum and median of the repeats, in processor seconds on
a CPU) and their ratio (goal: at most 2.3).
"""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.benchmarks import each_network
from ibo_jax.bilevel import best_response
from ibo_jax.training.convnets import LeNet
from ibo_jax.training.networks import MLP, as_network
from ibo_jax.training.recurrent import CharacterLSTM

HYPERPARAMETERS = 15
GOAL = 2.3
CASES: dict[str, tuple[Any, tuple[int, ...], int]] = {  # network, shape of a batch, steps in a loop
    "dense": (MLP(10, units=256, layers=2), (128, 28, 28, 1), 100),
    "conv": (LeNet(10, filters=(16, 32), units=128), (64, 28, 28, 1), 10),
    "lstm": (CharacterLSTM(64, units=128), (32, 48), 10),
}


def programs(name: str) -> dict[str, Callable[[], Any]]:
    """The loops, compiled and ready to run."""
    module, shape, steps = CASES[name]
    network, at = as_network(module), jnp.zeros(HYPERPARAMETERS)
    inputs, key = jnp.ones(shape), jax.random.key(0)
    vectors = jax.random.normal(key, (len(inputs), HYPERPARAMETERS))
    applied = {
        "plain": lambda params: network.apply(params, inputs, train=False, key=None),
        "structured": lambda params: best_response.apply(params, network, inputs, vectors, train=False, key=None),
    }
    made = {
        "plain": network.init(key, inputs[:1]),
        "structured": best_response.init(key, network, inputs[:1], at),
    }

    def loop(apply: Callable[[Any], jax.Array]) -> Callable[[Any], Any]:
        def step(_: jax.Array, params: Any) -> Any:
            gradient = jax.grad(lambda p: jnp.mean(jax.nn.logsumexp(apply(p), axis=-1)))(params)
            return optax.apply_updates(params, jax.tree.map(lambda leaf: -1e-3 * leaf, gradient))

        return jax.jit(lambda params: jax.lax.fori_loop(0, steps, step, params))

    return {kind: partial(loop(apply), made[kind]) for kind, apply in applied.items()}


def measure(name: str, repeats: int) -> dict[str, Any]:
    """Milliseconds of a step of each kind, and their ratio."""
    times = each_network.milliseconds(programs(name), repeats, CASES[name][2])
    summary = {kind: {"min": min(values), "median": statistics.median(values)} for kind, values in times.items()}
    ratio = {of: summary["structured"][of] / summary["plain"][of] for of in ("min", "median")}
    return {"network": name, "milliseconds": summary, "ratio": ratio}


def show(row: dict[str, Any]) -> None:
    ratio = row["ratio"]
    print(f"{row['network']}: ratio {ratio['min']:.2f} (minimum), {ratio['median']:.2f} (median); goal {GOAL}")


if __name__ == "__main__":
    each_network.main(__file__, __doc__, CASES, 9, measure, show)
