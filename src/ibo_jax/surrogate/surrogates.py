"""The processes given the observations, of error, log cost and success, and what they predict in their own units."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from ibo_jax.numerics import each_draw
from ibo_jax.observations import Observations
from ibo_jax.surrogate.kernels import ERROR_BASIS, Basis, KernelParameters
from ibo_jax.surrogate.model import cost_data, error_data, standardise, success_data
from ibo_jax.surrogate.posterior import Posterior, condition, imagine, predict, predict_mean
from ibo_jax.types import AnyArray

__all__ = ["Surrogates", "surrogates"]

LEAST_PROBABILITY = 0.01  # of success: failures never rule a place out


class Surrogates(NamedTuple):
    """The processes given the observations, one draw per row, and how to undo the standardisation of their outputs.

    That of success is None as long as no evaluation has failed.
    """

    error: Posterior
    error_location: Float[AnyArray, ""]
    error_scale: Float[AnyArray, ""]
    cost: Posterior
    cost_location: Float[AnyArray, ""]
    cost_scale: Float[AnyArray, ""]
    success: Posterior | None
    success_location: Float[AnyArray, ""]
    success_scale: Float[AnyArray, ""]

    def objective(self, x: Float[AnyArray, "dimension"], s: Float[AnyArray, ""]):
        """Predicted objective at one point and its standard deviation over draws, noise included, in its own units."""
        mean, variance = jax.vmap(lambda posterior: predict(posterior, x[None], s[None]))(self.error)
        variance = jnp.mean(variance[:, 0] + self.error.noise) + jnp.var(mean[:, 0])
        return self.error_location + self.error_scale * jnp.mean(mean), self.error_scale * jnp.sqrt(variance)

    def log_cost(self, x: Float[AnyArray, "point dimension"], s: Float[AnyArray, "point"]) -> Float[AnyArray, "point"]:
        """Log of the predicted cost: the exponential of the mean log cost, averaged over draws."""
        mean = jax.vmap(lambda posterior: predict_mean(posterior, x, s))(self.cost)
        return jax.nn.logsumexp(self.cost_location + self.cost_scale * mean, axis=0) - jnp.log(len(mean))

    def success_probability(
        self, x: Float[AnyArray, "point dimension"], s: Float[AnyArray, "point"]
    ) -> Float[AnyArray, "point"]:
        """Probability that an evaluation yields an objective: the predicted mean of 0 and 1, averaged over draws."""
        if self.success is None:
            return jnp.ones(len(x))
        mean = jax.vmap(lambda posterior: predict_mean(posterior, x, s))(self.success)
        return jnp.mean(jnp.clip(self.success_location + self.success_scale * mean, LEAST_PROBABILITY, 1.0), axis=0)


def surrogates(
    observations: Observations,
    error: KernelParameters,
    cost: KernelParameters,
    error_basis: Basis | Float[AnyArray, "3"] = ERROR_BASIS,
    success: KernelParameters | None = None,
) -> Surrogates:
    """Condition the processes for every draw; pending and failed evaluations get imputed errors.

    Args:
        observations: padded; at least one row evaluated.
        error: draws of the error's hyperparameters, from `nuts.fit`.
        cost: equally many draws of the log cost's hyperparameters.
        error_basis: how the error may depend on the fidelity, as in the fit.
        success: equally many draws of the hyperparameters of success, if anything has failed.

    Examples:
        >>> import numpy as np
        >>> from ibo_jax.observations import append, empty
        >>> from ibo_jax.surrogate.model import cost_prior, error_prior
        >>> observations = append(empty(1), np.array([0.5]), 1.0, objective=0.3, log_cost=2.0)
        >>> one_draw = [jax.tree.map(lambda v: v[None], prior(1).location) for prior in (error_prior, cost_prior)]
        >>> models = surrogates(observations, *one_draw)
        >>> round(float(models.log_cost(jnp.array([[0.5]]), jnp.ones(1))[0]), 2)
        2.0
    """
    error_observed, error_location, error_scale = standardise(error_data(observations, error_basis))
    cost_observed, cost_location, cost_scale = standardise(cost_data(observations))
    success_observed, success_location, success_scale = standardise(success_data(observations))
    unknown = jnp.asarray(observations.mask & ~observations.evaluated)
    return Surrogates(
        each_draw(lambda parameters: imagine(parameters, error_observed, unknown), error),
        error_location,
        error_scale,
        each_draw(lambda parameters: condition(parameters, cost_observed), cost),
        cost_location,
        cost_scale,
        None if success is None else each_draw(lambda parameters: condition(parameters, success_observed), success),
        success_location,
        success_scale,
    )
