"""Ten L2 weights, one per digit: a Gaussian process that models losses against hypernets that model parameters.

All see the same n vectors of hyperparameters. The process also sees the exact validation loss at each, as if n
trainings had been run to their end; the hypernets see none. Each predicts the losses of a pool of 10,240 vectors; what
counts is the exact loss at its predicted best. The stochastic hypernet draws fresh hyperparameters for the same number
of steps, which takes the same time.
"""

import time
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from experiments.hypernet_mnist import regression
from experiments.hypernet_mnist.regression import Moments, Part, Responses
from experiments.hypernet_mnist.settings import Weights
from ibo_jax.bilevel import hypernets, hypertraining

REACH = 3.0  # lambdas are uniform in [-3, 3]
SHOWN = 200  # points in a scatter plot
WAYS = ("gp", "gp-standardised", "hypernet-fixed", "hypernet")


def run(source: str, seed: int, setting: Weights) -> list[dict[str, Any]]:
    """A row for each number of evaluations and way."""
    train, valid, _ = regression.parts(source, setting.train)
    seen, judged = regression.moments(train), regression.moments(valid)
    pool = np.random.default_rng(seed).uniform(-REACH, REACH, (setting.pool, 10)).astype(np.float32)
    exact = losses(Responses(seen, judged), pool)
    found = []
    for n in setting.evaluations:
        steps = min(n * setting.steps_each, setting.most_steps)
        for way in WAYS:
            began = time.perf_counter()
            if way.startswith("gp"):
                predicted = by_process(pool[:n], exact[:n], pool, standardised=way == "gp-standardised")
            else:
                given = n if way == "hypernet-fixed" else None
                predicted = by_hypernet(seed, train, judged, pool, given, steps, setting)
            best, held_out = int(np.argmin(predicted)), slice(n, None)
            error = predicted[held_out] - exact[held_out]
            row = {
                "part": "weights",
                "seed": seed,
                "evaluations": n,
                "way": way,
                "loss": float(exact[best]),
                "predicted": float(predicted[best]),
                "bias": float(error.mean()),
                "deviation": float(error.std()),
                "correlation": float(np.corrcoef(predicted[held_out], exact[held_out])[0, 1]),
                "pool_best": float(exact.min()),
                "seconds": time.perf_counter() - began,
            }
            if way.startswith("hypernet"):
                row["steps"] = steps
            if n == setting.scattered:
                pairs = np.stack([exact, predicted], axis=1)[n : n + SHOWN]
                row["pairs"] = [[round(float(value), 4) for value in pair] for pair in pairs]
            found.append(row)
    return found


def losses(responses: Responses, lam: np.ndarray) -> np.ndarray:
    """Exact validation losses, interpolated in each hyperparameter on a grid of 0.05."""
    grid = np.linspace(-REACH, REACH, 121)
    table = responses.by_class(grid)
    return np.mean([np.interp(lam[:, c], grid, table[:, c]) for c in range(10)], axis=0)


def by_process(lam: np.ndarray, observed: np.ndarray, pool: np.ndarray, *, standardised: bool) -> np.ndarray:
    """Mean of scikit-learn's process with a Gaussian kernel: with its defaults, mean 0 and amplitude 1, or with
    standardised losses and an estimated amplitude."""
    kernel = ConstantKernel(1.0) * RBF(3.0, (0.1, 100.0)) if standardised else RBF()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        process = GaussianProcessRegressor(kernel, alpha=1e-8, normalize_y=standardised).fit(lam, observed)
    return process.predict(pool)


def by_hypernet(
    seed: int, train: Part, judged: Moments, pool: np.ndarray, fixed: int | None, steps: int, setting: Weights
) -> np.ndarray:
    """Validation losses of a linear hypernet's responses after `steps`, at the first `fixed` of the pool or at fresh
    ones."""
    inputs = train.inputs.shape[1]
    hypernet = hypernets.linear(regression.init(inputs, setting.scale), 10, scale=setting.scale)
    conditional = hypertraining.everywhere(-REACH, REACH) if fixed is None else among(pool[:fixed])
    phi = respond(jax.random.key(seed), train, hypernet, conditional, steps, setting)
    # The loss of an affine response is quadratic in lambda, with one quadratic form per class.
    planes = np.concatenate([np.asarray(phi[0]["bias"])[None], phi[0]["kernel"]]).reshape(11, inputs, 10).astype(float)
    gram = np.einsum("kic,ij,ljc->ckl", planes, judged.gram, planes, optimize=True)
    cross = np.einsum("kic,ic->ck", planes, judged.cross)
    lam = np.concatenate([np.ones((len(pool), 1)), pool], axis=1)
    errors = judged.square - 2 * lam @ cross.T + np.einsum("pk,ckl,pl->pc", lam, gram, lam, optimize=True)
    return errors.mean(1) / (2 * regression.DEVIATION**2) + regression.CONSTANT


def among(points: np.ndarray) -> hypertraining.Conditional:
    """Hyperparameters drawn with replacement from given ones."""
    given = jnp.asarray(points)
    return lambda key, lam, count: given[jax.random.randint(key, (count,), 0, len(given), jnp.int32)]


def respond(key: jax.Array, train: Part, hypernet, conditional, steps: int, setting: Weights) -> Any:
    """Phase 1 of the global algorithm on minibatches."""
    rate = optax.cosine_decay_schedule(setting.rate, steps)
    made = hypertraining.steps(hypernet, regression.train_loss, regression.data_loss, conditional, optax.adam(rate),
                               optax.identity(), samples=setting.samples)  # fmt: skip

    @jax.jit
    def advance(key, state, train):
        def body(i, state):
            key_batch, key_step = jax.random.split(jax.random.fold_in(key, i))
            index = jax.random.randint(key_batch, (setting.batch,), 0, len(train.inputs), jnp.int32)
            return made.respond(key_step, state, Part(train.inputs[index], train.targets[index]))[0]

        return jax.lax.fori_loop(0, steps, body, state)

    key_start, key_steps = jax.random.split(key)
    return advance(key_steps, made.init(key_start, jnp.zeros(10, jnp.float32)), train).phi
