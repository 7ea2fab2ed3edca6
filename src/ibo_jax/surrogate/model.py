"""The statistical model: which data, which priors, and the log posterior of the kernel's hyperparameters.

Two Gaussian processes share it: of the error and of the log cost. They differ in the fidelity's basis and in the
priors of its weights. Both are data, so that one compiled program fits either.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Float

from ibo_jax.observations import Observations
from ibo_jax.surrogate.kernels import COST_BASIS, ERROR_BASIS, KernelParameters
from ibo_jax.surrogate.likelihood import TrainingData, log_likelihood
from ibo_jax.types import AnyArray

__all__ = ["Prior", "cost_data", "cost_prior", "error_data", "error_prior", "potential", "standardise"]


class Prior(NamedTuple):
    """Independent normal priors on unconstrained kernel hyperparameters, each field shaped like them."""

    mean: KernelParameters
    sd: KernelParameters


def error_prior(dimension: int) -> Prior:
    """Prior of the error's process over x with `dimension` coordinates: smooth, little noise, any bias of s < 1."""
    return _prior(dimension, tilt=(0.0, 0.5), log_spread=(-1.0, 1.0))


def cost_prior(dimension: int) -> Prior:
    """Prior of the log cost's process: the fidelity changes it much."""
    return _prior(dimension, tilt=(0.0, 1.0), log_spread=(0.0, 1.0))


def error_data(observations: Observations) -> TrainingData:
    """The objective as training data, in its own units; pending rows are masked."""
    return _data(observations, observations.objective, ERROR_BASIS)


def cost_data(observations: Observations) -> TrainingData:
    """The log cost as training data, in log units; pending rows are masked."""
    return _data(observations, observations.log_cost, COST_BASIS)


def standardise(data: TrainingData) -> tuple[TrainingData, Float[AnyArray, ""], Float[AnyArray, ""]]:
    """The same data with outputs of mean 0 and standard deviation 1, and their location and scale.

    Padding becomes zero, whatever it held. If all outputs are equal the scale is 1.
    """
    data = data.cleaned()
    count = jnp.maximum(jnp.sum(data.mask), 1)
    location = jnp.sum(data.y) / count
    variance = jnp.sum(jnp.where(data.mask, (data.y - location) ** 2, 0.0)) / count
    scale = jnp.where(variance > 1e-20, jnp.sqrt(jnp.maximum(variance, 1e-20)), 1.0)
    return data._replace(y=jnp.where(data.mask, (data.y - location) / scale, 0.0)), location, scale


def potential(parameters: KernelParameters, data: TrainingData, prior: Prior) -> Float[AnyArray, ""]:
    """Negative log posterior density of kernel hyperparameters given standardised data, nats, up to a constant."""
    log_prior = sum(
        jnp.sum(dist.Normal(mean, sd).log_prob(value))
        for value, mean, sd in zip(parameters, prior.mean, prior.sd, strict=True)
    )
    return -log_prior - log_likelihood(parameters, data)


def _prior(dimension: int, tilt: tuple[float, float], log_spread: tuple[float, float]) -> Prior:
    # mean and sd of the logs; amplitude and noise chosen on hartmann6, seeds 100-123 (experiments/benchmarks/NOTES.md)
    length_scale, amplitude, noise = (-0.5, 1.0), (2.0, 1.0), (-9.0, 1.5)
    mean, sd = (
        KernelParameters(
            np.full(dimension, length_scale[i]), *map(np.asarray, (amplitude[i], tilt[i], log_spread[i], noise[i]))
        )
        for i in (0, 1)
    )
    return Prior(mean, sd)


def _data(observations: Observations, values, basis: tuple[float, float]) -> TrainingData:
    mask = observations.mask & ~observations.pending
    return TrainingData(observations.x, observations.fidelity, values, mask, np.asarray(basis))
