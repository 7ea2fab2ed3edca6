"""Expected improvement at the target fidelity, averaged over draws as improvement (its formula: test_numerics)."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from ibo_jax.acquisition.expected_improvement import log_ei, mean_at_target
from ibo_jax.surrogate.kernels import ERROR_BASIS, KernelParameters
from ibo_jax.surrogate.likelihood import TrainingData
from ibo_jax.surrogate.posterior import condition, predict

DATA = TrainingData(
    np.array([[0.1], [0.4], [0.8], [np.nan]]), np.array([1.0, 0.2, 0.7, np.nan]), np.array([0.5, -0.8, 0.3, np.nan]),
    np.array([True, True, True, False]), np.array(ERROR_BASIS),
)  # fmt: skip
DRAWS = [(-1.0, 0.0, 0.2, -0.5, -4.0), (-0.3, 0.4, -0.1, 0.0, -5.0)]


def posteriors():
    values = [jnp.array(column) for column in zip(*DRAWS, strict=True)]
    parameters = KernelParameters(values[0][:, None], *values[1:])
    return jax.vmap(lambda draw: condition(draw, jax.tree.map(jnp.asarray, DATA)))(parameters)


def test_is_that_of_the_target_averaged_over_draws_as_improvement():
    processes, x = posteriors(), jnp.linspace(0, 1, 9)[:, None]
    best = np.array([-0.7, -0.9])
    total = np.zeros(9)
    for i in range(2):
        one = jax.tree.map(lambda v, i=i: v[i], processes)
        mean, variance = map(np.asarray, predict(one, x, jnp.ones(9)))
        np.testing.assert_allclose(mean_at_target(processes, x)[i], mean)
        z = (best[i] - mean) / np.sqrt(variance)
        total += np.sqrt(variance) * (z * norm.cdf(z) + norm.pdf(z)) / 2
    np.testing.assert_allclose(log_ei(processes, x, best), np.log(total), rtol=1e-9)
