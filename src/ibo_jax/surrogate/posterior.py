"""The Gaussian process given data, for one draw of its hyperparameters: predict, covary, and imagine pending outcomes.

Everything is written for one draw and mapped over draws by the caller. The inverse of the Cholesky factor is kept,
so that each prediction is a matrix product. All outputs are standardised (`model.standardise`).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Float

from ibo_jax.numerics import inverse_of_lower
from ibo_jax.surrogate.kernels import KernelParameters, MultiTaskKernel
from ibo_jax.surrogate.likelihood import TrainingData, masked_gram
from ibo_jax.types import AnyArray

__all__ = ["Posterior", "condition", "covariance", "cross", "imagine", "predict", "predict_mean"]

Points = tuple[Float[AnyArray, "point dimension"], Float[AnyArray, "point"]]


class Posterior(NamedTuple):
    """A process given data, with L the Cholesky factor of K + noise.

    `inverse_factor` is L^-1, `whitened` L^-1 y, and `weights` (K + noise)^-1 y.
    """

    parameters: KernelParameters
    data: TrainingData
    inverse_factor: Float[AnyArray, "observation observation"]
    whitened: Float[AnyArray, "observation"]
    weights: Float[AnyArray, "observation"]

    @property
    def kernel(self) -> MultiTaskKernel:
        """Prior covariance, of one draw."""
        return MultiTaskKernel(self.parameters, self.data.basis)

    @property
    def noise(self) -> Float[AnyArray, "*draw"]:
        """Variance of the observation noise, the jitter included that the likelihood adds to it."""
        return jnp.exp(self.parameters.log_noise) + self.data.jitter


def condition(parameters: KernelParameters, data: TrainingData) -> Posterior:
    """The process with these hyperparameters given standardised data; Rasmussen & Williams (2006), algorithm 2.1.

    Examples:
        >>> from ibo_jax.surrogate.kernels import ERROR_BASIS
        >>> from ibo_jax.surrogate.model import error_prior
        >>> seen = TrainingData(
        ...     jnp.array([[0.5]]), jnp.ones(1), jnp.array([1.0]), jnp.array([True]), jnp.array(ERROR_BASIS)
        ... )
        >>> posterior = condition(error_prior(1).location, seen)
        >>> mean, variance = predict(posterior, jnp.array([[0.5], [0.0]]), jnp.ones(2))
        >>> bool(mean[0] > mean[1] > 0), bool(variance[0] < variance[1])  # what was seen, and towards the prior mean
        (True, True)
    """
    data = data.cleaned()
    factor = jnp.linalg.cholesky(masked_gram(parameters, data), symmetrize_input=False)
    inverse_factor = inverse_of_lower(factor)
    whitened = inverse_factor @ data.y
    return Posterior(parameters, data, inverse_factor, whitened, inverse_factor.T @ whitened)


def cross(
    posterior: Posterior, x: Float[AnyArray, "point dimension"], s: Float[AnyArray, "point"]
) -> Float[AnyArray, "n point"]:
    """Whitened covariance L^-1 k(X, points) between the observations and points: what every prediction is made of."""
    gram = posterior.kernel((posterior.data.x, posterior.data.s), (x, s))
    return posterior.inverse_factor @ jnp.where(posterior.data.mask[:, None], gram, 0.0)


def predict_mean(
    posterior: Posterior, x: Float[AnyArray, "point dimension"], s: Float[AnyArray, "point"]
) -> Float[AnyArray, "point"]:
    """Mean at points, at a small part of the cost of `predict`, which multiplies each point's covariances by L^-1."""
    gram = posterior.kernel((posterior.data.x, posterior.data.s), (x, s))
    return posterior.weights @ gram  # the weights of padded rows are 0


def predict(
    posterior: Posterior, x: Float[AnyArray, "point dimension"], s: Float[AnyArray, "point"]
) -> tuple[Float[AnyArray, "point"], Float[AnyArray, "point"]]:
    """Mean and variance of the latent function (without noise) at points."""
    whitened = cross(posterior, x, s)
    variance = posterior.kernel((x, s)) - jnp.sum(whitened**2, axis=0)
    return posterior.whitened @ whitened, jnp.maximum(variance, 1e-12)


def covariance(posterior: Posterior, first: Points, second: Points) -> Float[AnyArray, "point other"]:
    """Posterior covariance of the latent function between two batches of points; negative values are kept."""
    return posterior.kernel(first, second) - cross(posterior, *first).T @ cross(posterior, *second)


def imagine(parameters: KernelParameters, data: TrainingData, pending: Bool[AnyArray, "observation"]) -> Posterior:
    """The process given data and, at pending rows, its own predictions: uncertainty falls there, the mean stays."""
    mean = predict_mean(condition(parameters, data), data.x, data.s)
    filled = data._replace(y=jnp.where(pending, mean, data.y), mask=data.mask | pending)
    return condition(parameters, filled)
