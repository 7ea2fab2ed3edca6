"""Log expected improvement: against quadrature, in both tails, and averaged over draws as improvement."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from ibo_jax.acquisition.expected_improvement import best_mean, log_ei, mean_at_target
from ibo_jax.numerics import log_expected_improvement
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


@pytest.mark.parametrize("z", [-20.0, -3.0, -0.5, 0.0, 1.0, 6.0, 12.0])
def test_equals_quadrature(z):
    sd, best = 0.7, 0.4
    mean = best - z * sd
    expected, _ = quad(lambda u: u * norm.pdf(best - u, mean, sd), 0, max(0, z * sd) + 12 * sd, epsabs=0, limit=200,
                       points=[min(max(z * sd, 1e-3), 12 * sd + max(0, z * sd) - 1e-3), 0.05 * sd])  # fmt: skip
    log_value = log_expected_improvement(jnp.array(mean), jnp.array(sd**2), jnp.array(best))
    assert float(log_value) == pytest.approx(np.log(expected), rel=1e-6)


def test_tails_meet_and_gradients_are_finite_and_signed():
    z = jnp.array([-1e6, -1e3, -30.0001, -29.9999, -8.0, 0.0, 7.9999, 8.0001, 50.0])
    value = jax.vmap(lambda m: log_expected_improvement(m, jnp.array(1.0), jnp.array(0.0)))
    slope = jax.vmap(jax.grad(lambda m: log_expected_improvement(m, jnp.array(1.0), jnp.array(0.0))))
    assert np.all(np.isfinite(value(-z)))
    assert np.all(slope(-z) < 0)  # a lower mean improves more
    np.testing.assert_allclose(value(-z)[3] - value(-z)[2], 0.0002 * 30, rtol=1e-2)
    np.testing.assert_allclose(value(-z)[7] - value(-z)[6], 0.0002 / 8, rtol=1e-2)


def test_is_that_of_the_target_averaged_over_draws_as_improvement():
    processes, x = posteriors(), jnp.linspace(0, 1, 9)[:, None]
    best = best_mean(processes)
    total = np.zeros(9)
    for i in range(2):
        one = jax.tree.map(lambda v, i=i: v[i], processes)
        mean, variance = map(np.asarray, predict(one, x, jnp.ones(9)))
        assert best[i] == pytest.approx(float(jnp.min(predict(one, one.data.x[:3], jnp.ones(3))[0])))
        np.testing.assert_allclose(mean_at_target(processes, x)[i], mean)
        z = (best[i] - mean) / np.sqrt(variance)
        total += np.sqrt(variance) * (z * norm.cdf(z) + norm.pdf(z)) / 2
    np.testing.assert_allclose(log_ei(processes, x, best), np.log(total), rtol=1e-9)
