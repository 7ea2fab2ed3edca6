"""The elementary model of the paper: linear, 784 inputs and a constant to 10 outputs, squared error, weighted squares.

Loss, as in the authors' code: minus the mean log-density of the one-hot labels under normal errors of standard
deviation 0.1, in nats per output; each of the 7,850 parameters w_i is penalised by exp(lambda_i) w_i^2 / 10. A vector
of ten lambdas belongs to the ten digits, one of length one to all parameters.

The loss is quadratic, so its best response has a closed form, which a tuner never sees: `solve`.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ibo_jax.training.datasets import load

DEVIATION = 0.1
CONSTANT = math.log(DEVIATION * math.sqrt(2 * math.pi))


class Part(NamedTuple):
    """Inputs in [0, 1], the last one 1, and one-hot labels."""

    inputs: Float[Array, "example input"]
    targets: Float[Array, "example class_"]


class Moments(NamedTuple):
    """Everything that squared errors need from a part: means over examples, in float64."""

    gram: Float[np.ndarray, "input input"]
    cross: Float[np.ndarray, "input class_"]
    square: Float[np.ndarray, "class_"]


def parts(source: str, train: int, first: int = 0) -> tuple[Part, Part, Part]:
    """`train` training examples from number `first` on, and all validation and test examples.

    Raises:
        ValueError: there are fewer.
    """
    data = load(source, normalise="unit")
    if first + train > len(data.train_labels):
        raise ValueError(f"expected at most {len(data.train_labels)} training examples of {source}, asked for "
                         f"{train} from {first} on; run fewer seeds")  # fmt: skip
    top, mine = float(np.max(data.scale)), slice(first, first + train)
    chosen = ((data.train_inputs[mine], data.train_labels[mine]), (data.valid_inputs, data.valid_labels),
              (data.test_inputs, data.test_labels))  # fmt: skip
    return tuple(_part(inputs, labels, top) for inputs, labels in chosen)  # type: ignore[return-value]


def _part(inputs: np.ndarray, labels: np.ndarray, top: float) -> Part:
    flat = inputs.reshape(len(inputs), -1).astype(np.float32) / np.float32(top)
    with_one = np.concatenate([flat, np.ones((len(flat), 1), np.float32)], axis=1)
    return Part(jnp.asarray(with_one), jnp.asarray(np.eye(10, dtype=np.float32)[labels]))


def init(inputs: int, scale: float):
    """Normally distributed parameters, with which the elementary network begins."""
    return lambda key: scale * jax.random.normal(key, (inputs, 10), jnp.float32)


def data_loss(weights: Float[Array, "input class_"], part: Part) -> Float[Array, ""]:
    """Validation loss; with `penalty` the training loss."""
    return jnp.mean((part.inputs @ weights - part.targets) ** 2) / (2 * DEVIATION**2) + CONSTANT


def penalty(weights: Float[Array, "input class_"], lam: Float[Array, "hyperparameter"]) -> Float[Array, ""]:
    shaped = lam.reshape(weights.shape) if lam.size == weights.size else lam
    return jnp.sum(jnp.exp(shaped) * weights**2) / 10


def train_loss(weights: Float[Array, "input class_"], lam: Float[Array, "hyperparameter"], part: Part):
    return data_loss(weights, part) + penalty(weights, lam)


def moments(part: Part) -> Moments:
    x, y = (np.asarray(leaf, np.float64) for leaf in part)
    return Moments(x.T @ x / len(x), x.T @ y / len(x), np.mean(y**2, axis=0))


def judge(weights: Float[np.ndarray, "*some input class_"], seen: Moments) -> Float[np.ndarray, "*some"]:
    """`data_loss` of the part that the moments describe, exactly."""
    errors = seen.square - 2 * np.sum(weights * seen.cross, axis=-2) + np.sum(weights * (seen.gram @ weights), axis=-2)
    return errors.mean(-1) / (2 * DEVIATION**2) + CONSTANT


def solve(lam: np.ndarray, seen: Moments) -> Float[np.ndarray, "input class_"]:
    """The parameters of least training loss, for any number of hyperparameters."""
    inputs = len(seen.gram)
    ridge = 2 * DEVIATION**2 * np.exp(np.broadcast_to(lam if lam.size <= 10 else lam.reshape(inputs, 10), (inputs, 10)))
    columns = [np.linalg.solve(seen.gram + np.diag(ridge[:, c]), seen.cross[:, c]) for c in range(10)]
    return np.stack(columns, axis=1)


class Responses:
    """Exact validation losses of many vectors of ten hyperparameters, by one eigendecomposition."""

    def __init__(self, seen: Moments, judged: Moments):
        self.values, vectors = np.linalg.eigh(seen.gram)
        self.cross = vectors.T @ seen.cross
        self.judged = Moments(vectors.T @ judged.gram @ vectors, vectors.T @ judged.cross, judged.square)

    def by_class(self, lam: Float[np.ndarray, "some"]) -> Float[np.ndarray, "some class_"]:
        """Loss of each output at a common hyperparameter: the outputs do not depend on each other."""
        ridge = 2 * DEVIATION**2 * np.exp(lam)
        found = []
        for value in ridge:
            w = self.cross / (np.maximum(self.values, 0) + value)[:, None]
            errors = self.judged.square - 2 * np.sum(w * self.judged.cross, 0) + np.sum(w * (self.judged.gram @ w), 0)
            found.append(errors / (2 * DEVIATION**2) + CONSTANT)
        return np.array(found)
