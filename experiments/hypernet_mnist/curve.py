"""One L2 weight, ten training points: the validation loss over lambda that the global algorithm learns, against
cross-validation by training from scratch (figure 1 of the paper). Here exp(lambda) weighs the whole sum of squares.
"""

import math
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.hypernet_mnist import regression
from experiments.hypernet_mnist.regression import Part
from experiments.hypernet_mnist.settings import Curve
from ibo_jax.bilevel import hypernets, hypertraining

SCALE = 0.01  # of the initial parameters, as published
HIDDEN = 50
POINTS = 50  # on the path of lambda-hat
MARGIN = 0.5  # the response is learnt this far beyond the grid, because it is worst at the ends of its support


def train_loss(weights, lam, part):
    """The published sum of squares, not a tenth of it."""
    return regression.train_loss(weights, lam + math.log(10.0), part)


def run(source: str, seed: int, setting: Curve) -> list[dict[str, Any]]:
    """Rows of one seed: the grid in each way, and the answer."""
    train, valid, _ = regression.parts(source, setting.train, first=setting.train * seed)
    key_scratch, key_hypernet, key_steps = jax.random.split(jax.random.key(seed), 3)
    grid = np.linspace(setting.low, setting.high, setting.values, dtype=np.float32)[:, None]
    began = time.perf_counter()
    trained = jax.block_until_ready(
        from_scratch(key_scratch, jnp.asarray(grid), train, setting.from_scratch, setting.rate)
    )
    scratch_seconds = time.perf_counter() - began
    moments = regression.moments(train), regression.moments(valid)
    exact = np.array([regression.solve(lam + math.log(10.0), moments[0]) for lam in grid])
    hypernet = hypernets.mlp(regression.init(train.inputs.shape[1], SCALE), 1, (HIDDEN,), scale=0.0)
    began = time.perf_counter()
    state, path = learn(key_hypernet, key_steps, hypernet, train, valid, setting)
    seconds = time.perf_counter() - began
    learnt = jax.vmap(partial(hypernet.apply, state.phi))(jnp.asarray(grid))
    about = {"part": "curve", "seed": seed}
    rows = []
    for way, found in (("cross-validation", trained), ("hypernet", learnt), ("exact", exact)):
        for lam, weights in zip(grid, np.asarray(found, np.float32), strict=True):
            losses = {"train_loss": float(train_loss(jnp.asarray(weights), jnp.asarray(lam), train)),
                      "valid_loss": float(regression.judge(weights, moments[1]))}  # fmt: skip
            rows.append(about | {"way": way, "lam": float(lam[0])} | losses)
    response = np.asarray(hypernet.apply(state.phi, state.lam))
    answer = {"way": "answer", "lam": float(state.lam[0]), "valid_loss": float(regression.judge(response, moments[1]))}
    seconds_and_path = {"seconds": seconds, "scratch_seconds": scratch_seconds, "path": path}
    return [*rows, about | answer | seconds_and_path]


@partial(jax.jit, static_argnames=("steps", "rate"))
def from_scratch(key, grid, part: Part, steps: int, rate: float):
    """Parameters after `steps` of Adam on all examples, for each lambda from the same start."""
    optimizer = optax.adam(rate)
    start = regression.init(part.inputs.shape[1], SCALE)(key)

    def single(lam):
        def body(_, carry):
            weights, state = carry
            updates, state = optimizer.update(jax.grad(train_loss)(weights, lam, part), state)
            return optax.apply_updates(weights, updates), state

        return jax.lax.fori_loop(0, steps, body, (start, optimizer.init(start)))[0]

    return jax.vmap(single)(grid)


def learn(key_hypernet, key_steps, hypernet, train: Part, valid: Part, setting: Curve):
    """Algorithm 2 of the paper; also gives lambda-hat after each fiftieth of the hyper steps."""
    rate = optax.cosine_decay_schedule(setting.response_rate, setting.steps)
    everywhere = hypertraining.everywhere(setting.low - MARGIN, setting.high + MARGIN)
    made = hypertraining.steps(
        hypernet,
        train_loss,
        regression.data_loss,
        everywhere,
        optax.adam(rate),
        optax.adam(setting.hyper_rate),
        samples=setting.samples,
    )
    update = hypertraining.global_update(made, setting.steps)

    @partial(jax.jit, static_argnames="count")
    def advance(key, state, train, valid, count):
        return jax.lax.fori_loop(
            0, count, lambda i, s: update(jax.random.fold_in(key, s.done), s, train, valid)[0], state
        )

    state = made.init(key_hypernet, jnp.array([setting.start], jnp.float32))
    state = advance(key_steps, state, train, valid, setting.steps)
    path = [float(state.lam[0])]
    for _ in range(POINTS):
        state = advance(key_steps, state, train, valid, setting.hyper_steps // POINTS)
        path.append(round(float(state.lam[0]), 3))
    return state, path
