"""Time of a convolution that computes one, two or four neighbouring outputs of a row together, in turn in one process.

    OMP_NUM_THREADS=1 XLA_FLAGS=--xla_cpu_multi_thread_eigen=false python -m experiments.benchmarks.convolutions

Forward passes over a batch of 64 in a loop on the device, as in a training. Appends one row per shape to
`convolutions.jsonl`: milliseconds of a pass (processor time, minimum of the repeats) by number of neighbours, and the
number that `training.convolution` takes.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmarks import each_network
from ibo_jax.training import convolution

CASES = {  # pixels per side, window, channels, filters
    "mnist-lenet, first": (28, 5, 1, 6),
    "cifar10-lenet, first": (32, 5, 3, 6),
    "cifar10-lenet, second": (16, 5, 6, 16),
    "cifar10-lenet, second, gradient of its inputs": (16, 5, 16, 6),
    "cifar10-resnet, first": (32, 3, 3, 16),
    "cifar10-resnet, first group": (32, 3, 16, 16),
    "cifar10-resnet, widened by 2": (32, 3, 32, 32),
    "first of 32 filters": (32, 3, 3, 32),
    "8 to 32 channels": (32, 3, 8, 32),
    "cifar10-cnn, first": (32, 3, 3, 64),
    "cifar10-cnn, second": (32, 3, 64, 64),
}
NEIGHBOURS, EXAMPLES, STEPS = (1, 2, 4), 64, 10


def measure(name: str, repeats: int) -> dict[str, Any]:
    """Milliseconds of a pass by number of neighbours."""
    side, window, channels, filters = CASES[name]
    inputs = jax.random.normal(jax.random.key(0), (EXAMPLES, side, side, channels))
    kernel = jax.random.normal(jax.random.key(1), (window, window, channels, filters))
    pads = tuple(jax.lax.padtype_to_pads((side, side), (window, window), (1, 1), "SAME"))

    def loop(neighbours: int) -> Any:
        def step(_: jax.Array, both: list[jax.Array]) -> list[jax.Array]:
            change = 1e-9 * jnp.mean(convolution.by_neighbours(*both, 1, pads, neighbours))  # or XLA convolves once
            return [array + change for array in both]

        return jax.jit(lambda both: jax.lax.fori_loop(0, STEPS, step, both))

    runs = {str(neighbours): partial(loop(neighbours), [inputs, kernel]) for neighbours in NEIGHBOURS}
    times = each_network.milliseconds(runs, repeats, STEPS)
    milliseconds = {neighbours: min(values) for neighbours, values in times.items()}
    return {"network": name, "milliseconds": milliseconds, "taken": convolution.neighbours_of(channels, filters)}


def show(row: dict[str, Any]) -> None:
    times = ", ".join(f"{neighbours}: {value:.2f}" for neighbours, value in row["milliseconds"].items())
    print(f"{row['network']}: ms by neighbours {times}; taken {row['taken']}")


if __name__ == "__main__":
    each_network.main(__file__, __doc__, CASES, 9, measure, show)
