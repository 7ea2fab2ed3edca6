"""Expected improvement at the target fidelity, averaged over draws of the surrogate's hyperparameters.

References:
    [SnoekEtAl2012] Practical Bayesian optimization of machine learning algorithms. NeurIPS 2012, section 3.1.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from ibo_jax.numerics import log_expected_improvement, log_mean_exp
from ibo_jax.surrogate.posterior import Posterior, predict, predict_mean
from ibo_jax.types import AnyArray

__all__ = ["log_ei", "mean_at_target"]


def mean_at_target(posteriors: Posterior, x: Float[AnyArray, "point dimension"]) -> Float[AnyArray, "draw point"]:
    """Predicted outputs (standardised) at s = 1, for each draw."""
    return jax.vmap(lambda posterior: predict_mean(posterior, x, jnp.ones(len(x))))(posteriors)


def log_ei(
    posteriors: Posterior, x: Float[AnyArray, "point dimension"], best: Float[AnyArray, "draw"]
) -> Float[AnyArray, "point"]:
    """Log of the expected improvement on `best` at s = 1, mean over draws of the improvement itself."""

    def one(posterior, threshold):
        mean, variance = predict(posterior, x, jnp.ones(len(x)))
        return log_expected_improvement(mean, variance, threshold)

    return log_mean_exp(jax.vmap(one)(posteriors, best), axis=0)
