"""An L2 weight for each of the 7,850 parameters, tuned by the local algorithm with a factorised hypernet.

It is compared with the best single weight, which is found exactly. The answer is judged twice: by the hypernet's own
response, and by the parameters of least training loss at its hyperparameters, which is what these are worth by
themselves.
"""

import resource
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.hypernet_mnist import regression
from experiments.hypernet_mnist.regression import Part
from experiments.hypernet_mnist.settings import Large
from ibo_jax.bilevel import hypernets, hypertraining

POINTS = 50  # on the curve
SINGLE = np.arange(-6.0, 6.0, 0.1)


def run(source: str, seed: int, setting: Large) -> list[dict[str, Any]]:
    """Rows: the best single weight, the curve, and the answer."""
    train, valid, test = regression.parts(source, setting.train, first=setting.train * seed)
    seen, judged, reported = map(regression.moments, (train, valid, test))
    about, inputs = {"part": "large", "seed": seed}, train.inputs.shape[1]

    def losses(weights: np.ndarray, prefix: str = "") -> dict[str, float]:
        return {f"{prefix}valid_loss": float(regression.judge(weights, judged)),
                f"{prefix}test_loss": float(regression.judge(weights, reported))}  # fmt: skip

    singles = [losses(regression.solve(np.array([lam]), seen)) | {"lam": float(lam)} for lam in SINGLE]
    found = [about | {"way": "single"} | min(singles, key=lambda row: row["valid_loss"])]
    hypernet = hypernets.factorised(regression.init(inputs, setting.scale), inputs * 10, scale=0.0)
    rate = optax.cosine_decay_schedule(setting.response_rate, setting.steps)
    made = hypertraining.steps(
        hypernet, regression.train_loss, regression.data_loss, together(inputs, setting.deviation), optax.adam(rate),
        optax.adam(setting.hyper_rate), samples=setting.samples,
    )  # fmt: skip
    update = hypertraining.local_update(made)

    @partial(jax.jit, static_argnames="count")
    def advance(key, state, train: Part, valid: Part, count: int):
        def body(_, state):
            key_valid, key_step = jax.random.split(jax.random.fold_in(key, state.done))
            index = jax.random.randint(key_valid, (setting.batch,), 0, len(valid.inputs), jnp.int32)
            return update(key_step, state, train, Part(valid.inputs[index], valid.targets[index]))[0]

        return jax.lax.fori_loop(0, count, body, state)

    key_start, key_steps = jax.random.split(jax.random.key(seed))
    state, seconds = made.init(key_start, jnp.full(inputs * 10, setting.start, jnp.float32)), 0.0
    for _ in range(POINTS):
        began = time.perf_counter()
        state = jax.block_until_ready(advance(key_steps, state, train, valid, setting.steps // POINTS))
        seconds += time.perf_counter() - began
        response = losses(np.asarray(hypernet.apply(state.phi, state.lam)))
        found.append(about | {"way": "curve", "steps": int(state.done), "seconds": seconds} | response)
    lam = np.asarray(state.lam, np.float64)
    answer = {
        "way": "answer",
        "seconds": seconds,
        "quantiles": np.quantile(lam, [0, 0.05, 0.5, 0.95, 1]).tolist(),
        "parameters": hypernets.count(hypernet),
        "state_megabytes": sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 1e6,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }
    return [*found, about | answer | response | losses(regression.solve(lam, seen), "solved_")]


def together(inputs: int, deviation: float) -> hypertraining.Conditional:
    """Normal about lambda-hat; a quarter of the variance each is common to all, to a digit, to a pixel, and to none.

    With independent draws the ten hidden units would see almost nothing of the directions in which the response moves.
    """

    def sample(key: jax.Array, lam: jax.Array, count: int) -> jax.Array:
        shapes = ((count, 1, 1), (count, 1, 10), (count, inputs, 1), (count, inputs, 10))
        keys = jax.random.split(key, len(shapes))
        noise = sum(jax.random.normal(key, shape, jnp.float32) for key, shape in zip(keys, shapes, strict=True))
        return lam + deviation / 2 * jnp.reshape(noise, (count, -1))

    return sample
