"""Milliseconds of a training step, ours against hand-written ones, side by side in one process.

    python -m experiments.benchmarks.training_steps [--networks mlp cnn resnet] [--repeats 9]

Compared, each a compiled program timed in turn (minimum and median of the repeats):

    uniform        our step in a scan, importance sampling off
    switched       our step in a scan with the switch, importance never chosen
    by hand        a plain Optax scan: draw, gather, normalise, gradient, update
    outside        our step called from Python, and the same with XLA's own convolution
    importance     our step in a scan, importance always chosen (ratio 3)
    forward        scoring alone: gather and forward pass of the presample, in a scan; the same in chunks as ours
    naive          our uniform step in a scan with XLA's own convolution (CPU only, one repeat)

Appends one row per network to `training_steps.jsonl`.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks import each_network
from ibo_jax.training import optimizers
from ibo_jax.training.convolution import plainly
from ibo_jax.training.networks import CNN, MLP, WideResNet, as_network
from ibo_jax.training.steps import Examples, Learner, Sampling, State, chunk_of, epoch, in_chunks, start, step

RATIO = 3
NEVER, ALWAYS = 0.0, 1e30  # starting tau: never (labels are noise: it stays near 1) or always above the threshold
GOALS = {"switched / by hand": 1.05, "inside / outside": 1.3, "importance / parts": 1.1}


class Case(NamedTuple):
    """A network, the shape of one of its inputs, the size of a batch, and the number of steps."""

    module: Any
    shape: tuple[int, ...]
    batch_size: int
    steps: int


CASES = {
    "mlp": Case(MLP(10, units=256, layers=2), (28, 28, 1), 64, 100),
    "cnn": Case(CNN(10, filters=32, units=128), (32, 32, 3), 64, 2),
    "resnet": Case(WideResNet(10, depth=28, widen=2), (32, 32, 3), 32, 1),
}


def by_hand(key: jax.Array, params: Any, state: Any, examples: Examples, learner: Learner, case: Case) -> Any:
    """What one would write without this package."""

    def body(carry: Any, key: jax.Array) -> Any:
        params, state = carry
        index = jax.random.randint(key, (case.batch_size,), 0, len(examples.labels), jnp.int32)
        images = (examples.inputs[index].astype(jnp.float32) - examples.mean) / examples.scale

        def objective(params: Any) -> jax.Array:
            logits = learner.apply(params, images, train=True, key=key)
            return optax.softmax_cross_entropy_with_integer_labels(logits, examples.labels[index]).mean()

        loss, gradient = jax.value_and_grad(objective)(params)
        updates, state = learner.optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), loss

    return jax.lax.scan(body, (params, state), jax.random.split(key, case.steps))


def forward(key: jax.Array, params: Any, examples: Examples, learner: Learner, case: Case, limit: int) -> jax.Array:
    """Scoring passes only, at most `limit` examples at a time."""

    def body(total: jax.Array, key: jax.Array) -> Any:
        index = jax.random.randint(key, (RATIO * case.batch_size,), 0, len(examples.labels), jnp.int32)

        def logits(images: jax.Array) -> jax.Array:
            images = (images.astype(jnp.float32) - examples.mean) / examples.scale
            return learner.apply(params, images, train=False, key=None)

        return total + in_chunks(logits, examples.inputs[index], limit).sum(), None

    return jax.lax.scan(body, jnp.zeros(()), jax.random.split(key, case.steps))[0]


def noise(case: Case) -> Examples:
    """Random images of the case's shape with random labels, on the device."""
    rng, count = np.random.default_rng(0), 10_000
    images = rng.integers(0, 256, size=(count, *case.shape)).astype(np.uint8)
    labels = rng.integers(10, size=count).astype(np.int32)
    return Examples(*jax.device_put((images, labels, np.float32(128), np.float32(74))))


def variants(case: Case) -> tuple[dict[str, Callable[[], Any]], dict[str, Callable[[], Any]]]:
    """Compiled programs by name; each call runs `case.steps` steps. Those of the second group are slow and run once."""
    network = as_network(case.module)
    learner = Learner(network.init, network.apply, optimizers.rmsprop(1e-6, 1e-6))
    examples = noise(case)
    key, state = jax.random.key(0), jax.jit(lambda key: start(key, learner, case.shape))(jax.random.key(1, impl="rbg"))
    keys = list(jax.random.split(key, case.steps))
    off, on = Sampling(case.batch_size, case.batch_size), Sampling(case.batch_size, RATIO * case.batch_size)

    def scanned(sampling: Sampling, tau: float) -> Callable[[], Any]:
        program = jax.jit(lambda key, state, examples: epoch(key, state, examples, learner, sampling, case.steps))
        program = program.lower(key, state, examples).compile()
        share = float(program(key, state._replace(tau=jnp.float32(tau)), examples)[1].importance_share)
        assert share == float(tau == ALWAYS), f"expected only steps of one kind, got a share of {share}"
        return lambda: program(key, state._replace(tau=jnp.float32(tau)), examples)

    def alone() -> Callable[[], Any]:
        program = jax.jit(lambda key, state, examples: step(key, state, examples, learner, off))
        program = program.lower(key, state, examples).compile()

        def run() -> State:
            current = state
            for part in keys:
                current, _ = program(part, current, examples)
            return current

        return run

    hand = jax.jit(lambda key, p, s, examples: by_hand(key, p, s, examples, learner, case))
    hand = hand.lower(key, state.params, state.optimizer_state, examples).compile()

    def scoring(limit: int) -> Callable[[], Any]:
        program = jax.jit(lambda key, params, examples: forward(key, params, examples, learner, case, limit))
        program = program.lower(key, state.params, examples).compile()
        return lambda: program(key, state.params, examples)

    programs = {
        "uniform": scanned(off, NEVER),
        "switched": scanned(on, NEVER),
        "by hand": lambda: hand(key, state.params, state.optimizer_state, examples),
        "outside": alone(),
        "importance": scanned(on, ALWAYS),
        "forward": scoring(on.presample_size),
        "forward, in chunks": scoring(chunk_of(examples)),
    }
    if case.module.__class__ is MLP or jax.default_backend() != "cpu":
        return programs, {}
    with plainly(True):
        return programs | {"outside, XLA's gradient": alone()}, {"naive": scanned(off, NEVER)}


def measure(name: str, repeats: int) -> dict[str, Any]:
    """Milliseconds per step by variant, and the ratios that have a goal."""
    case = CASES[name]
    often, once = variants(case)
    seconds: dict[str, list[float]] = {variant: [] for variant in often | once}
    for round_ in range(repeats + 1):
        for variant, run in (often if round_ else once).items():
            began = time.perf_counter()
            jax.block_until_ready(run())
            seconds[variant].append(1e3 * (time.perf_counter() - began) / case.steps)
    least = {variant: min(values) for variant, values in seconds.items()}
    outside, score = (min(v for k, v in least.items() if k.startswith(name)) for name in ("outside", "forward"))

    def paired(variant: str) -> float:
        """Median of the ratio over rounds, in each of which both ran one after the other: robust to other processes."""
        return statistics.median(a / b for a, b in zip(seconds[variant], seconds["by hand"], strict=True))

    ratios = {
        "uniform / by hand": paired("uniform"),
        "switched / by hand": paired("switched"),
        "inside / outside": least["uniform"] / outside,
        "importance / parts": least["importance"] / (score + least["by hand"]),
        "importance / uniform": least["importance"] / least["uniform"],
    }
    if "naive" in least:
        ratios["naive / outside"] = least["naive"] / outside
    medians = {variant: round(statistics.median(values), 4) for variant, values in seconds.items()}
    return {
        "network": name, "batch_size": case.batch_size, "presample_ratio": RATIO, "steps": case.steps,
        "repeats": repeats, "milliseconds_least": {variant: round(value, 4) for variant, value in least.items()},
        "milliseconds_median": medians, "ratios": {ratio: round(value, 3) for ratio, value in ratios.items()},
    }  # fmt: skip


def show(row: dict[str, Any]) -> None:
    print(f"\n{row['network']}, batch {row['batch_size']}, milliseconds a step: least (median) of {row['repeats']}")
    for variant, least in row["milliseconds_least"].items():
        print(f"  {variant:26s} {least:10.3f} ({row['milliseconds_median'][variant]:.3f})")
    for ratio, value in row["ratios"].items():
        goal = GOALS.get(ratio)
        print(f"  {ratio:26s} {value:10.3f}" + (f"  goal at most {goal}" if goal else ""))


if __name__ == "__main__":
    each_network.main(__file__, __doc__, CASES, 9, measure, show)
