"""How far batch gradients lie from the mean gradient of the pool that they are drawn from, during a training.

From a pool of 1,024 training images, weighted batches of 128 are drawn by each score. Measured is the distance of the
batch gradient to the pool's mean gradient, divided by that of uniform batches (Katharopoulos and Fleuret, figure 1).
All of it follows from the Gram matrix K of the pool's gradients: a batch is a vector of coefficients c, and c'Kc is its
squared distance. So a redraw costs next to nothing, and the variance itself is known exactly. Gradients are of the
loss without the L2 term, for images without augmentation; the training draws its batches uniformly.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.stats import spearmanr

from experiments.common import rows
from experiments.importance import programs
from experiments.importance.programs import STEPS
from experiments.importance.settings import CASES, SCHEDULES, STUDIES, Scale, Study
from ibo_jax import importance
from ibo_jax.training.steps import Examples, Sampling

SCORES = ("uniform", "loss", "upper_bound", "gradient_norm")
BLOCK = 256  # gradients per block; two blocks are in memory at once


@functools.cache
def gradients_of(scale: Scale, network: str) -> Callable[..., jax.Array]:
    """`gradients(params, inputs, labels)`, one row per example, computed one by one: the fast path of convolutions on a
    CPU."""
    apply = programs.network_of(scale, network).apply

    def single(params: Any, image: jax.Array, label: jax.Array) -> jax.Array:
        def objective(params: Any) -> jax.Array:
            return importance.loss(apply(params, image[None], train=False, key=None), label[None])[0]

        return ravel_pytree(jax.grad(objective)(params))[0]

    return jax.jit(lambda params, inputs, labels: jax.lax.map(lambda one: single(params, *one), (inputs, labels)))


def gram(gradients: Callable[[slice], jax.Array], count: int) -> np.ndarray:
    """Inner products of `count` gradients; `gradients(part)` gives a part of them, so that they are never all in
    memory."""
    parts = [slice(begin, min(begin + BLOCK, count)) for begin in range(0, count, BLOCK)]
    products = np.empty((count, count))
    for number, part in enumerate(parts):
        here = gradients(part)
        for other in parts[number:]:
            there = here if other == part else gradients(other)
            products[part, other] = jnp.matmul(here, there.T, precision="highest")
            products[other, part] = products[part, other].T
    return products


def distances(key: jax.Array, products: np.ndarray, scores: np.ndarray, batch: int, redraws: int) -> np.ndarray:
    """Distance of the weighted batch gradient to the pool's mean gradient, for each of `redraws` batches."""
    keys = jax.random.split(key, redraws)
    indices, weights = jax.vmap(lambda key: importance.resample(key, jnp.asarray(scores), batch))(keys)
    coefficients = np.full((redraws, len(scores)), -1.0 / len(scores))
    np.add.at(coefficients, (np.arange(redraws)[:, None], np.asarray(indices)), np.asarray(weights, np.float64) / batch)
    return np.sqrt(np.maximum(np.sum(coefficients @ products * coefficients, axis=1), 0.0))


def variance(products: np.ndarray, scores: np.ndarray, batch: int) -> float:
    """Trace of the variance of the batch gradient over all draws from the pool, exactly."""
    g = np.asarray(importance.probabilities(jnp.asarray(scores)), np.float64)
    squares = np.diag(products)
    weighted = np.sum(np.divide(squares, g, out=np.zeros_like(g), where=g > 0)) / len(g) ** 2
    return float((weighted - products.mean()) / batch)


def measure(key: jax.Array, products: np.ndarray, scores: dict[str, np.ndarray], study: Study) -> list[dict[str, Any]]:
    """One row per score: mean distance and its standard error, the same over uniform's, and the exact variance gain."""
    drawn = {}
    for number, (name, values) in enumerate(scores.items()):
        key_score = jax.random.fold_in(key, number)
        drawn[name] = distances(key_score, products, values, study.batch, study.redraws)
    found = []
    for name, values in scores.items():
        mean, base = drawn[name].mean(), drawn["uniform"].mean()
        error, base_error = (drawn[which].std(ddof=1) / study.redraws**0.5 for which in (name, "uniform"))
        ratio_error = 0.0 if name == "uniform" else mean / base * np.hypot(error / mean, base_error / base)
        gain = variance(products, scores["uniform"], study.batch) / variance(products, values, study.batch)
        exact = scores["gradient_norm"]
        found.append({
            "score": name, "distance": float(mean), "distance_error": float(error), "normalised": float(mean / base),
            "normalised_error": float(ratio_error), "gain": float(gain),
            "tau": float(importance.tau(jnp.asarray(values))),
            "rank_correlation": None if np.ptp(values) == 0 else float(spearmanr(values, exact).statistic),
        })  # fmt: skip
    return found


def scores_of(params: Any, scale: Scale, network: str, inputs: jax.Array, labels: jax.Array, products: np.ndarray
              ) -> dict[str, np.ndarray]:  # fmt: skip
    """The pool's scores by name, from logits, and the exact norms from the Gram matrix."""
    logits = programs.network_of(scale, network).apply(params, inputs, train=False, key=None)
    return {
        "uniform": np.ones(len(labels), np.float32),
        "loss": np.asarray(importance.loss(logits, labels)),
        "upper_bound": np.asarray(importance.upper_bound(logits, labels)),
        "gradient_norm": np.sqrt(np.diag(products)).astype(np.float32),
    }


def train(scale: Scale, study: Study, seed: int, wanted: set[int]) -> Iterator[dict[str, Any]]:
    """One training with uniform batches, yielding the rows of the wanted steps."""
    size, examples = CASES[scale][study.network].batch_size, programs.data(scale, study.network).training
    made = programs.programs(scale, study.network, study.optimizer, Sampling(size, size))
    first, last = programs.rate_of(scale, study.network, study.optimizer), study.steps[-1]
    stream, state = np.uint32(seed), made.start(np.uint32(seed))
    for number in range(last // STEPS + 1):
        done = number * STEPS
        if done in wanted:
            key = jax.random.fold_in(jax.random.key(1000 + seed), done)
            for row in _at(key, state.params, examples, scale, study):
                yield {"network": study.network, "seed": seed, "step": done, **row}
        rate = np.float32(first * SCHEDULES[study.schedule](done / last))
        state, _ = made.run(stream, np.uint32(number), rate, state, examples)


def _at(key: jax.Array, params: Any, examples: Examples, scale: Scale, study: Study) -> list[dict[str, Any]]:
    key_pool, key_draws = jax.random.split(key)
    pool = jax.random.choice(key_pool, len(examples.labels), (study.pool,), replace=False)
    inputs = (examples.inputs[pool].astype(jnp.float32) - examples.mean) / examples.scale
    labels = examples.labels[pool]
    gradients = gradients_of(scale, study.network)
    products = gram(lambda part: gradients(params, inputs[part], labels[part]), study.pool)
    scores = scores_of(params, scale, study.network, inputs, labels, products)
    loss = {"loss": float(scores["loss"].mean())}
    return [loss | row for row in measure(key_draws, products, scores, study)]


def run(scale: Scale, path: Path, networks: list[str], limit: int) -> None:
    """Every training of the scale with steps that have no rows yet, the first `limit` of them."""
    stored = {(row["network"], row["seed"], row["step"]) for row in rows.read(path) if row.get("score") == SCORES[-1]}
    missing = [(study, seed, wanted)
               for study in STUDIES[scale] if study.network in networks for seed in range(study.seeds)
               if (wanted := {step for step in study.steps if (study.network, seed, step) not in stored})]  # fmt: skip
    missing = missing[:limit]
    minutes = sum(study.minutes for study, _, _ in missing)
    print(f"variance: {len(missing)} trainings, about {minutes:.0f} minutes on one core (paper: on a GPU)", flush=True)
    if missing:
        rows.append(path, {"machine": rows.machine(), "device": jax.devices()[0].device_kind})
    for study, seed, wanted in missing:
        for row in train(scale, study, seed, wanted):
            rows.append(path, row)
            if row["score"] != "uniform":
                print(f"{row['network']} seed {seed} step {row['step']} loss {row['loss']:.3g} {row['score']}: "
                      f"distance {row['normalised']:.3f} +- {row['normalised_error']:.3f} of uniform's, "
                      f"variance gain {row['gain']:.3g}", flush=True)  # fmt: skip
