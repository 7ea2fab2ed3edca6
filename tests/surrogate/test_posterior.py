"""Posterior and likelihood for fixed hyperparameters: against scikit-learn, tinygp and the NumPy twin, and padded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tinygp
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from ibo_jax.surrogate.kernels import COST_BASIS, ERROR_BASIS, PUBLISHED_ERROR_BASIS, KernelParameters, MultiTaskKernel
from ibo_jax.surrogate.likelihood import JITTER, TrainingData, log_likelihood
from ibo_jax.surrogate.posterior import condition, covariance, imagine, predict, predict_mean
from reference import gaussian_process as twin

BASES = [
    (ERROR_BASIS, twin.phi_error),
    (PUBLISHED_ERROR_BASIS, twin.phi_published),
    (COST_BASIS, twin.phi_cost),
]
LENGTH_SCALE, NOISE = np.array([0.3, 0.9, 0.5]), 0.02
COUNT, CAPACITY = 15, 32


def parameters() -> KernelParameters:
    values = (np.log(LENGTH_SCALE), np.log(1.7), 0.4, np.log(0.6), np.log(NOISE))
    return KernelParameters(*(jnp.asarray(value) for value in values))


TWIN = twin.Kernel(LENGTH_SCALE, np.array(1.7), np.array(0.4), np.array(0.6), np.array(NOISE + JITTER))


def raw(seed: int = 0, at_target: bool = False):
    rng = np.random.default_rng(seed)
    x, s = rng.random((COUNT, 3)), np.ones(COUNT) if at_target else rng.random(COUNT)
    return x, s, np.sin(4 * x[:, 0]) - x[:, 1] + (1 - s) ** 2 + 0.1 * rng.normal(size=COUNT)


def padded(x, s, y, basis=ERROR_BASIS, filler: float = 0.0, capacity: int = CAPACITY) -> TrainingData:
    rest = capacity - len(y)
    pad = (np.concatenate([v, np.full((rest, *v.shape[1:]), filler)]) for v in (x, s, y))
    mask = np.arange(capacity) < len(y)
    return TrainingData(*map(jnp.asarray, pad), jnp.asarray(mask), jnp.array(basis))


def targets(seed: int = 9, n: int = 7):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.random((n, 3))), jnp.asarray(rng.random(n))


def test_mean_and_variance_at_the_target_equal_scikit_learn():
    x, s, y = raw(at_target=True)
    z = np.random.default_rng(1).random((7, 3))
    kernel = ConstantKernel(1.0) + ConstantKernel(1.7) * Matern(LENGTH_SCALE, nu=2.5)
    model = GaussianProcessRegressor(kernel, alpha=NOISE + JITTER, optimizer=None).fit(x, y)
    expected_mean, expected_sd = model.predict(z, return_std=True)
    mean, variance = predict(condition(parameters(), padded(x, s, y)), jnp.asarray(z), jnp.ones(7))
    np.testing.assert_allclose(mean, expected_mean, atol=1e-6)
    np.testing.assert_allclose(variance, expected_sd**2, atol=1e-6)
    np.testing.assert_allclose(log_likelihood(parameters(), padded(x, s, y)), model.log_marginal_likelihood_value_)


@pytest.mark.parametrize(("basis", "phi"), BASES)
def test_mean_and_covariance_equal_the_twin_across_fidelities(basis, phi):
    x, s, y = raw()
    z, t = targets()
    expected_mean, expected = twin.posterior(TWIN, phi, (x, s), y, (np.asarray(z), np.asarray(t)))
    posterior = condition(parameters(), padded(x, s, y, basis))
    mean, variance = predict(posterior, z, t)
    np.testing.assert_allclose(mean, expected_mean, atol=1e-10)
    np.testing.assert_allclose(predict_mean(posterior, z, t), expected_mean, atol=1e-10)
    np.testing.assert_allclose(variance, np.diag(expected), atol=1e-10)
    np.testing.assert_allclose(covariance(posterior, (z, t), (z, t)), expected, atol=1e-10)
    likelihood = twin.log_marginal_likelihood(TWIN, phi, (x, s), y)
    np.testing.assert_allclose(log_likelihood(parameters(), padded(x, s, y, basis)), likelihood, rtol=1e-12)


@pytest.mark.parametrize("basis", [ERROR_BASIS, PUBLISHED_ERROR_BASIS, COST_BASIS])
def test_tinygp_with_the_kernel_agrees(basis):
    x, s, y = raw(2)
    z, t = targets()
    kernel = MultiTaskKernel(parameters(), jnp.array(basis))
    process = tinygp.GaussianProcess(kernel, (jnp.asarray(x), jnp.asarray(s)), diag=NOISE + JITTER)
    conditioned = process.condition(jnp.asarray(y), (z, t)).gp
    mean, variance = predict(condition(parameters(), padded(x, s, y, basis)), z, t)
    np.testing.assert_allclose(mean, conditioned.loc, atol=1e-9)
    np.testing.assert_allclose(variance, conditioned.variance, atol=1e-8)


@pytest.mark.parametrize("basis", [ERROR_BASIS, PUBLISHED_ERROR_BASIS, COST_BASIS])
def test_closed_form_gradient_equals_autodiff(basis):
    x, s, y = raw(3)

    def plain(parameters):
        kernel = MultiTaskKernel(parameters, jnp.array(basis))
        noise = jnp.exp(parameters.log_noise) + JITTER
        points = (jnp.asarray(x), jnp.asarray(s))
        return tinygp.GaussianProcess(kernel, points, diag=noise).log_probability(jnp.asarray(y))

    expected = jax.grad(plain)(parameters())
    gradient = jax.grad(log_likelihood)(parameters(), padded(x, s, y, basis))
    for name, closed, automatic in zip(KernelParameters._fields, gradient, expected, strict=True):
        np.testing.assert_allclose(closed, automatic, rtol=1e-8, atol=1e-9, err_msg=name)


def test_padding_of_nan_changes_nothing_exactly():
    clean, poisoned = (padded(*raw(4), filler=filler) for filler in (0.0, np.nan))
    z, t = targets()
    for function in (
        lambda data: predict(condition(parameters(), data), z, t),
        lambda data: predict_mean(condition(parameters(), data), z, t),
        lambda data: jax.value_and_grad(log_likelihood)(parameters(), data),
        lambda data: predict(imagine(parameters(), data, jnp.zeros(CAPACITY, bool)), z, t),
    ):
        for one, other in zip(jax.tree.leaves(function(clean)), jax.tree.leaves(function(poisoned)), strict=True):
            np.testing.assert_array_equal(one, other)


def test_capacity_changes_nothing_beyond_rounding():
    z, t = targets()
    small, large = (predict(condition(parameters(), padded(*raw(5), capacity=c)), z, t) for c in (COUNT, 96))
    np.testing.assert_allclose(small, large, atol=1e-12)


def test_imagined_outcomes_lower_the_uncertainty_and_move_no_mean():
    x, s, y = raw(6)
    data, pending = padded(x, s, y), np.arange(CAPACITY) == COUNT - 1
    observed = data._replace(mask=data.mask & ~pending)
    z, t = (jnp.concatenate([a, jnp.asarray(b[-1:])]) for a, b in zip(targets(), (x, s), strict=True))
    before = predict(condition(parameters(), observed), z, t)
    after = predict(imagine(parameters(), observed, jnp.asarray(pending)), z, t)
    np.testing.assert_allclose(after[0], before[0], atol=1e-9)
    assert np.all(after[1] <= before[1] + 1e-12)
    assert after[1][-1] < 0.2 * before[1][-1]  # at the pending point itself, noise is what is left


def test_exact_outputs_tell_a_small_effect_from_none():
    x = np.array([[0.2, 0.4, 0.0], [0.2, 0.4, 1.0], [0.9, 0.1, 0.5]])
    data = padded(x, np.ones(3), np.array([-1.0, -1.0 + 1e-4, 1.0]))
    length_scale = jnp.log(jnp.array([0.3, 0.9, 1000.0]))
    exact = parameters()._replace(log_length_scale=length_scale, log_noise=jnp.array(-40.0))
    low, high = predict_mean(condition(exact, data), jnp.asarray(x[:2]), jnp.ones(2))
    assert high - low == pytest.approx(1e-4, rel=0.05)
