"""The statistical model: which data, which priors, and the log posterior of the kernel's hyperparameters.

Three Gaussian processes share it: of the error, of the log cost and, once an evaluation has failed, of success. They
differ in the fidelity's basis and in the priors of its weights. Both are data, so that one compiled program fits all.

References:
    [HvarfnerEtAl2024] Vanilla Bayesian optimization performs great in high dimensions. ICML 2024.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Float

from ibo_jax.observations import Observations
from ibo_jax.surrogate.kernels import COST_BASIS, ERROR_BASIS, Basis, KernelParameters
from ibo_jax.surrogate.likelihood import TrainingData, log_likelihood
from ibo_jax.types import AnyArray

__all__ = [
    "FREEDOM",
    "LABEL_NOISE",
    "Prior",
    "cost_data",
    "cost_prior",
    "error_data",
    "error_prior",
    "potential",
    "standardise",
    "success_data",
    "success_prior",
]

FREEDOM = {"log_length_scale": 3.0, "log_noise": 2.0}  # degrees of freedom of the Student-t priors
LABEL_NOISE = 0.05  # at least: taken as exact, labels of 0 and 1 promise success at a fidelity at which all fail
FEW_HYPERPARAMETERS = 6  # with more than these, tens of evaluations can learn only smooth functions


class Prior(NamedTuple):
    """Independent priors on unconstrained kernel hyperparameters: location and scale, each field shaped like them.

    All are normal except those of the length scales and the noise, which are Student-t with `FREEDOM` degrees. These
    are narrow because a few evaluations say little about either, and heavy-tailed so that more evaluations can
    overrule them at little cost: a coordinate may not matter at all, errors may be noisy.
    """

    location: KernelParameters
    scale: KernelParameters


def error_prior(dimension: int, hyperparameters: int | None = None) -> Prior:
    """Prior of the error's process over x with `dimension` coordinates: smooth, with little noise. The bias at s < 1
    may be anything through processes of its own, but only small through a common factor, which moves the lowest values
    most. From `FEW_HYPERPARAMETERS` on, length scales are expected to grow with the cube of their number up to those of
    [HvarfnerEtAl2024], reached at nineteen; these grow with its root, as distances do. The number is that of
    coordinates if not given; a choice is one hyperparameter with several coordinates, of which an exchange moves two.

    Amplitude, noise, tilt and the width of the length scales were chosen on hartmann6 and borehole, their growth on
    borehole, protein and wing-weight, all with development seeds (experiments/benchmarks/NOTES.md).
    """
    count = hyperparameters or dimension
    log_length = min(-0.5 + 3.0 * _log_excess(count), math.sqrt(2.0) + 0.5 * math.log(count))
    return _prior(
        dimension,
        length_scale=(log_length, 0.45),
        amplitude=(2.0, 1.0),
        tilt=(0.0, 0.1),
        spread=(-1.0, 1.0),
        noise=(-9.0, 1.0),
    )


def cost_prior(dimension: int, hyperparameters: int | None = None) -> Prior:
    """Prior of the log cost's process, likewise: the fidelity changes it a lot, and clocks are noisy."""
    return _prior(
        dimension,
        length_scale=(-0.5 + 0.5 * _log_excess(hyperparameters or dimension), 1.0),
        amplitude=(0.0, 1.0),
        tilt=(0.0, 1.0),
        spread=(0.0, 1.0),
        noise=(-6.0, 1.0),
    )


def success_prior(dimension: int, hyperparameters: int | None = None) -> Prior:
    """Prior of the process of success, likewise: failures may fill a region, or come by chance, which is noise alone.

    Chosen with development seeds (experiments/benchmarks/NOTES.md).
    """
    return _prior(
        dimension,
        length_scale=(-0.5 + 0.5 * _log_excess(hyperparameters or dimension), 1.0),
        amplitude=(-1.0, 2.0),
        tilt=(0.0, 0.3),
        spread=(-1.0, 1.0),
        noise=(-1.0, 1.0),
    )


def error_data(observations: Observations, basis: Basis | Float[AnyArray, "3"] = ERROR_BASIS) -> TrainingData:
    """The objective as training data, in its own units; pending and failed rows are masked."""
    return _data(observations, observations.objective, observations.evaluated, basis)


def cost_data(observations: Observations) -> TrainingData:
    """The log cost as training data, in log units; pending and failed rows are masked."""
    return _data(observations, observations.log_cost, observations.evaluated, COST_BASIS)


def success_data(observations: Observations) -> TrainingData:
    """Whether evaluations succeeded, 1 or 0, as training data; pending rows are masked."""
    known = observations.mask & ~observations.pending
    return _data(observations, 1.0 - observations.failed, known, COST_BASIS)._replace(jitter=LABEL_NOISE)


def standardise(data: TrainingData) -> tuple[TrainingData, Float[AnyArray, ""], Float[AnyArray, ""]]:
    """The same data with outputs of mean 0 and standard deviation 1, and their location and scale.

    Outputs in padding become zero, whatever they contained; its points stay, because what is pending or failed
    is imputed there. If all outputs are equal, up to rounding, the scale is 1.
    """
    count = jnp.maximum(jnp.sum(data.mask), 1)
    location = jnp.sum(jnp.where(data.mask, data.y, 0.0)) / count
    variance = jnp.sum(jnp.where(data.mask, (data.y - location) ** 2, 0.0)) / count
    varies = variance > (8 * jnp.finfo(variance.dtype).eps * location) ** 2
    scale = jnp.where(varies, jnp.sqrt(jnp.where(varies, variance, 1.0)), 1.0)
    return data._replace(y=jnp.where(data.mask, (data.y - location) / scale, 0.0)), location, scale


def potential(parameters: KernelParameters, data: TrainingData, prior: Prior) -> Float[AnyArray, ""]:
    """Negative log posterior density of kernel hyperparameters given standardised data, nats, up to a constant."""
    by_field = zip(KernelParameters._fields, parameters, *prior, strict=True)
    log_prior = sum(jnp.sum(_density(name, *where).log_prob(value)) for name, value, *where in by_field)
    return -log_prior - log_likelihood(parameters, data)


def _density(field: str, location, scale) -> dist.Distribution:
    return dist.StudentT(FREEDOM[field], location, scale) if field in FREEDOM else dist.Normal(location, scale)


LocationScale = tuple[float, float]


def _prior(
    dimension: int,
    *,
    length_scale: LocationScale,
    amplitude: LocationScale,
    tilt: LocationScale,
    spread: LocationScale,
    noise: LocationScale,
) -> Prior:
    """Location and scale by field; all but `tilt` are of logarithms."""
    location, scale = (
        KernelParameters(np.full(dimension, of_length_scales), *map(np.asarray, others))
        for of_length_scales, *others in zip(length_scale, amplitude, tilt, spread, noise, strict=True)
    )
    return Prior(location, scale)


def _log_excess(hyperparameters: int) -> float:
    """How many times `FEW_HYPERPARAMETERS` there are, as a logarithm; 0 for fewer."""
    return math.log(max(hyperparameters, FEW_HYPERPARAMETERS) / FEW_HYPERPARAMETERS)


def _data(observations: Observations, values, mask, basis: Basis | Float[AnyArray, "3"]) -> TrainingData:
    weights = np.asarray(basis) if isinstance(basis, tuple) else basis  # traced in `propose`: one program for all
    return TrainingData(observations.x, observations.fidelity, values, mask, weights)
