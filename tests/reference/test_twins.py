"""The twins themselves: against scikit-learn, closed forms and each other."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from reference import entropy_search as es
from reference import gaussian_process as gp

KERNEL = gp.Kernel(np.array([0.3, 0.9, 0.5]), np.array(1.7), np.array(0.4), np.array(0.6), np.array(0.02))


def data(seed: int, n: int, dimension: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, s = rng.random((n, dimension)), rng.random(n)
    return x, s, np.sin(4 * x[:, 0]) - x[:, 1] + (1 - s) ** 2 + 0.1 * rng.normal(size=n)


def test_gaussian_process_at_the_target_equals_scikit_learn():
    x, _, y = data(0, 15)
    z = np.random.default_rng(1).random((7, 3))
    one, other = np.ones(15), np.ones(7)
    kernel = ConstantKernel(gp.CONSTANT) + ConstantKernel(1.7) * Matern(KERNEL.length_scale, nu=2.5)
    model = GaussianProcessRegressor(kernel, alpha=0.02, optimizer=None).fit(x, y)
    mean, covariance = model.predict(z, return_cov=True)
    twin_mean, twin_covariance = gp.posterior(KERNEL, gp.phi_error, (x, one), y, (z, other))
    np.testing.assert_allclose(twin_mean, mean, rtol=1e-10)
    np.testing.assert_allclose(twin_covariance, covariance, atol=1e-12)
    likelihood = gp.log_marginal_likelihood(KERNEL, gp.phi_error, (x, one), y)
    assert likelihood == pytest.approx(model.log_marginal_likelihood_value_, rel=1e-12)


@pytest.mark.parametrize("phi", [gp.phi_error, gp.phi_cost])
def test_fidelity_kernel_is_that_of_the_target_and_its_biases(phi):
    """f(x, s) = c + (1 + l P(s)) a(x) + d phi(s) . b(x), a and b independent: sampled covariance equals the kernel."""
    x, s, _ = data(2, 4)
    rng = np.random.default_rng(3)
    root = np.linalg.cholesky(KERNEL.amplitude * gp.matern52(x, x, KERNEL.length_scale))
    a, *biases = (rng.normal(size=(400_000, 4)) @ root.T for _ in range(1 + phi(s).shape[-1]))
    f = rng.normal(size=(400_000, 1)) + (1.0 + KERNEL.tilt * phi(s).sum(-1)) * a
    f = f + KERNEL.spread * sum(feature * b for feature, b in zip(phi(s).T, biases, strict=True))
    covariance = gp.gram(KERNEL, phi, (x, s), (x, s))
    standard_error = np.sqrt((covariance**2 + np.outer(np.diag(covariance), np.diag(covariance))) / len(f))
    assert np.all(np.abs(np.cov(f.T) - covariance) < 4.5 * standard_error)


def test_leading_axes_are_sets_of_hyperparameters():
    x, s, y = data(4, 9)
    stacked = gp.Kernel(*(np.stack([v, 1.3 * v]) for v in KERNEL))
    likelihood = gp.log_marginal_likelihood(stacked, gp.phi_error, (x, s), y)
    for row in range(2):
        single = gp.log_marginal_likelihood(gp.Kernel(*(v[row] for v in stacked)), gp.phi_error, (x, s), y)
        assert likelihood[row] == pytest.approx(single, rel=1e-12)


def test_scikit_learn_agrees_on_where_the_noise_enters():
    x, _, y = data(5, 12)
    kernel = ConstantKernel(gp.CONSTANT) + ConstantKernel(1.7) * Matern(KERNEL.length_scale, nu=2.5) + WhiteKernel(0.02)
    model = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(x, y)
    likelihood = gp.log_marginal_likelihood(KERNEL, gp.phi_error, (x, np.ones(12)), y)
    assert likelihood == pytest.approx(model.log_marginal_likelihood_value_, rel=1e-12)


def test_metropolis_finds_the_moments_of_a_correlated_normal():
    mean, covariance = np.array([1.0, -2.0]), np.array([[1.0, 1.2], [1.2, 2.0]])
    precision = np.linalg.inv(covariance)
    chain = gp.metropolis(
        lambda q: -0.5 * np.einsum("ci,ij,cj->c", q - mean, precision, q - mean),
        np.zeros((200, 2)), 1000, np.random.default_rng(6),
    )  # fmt: skip
    by_chain = chain.mean(0)
    z = (by_chain.mean(0) - mean) / (by_chain.std(0, ddof=1) / np.sqrt(200))
    assert np.all(np.abs(z) < 4)
    np.testing.assert_allclose(np.cov(chain.reshape(-1, 2).T), covariance, rtol=0.05)


def test_minimiser_of_two_points_in_closed_form():
    mean, covariance = np.array([0.3, 0.0]), np.array([[1.0, 0.2], [0.2, 0.5]])
    p = norm.cdf((mean[1] - mean[0]) / np.sqrt(1.0 + 0.5 - 0.4))
    np.testing.assert_allclose(es.minimiser_probabilities(mean, covariance), [p, 1 - p], atol=1e-9)


def test_exact_probabilities_equal_frequencies_of_many_samples():
    x = np.linspace(0, 1, 5)[:, None]
    covariance = gp.matern52(x, x, np.array([0.4]))
    mean = np.array([0.2, -0.1, 0.3, 0.0, -0.2])
    p = es.minimiser_probabilities(mean, covariance)
    frequencies = es.minimiser_frequencies(es.sample(mean, covariance, 400_000, np.random.default_rng(7)))
    assert np.all(np.abs(p - frequencies) < 4.5 * np.sqrt(p * (1 - p) / 400_000))


def test_gain_by_quadrature_equals_mutual_information_of_two_points_by_integration():
    """For two points x* is the sign of f_0 - f_1, and both entropies are one-dimensional integrals."""
    covariance, cross, variance, noise = np.array([[1.0, 0.3], [0.3, 0.8]]), np.array([0.7, 0.1]), 0.9, 0.05
    g = cross / np.sqrt(variance + noise)
    u = np.linspace(-8, 8, 20_001)
    rest = np.sqrt(1.8 - 0.6 - (g[0] - g[1]) ** 2)
    p = norm.cdf(-(0.4 + (g[0] - g[1]) * u) / rest)
    after = np.trapezoid(es.entropy(np.stack([p, 1 - p], -1)) * norm.pdf(u), u)
    before = norm.cdf(-0.4 / np.sqrt(1.2))
    expected = es.entropy(np.array([before, 1 - before])) - after
    gain = es.gain_by_quadrature(es.Belief(np.array([0.4, 0.0]), covariance, cross, variance, noise))
    assert gain == pytest.approx(expected, abs=1e-6)


def test_pathwise_gain_equals_quadrature():
    x, candidate = np.linspace(0, 1, 5)[:, None], np.array([[0.37]])
    joint = gp.matern52(np.vstack([x, candidate]), np.vstack([x, candidate]), np.array([0.4]))
    mean = np.array([0.2, -0.1, 0.3, 0.0, -0.2])
    belief = es.Belief(mean, joint[:5, :5], joint[:5, 5], 1.0, 0.01)
    gains = [es.gain_pathwise(belief, 20_000, np.random.default_rng(seed), nodes=16) for seed in range(16)]
    standard_error = np.std(gains, ddof=1) / np.sqrt(len(gains))
    bias = 4 / 20_000  # of a plug-in entropy: (points - 1) / (2 samples), here with a factor of two to spare
    assert abs(np.mean(gains) - es.gain_by_quadrature(belief)) < 4 * standard_error + bias
