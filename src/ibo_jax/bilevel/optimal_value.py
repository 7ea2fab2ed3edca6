"""The optimal value of the lower level as a function of the hyperparameters, learnt from a few solves of it.

A Gaussian process, fitted in float64 by the surrogate of the search and evaluated in float32 inside a training.

References:
    [AlexandrovEtAl2001] Approximation and model management in aerodynamic optimization with variable-fidelity models.
        Journal of Aircraft 38(6).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibo_jax.numerics import each_draw, in_float64
from ibo_jax.surrogate import nuts
from ibo_jax.surrogate.kernels import CONSTANT_VARIANCE, ERROR_BASIS, MultiTaskKernel, matern52
from ibo_jax.surrogate.likelihood import TrainingData
from ibo_jax.surrogate.model import error_prior, standardise
from ibo_jax.surrogate.posterior import condition
from ibo_jax.types import AnyArray, Array, Bool, Float, PRNGKeyArray

__all__ = ["Anchored", "OptimalValue", "anchored", "fit"]

ROUGH_TILT = 0.5  # prior scale, wider than a search's: solves that stop short may all lie far above the others


class OptimalValue(NamedTuple):
    """The posterior mean phi-hat(lambda), averaged over draws of the kernel's hyperparameters.

    Attributes:
        low, high: the box of lambda, which the process sees as the unit cube.
        points: solved lambda, in that cube; padding may be anywhere.
        length_scale: one row per draw.
        weight: covariance amplitude times (K + noise)^-1 y, one row per draw; 0 for padding.
        constant: value far from all points.
        scale: standard deviation of what is modelled.
        positive: whether that is the logarithm.
    """

    low: Float[AnyArray, "hyperparameter"]
    high: Float[AnyArray, "hyperparameter"]
    points: Float[AnyArray, "observation hyperparameter"]
    length_scale: Float[AnyArray, "draw hyperparameter"]
    weight: Float[AnyArray, "draw observation"]
    constant: Float[AnyArray, "draw"]
    scale: Float[AnyArray, ""]
    positive: Bool[AnyArray, ""]

    def __call__(self, values: Float[AnyArray, "hyperparameter"]) -> Float[Array, ""]:
        """phi-hat at one lambda; differentiable, which gives d phi-hat / d lambda."""
        differences = (values - self.low) / (self.high - self.low) - self.points  # not by products: float32
        r2 = jnp.sum((differences / self.length_scale[:, None]) ** 2, -1)
        mean = jnp.mean(self.constant + self.scale * jnp.sum(self.weight * matern52(r2), -1))
        return jnp.where(self.positive, jnp.exp(jnp.where(self.positive, mean, 0.0)), mean)


class Anchored(NamedTuple):
    """phi-hat plus a linear function, see `anchored`.

    Attributes:
        phi: what is corrected.
        centre: where it is.
        gap, slope_gap: what is added there to the value and the slope.
    """

    phi: OptimalValue
    centre: Float[AnyArray, "hyperparameter"]
    gap: Float[AnyArray, ""]
    slope_gap: Float[AnyArray, "hyperparameter"]

    def __call__(self, values: Float[AnyArray, "hyperparameter"]) -> Float[Array, ""]:
        """The corrected value at one lambda."""
        return self.phi(values) + self.gap + jnp.sum(self.slope_gap * (values - self.centre))


def anchored(
    phi: OptimalValue,
    centre: Float[AnyArray, "hyperparameter"],
    value: Float[AnyArray, ""],
    slope: Float[AnyArray, "hyperparameter"],
) -> Anchored:
    """phi-hat with this value and slope at `centre`: exact to first order there.

    [AlexandrovEtAl2001] require this of a model within a trust region, so that descents on it go the right way. A solve
    gives both: where w minimises f(., lambda), d phi / d lambda is df / dlambda at that w (envelope theorem).

    Examples:
        >>> points, low, high = np.linspace(-2.0, 2.0, 4)[:, None], np.array([-2.0]), np.array([2.0])
        >>> phi, _ = fit(jax.random.key(0), points, points[:, 0] ** 2, np.ones(4, bool), low, high)
        >>> better = anchored(phi, jnp.ones(1), jnp.ones(()), 2.0 * jnp.ones(1))
        >>> bool(abs(better(jnp.array([1.05])) - 1.05**2) < 0.01)
        True
    """
    predicted, predicted_slope = jax.value_and_grad(phi.__call__)(jnp.asarray(centre))
    return Anchored(phi, centre, value - predicted, slope - predicted_slope)


def fit(
    key: PRNGKeyArray,
    points: Float[AnyArray, "observation hyperparameter"],
    values: Float[AnyArray, "observation"],
    mask: Bool[AnyArray, "observation"],
    low: Float[AnyArray, "hyperparameter"],
    high: Float[AnyArray, "hyperparameter"],
    chain: nuts.Chain | None = None,
    *,
    rough: Bool[AnyArray, "observation"] | None = None,
    positive: bool = False,
) -> tuple[OptimalValue, nuts.Chain]:
    """phi-hat from solved values, and the Markov chain from which the next fit starts.

    Args:
        key: randomness of the kernel's hyperparameters.
        points: padded lambda at which the lower level was solved.
        values: what was reached there.
        mask: which rows are in use; padding may contain anything.
        low: the lowest lambda of the box.
        high: the highest.
        chain: chain of the previous fit, None for the first.
        rough: solves that stop short of the optimum. They tell its shape, as a low fidelity does, and count as exact
            as long as there are no others.
        positive: model the logarithm, so that errors are relative; for losses that span orders of magnitude.

    Examples:
        >>> points, low, high = np.linspace(-2.0, 2.0, 9)[:, None], np.array([-2.0]), np.array([2.0])
        >>> phi, _ = fit(jax.random.key(0), points, points[:, 0] ** 2, np.ones(9, bool), low, high)
        >>> bool(abs(phi(np.array([1.2])) - 1.44) < 0.02)
        True

    Raises:
        ValueError: there is no solved value, or one is not finite, or not positive where it should be.
    """
    mask, x, y = np.asarray(mask), np.asarray(points, np.float64), np.asarray(values, np.float64)
    seen = y[mask]
    if not mask.any() or not np.isfinite(seen).all() or (positive and not (seen > 0).all()):
        raise ValueError(f"expected {'positive' if positive else 'finite'} values of the lower level, got "
                         f"{seen.tolist()}; leave out of the mask what diverged")  # fmt: skip
    rough = np.zeros(len(y), bool) if rough is None or np.all(np.asarray(rough)[mask]) else np.asarray(rough)
    modelled = np.log(np.where(mask, y, 1.0)) if positive else y
    box = np.asarray(low, np.float64), np.asarray(high, np.float64)
    model, chain = _fit(jax.random.key_data(key), x, modelled, mask, 1.0 - rough, *box,
                        np.asarray(positive), chain or nuts.cold_chain(x.shape[1]))  # fmt: skip
    return jax.tree.map(lambda leaf: leaf.astype(np.float32) if leaf.dtype == float else leaf, model), chain


@in_float64
def _fit(key_data, points, values, mask, s, low, high, positive, chain):
    x = (points - low) / (high - low)
    data = TrainingData(x, s, values, mask, jnp.array(ERROR_BASIS))
    prior = error_prior(x.shape[1])
    prior = prior._replace(scale=prior.scale._replace(tilt=np.asarray(ROUGH_TILT)))
    parameters, chain, _ = nuts.fit(jax.random.wrap_key_data(key_data), data, prior, jax.tree.map(jnp.asarray, chain))
    standardised, location, scale = standardise(data)
    posterior = each_draw(lambda draw: condition(draw, standardised), parameters)
    alpha = jnp.where(mask, posterior.weights, 0.0)
    tasks = jax.vmap(lambda draw: MultiTaskKernel(draw, data.basis).tasks(s, jnp.ones(())))(parameters)
    model = OptimalValue(
        low, high, jnp.where(mask[:, None], x, 0.0), jnp.exp(parameters.log_length_scale),
        jnp.exp(parameters.log_amplitude)[:, None] * tasks * alpha,
        location + scale * CONSTANT_VARIANCE * jnp.sum(alpha, 1), scale, positive,
    )  # fmt: skip
    return model, chain
