"""The optimum's distribution and the information about it: against brute force, quadrature and each other."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr

from ibo_jax.acquisition import entropy_search
from ibo_jax.problems.synthetic import value
from ibo_jax.surrogate import nuts
from ibo_jax.surrogate.kernels import ERROR_BASIS, KernelParameters
from ibo_jax.surrogate.likelihood import JITTER, TrainingData
from ibo_jax.surrogate.model import error_prior, standardise
from ibo_jax.surrogate.posterior import condition
from reference import entropy_search as brute
from reference import gaussian_process as twin

# whole programs: one by one their operations take half a minute to compile
base_samples = jax.jit(entropy_search.base_samples, static_argnums=(1, 2))
believe, symmetric_gain = jax.jit(entropy_search.believe), jax.jit(entropy_search.symmetric_gain)
pathwise_gain = jax.jit(entropy_search.pathwise_gain, static_argnames="fantasies")

NOISE = 0.01
SAMPLES = 4096
REPRESENTERS = jnp.linspace(0.05, 0.95, 5)[:, None]


def one_dimensional(noise: float = NOISE, tilt: float = 0.3, fidelities: tuple[float, ...] = (0.3, 1.0, 0.5, 0.8)):
    """Four observations of a function of one variable, one of them at the target, and the process given them."""
    x, s = jnp.array([[0.1], [0.35], [0.6], [0.9]]), jnp.array(fidelities)
    data = TrainingData(x, s, jnp.array([0.8, -0.6, -0.2, 0.5]), jnp.ones(4, bool), jnp.array(ERROR_BASIS))
    values = ([math.log(0.25)], math.log(0.9), tilt, math.log(0.5), math.log(noise))
    return condition(KernelParameters(*map(jnp.asarray, values)), data)


def twin_belief(posterior, representers, x, s):
    """What the NumPy twin believes of the representers and of a candidate, from the same data."""
    scale, amplitude, tilt, spread, noise = map(np.asarray, posterior.parameters)
    kernel = twin.Kernel(np.exp(scale), np.exp(amplitude), tilt, np.exp(spread), np.exp(noise) + JITTER)
    points = np.vstack([representers, x]), np.append(np.ones(len(representers)), s)
    observed = np.asarray(posterior.data.x), np.asarray(posterior.data.s)
    mean, covariance = twin.posterior(kernel, twin.phi_error, observed, np.asarray(posterior.data.y), points)
    return brute.Belief(mean[:-1], covariance[:-1, :-1], covariance[:-1, -1], covariance[-1, -1], np.exp(noise))


@pytest.fixture(scope="module")
def belief():
    with jax.enable_x64(True):
        return believe(one_dimensional(), REPRESENTERS, base_samples(jax.random.key(0), SAMPLES, 5))


def test_base_samples_have_exactly_the_moments_of_a_standard_normal():
    base = np.asarray(base_samples(jax.random.key(1), 256, 20))
    np.testing.assert_allclose(base.mean(0), 0.0, atol=1e-12)
    np.testing.assert_allclose(base.T @ base / 256, np.eye(20), atol=1e-12)


def test_distribution_of_the_optimum_equals_brute_force_on_a_dense_grid():
    posterior, grid = one_dimensional(), jnp.linspace(0, 1, 60)[:, None]
    p_min = believe(posterior, grid, base_samples(jax.random.key(2), SAMPLES, 60)).probabilities
    exact = twin_belief(posterior, grid, np.array([[0.5]]), 1.0)
    samples = brute.sample(exact.mean, exact.covariance, 200_000, np.random.default_rng(3))
    expected = brute.minimiser_frequencies(samples)
    assert p_min.sum() == pytest.approx(1.0)
    standard_error = np.sqrt(expected * (1 - expected) * (1 / SAMPLES + 1 / 200_000))
    assert np.all(np.abs(p_min - expected) < 4.5 * standard_error + 2 / SAMPLES)


@pytest.mark.parametrize(("x", "s"), [(0.5, 1.0), (0.2, 0.4), (0.97, 0.0)])
def test_gain_equals_numerical_quadrature(x, s):
    posterior, point = one_dimensional(), (jnp.array([[x]]), jnp.array([s]))
    exact = brute.gain_by_quadrature(twin_belief(posterior, REPRESENTERS, np.array([[x]]), s))

    @jax.jit
    def gains(key):
        key_base, key_noise = jax.random.split(key)
        belief = believe(posterior, REPRESENTERS, base_samples(key_base, 8192, 5))
        return pathwise_gain(belief, key_noise, *point, fantasies=65)[0], symmetric_gain(belief, *point)[0]

    pathwise, symmetric = np.array([gains(jax.random.key(seed)) for seed in range(12)]).T
    standard_error = np.std(pathwise, ddof=1) / math.sqrt(len(pathwise))
    bias = 4 / 8192  # of a plug-in entropy, and of the middle quantiles in place of a finer rule
    assert abs(pathwise.mean() - exact) < 4 * standard_error + bias + 0.01 * exact
    assert symmetric.mean() == pytest.approx(exact, rel=0.35, abs=1e-3)  # groups taken as Gaussian: its known bias


def test_many_points_at_once_are_each_point_alone(belief):
    points = jax.random.uniform(jax.random.key(11), (20, 2), jnp.float64)
    alone = [symmetric_gain(belief, point[None, :1], point[1:])[0] for point in points]
    np.testing.assert_allclose(symmetric_gain(belief, points[:, :1], points[:, 1]), alone, rtol=1e-9)


@pytest.mark.parametrize("samples", [64, 512])
def test_symmetric_gain_is_not_negative_up_to_monte_carlo_error(samples):
    belief = believe(one_dimensional(), REPRESENTERS, base_samples(jax.random.key(4), samples, 5))
    points = jax.random.uniform(jax.random.key(5), (200, 2), jnp.float64)
    gains = symmetric_gain(belief, points[:, :1], points[:, 1])
    assert np.all(gains > -2.0 / samples)  # far below the error of one log variance, sqrt(2 / samples) / 2


def test_pathwise_gain_is_not_negative_up_to_monte_carlo_error(belief):
    points = jax.random.uniform(jax.random.key(6), (60, 2), jnp.float64)
    gains = pathwise_gain(belief, jax.random.key(7), points[:, :1], points[:, 1])
    assert np.all(gains > -4.5 * math.log(5) / math.sqrt(SAMPLES))


def test_copies_of_a_representer_are_one_optimum():
    """As where a space has few points: an entropy and a gain of two places, not of fifty."""
    two = REPRESENTERS[jnp.array([1, 2])]
    fifty = jnp.tile(two, (25, 1))
    many = believe(one_dimensional(), fifty, base_samples(jax.random.key(13), SAMPLES, 50))
    few = believe(one_dimensional(), two, base_samples(jax.random.key(14), SAMPLES, 2))
    error = math.sqrt(0.25 / SAMPLES)
    np.testing.assert_allclose(many.probabilities[:2], few.probabilities, atol=6 * error)
    np.testing.assert_array_equal(many.probabilities[2:], 0)
    x, s = jnp.array([[0.5], [0.2]]), jnp.array([1.0, 0.5])
    np.testing.assert_allclose(symmetric_gain(many, x, s), symmetric_gain(few, x, s), atol=0.01)
    key = jax.random.key(15)
    np.testing.assert_allclose(pathwise_gain(many, key, x, s), pathwise_gain(few, key, x, s), atol=0.02)


def test_a_repeat_without_noise_teaches_next_to_nothing():
    belief = believe(one_dimensional(noise=1e-8), REPRESENTERS, base_samples(jax.random.key(8), SAMPLES, 5))
    x, s = belief.posterior.data.x[1:2], belief.posterior.data.s[1:2]
    assert symmetric_gain(belief, x, s) <= 1e-3
    assert abs(pathwise_gain(belief, jax.random.key(9), x, s)) <= 1e-3
    assert symmetric_gain(belief, jnp.array([[0.5]]), s) > 0.02  # a new point does


def test_higher_fidelity_teaches_more():
    """What is observed at s < 1 is the target plus an independent bias that no observation has told of: a theorem."""
    posterior = one_dimensional(tilt=0.0, fidelities=(1.0, 1.0, 1.0, 1.0))
    belief = believe(posterior, REPRESENTERS, base_samples(jax.random.key(10), SAMPLES, 5))
    for x in (0.2, 0.5, 0.75):
        gains = symmetric_gain(belief, jnp.full((4, 1), x), jnp.array([0.0, 0.4, 0.8, 1.0])).tolist()
        assert gains == sorted(gains)
        assert gains[0] < 0.8 * gains[-1]


@pytest.mark.parametrize("place", ["observation", "representer", "corner", "between"])
def test_value_and_gradient_are_finite(belief, place):
    x, s = {
        "observation": (belief.posterior.data.x[1], belief.posterior.data.s[1]),
        "representer": (REPRESENTERS[2], jnp.ones(())),
        "corner": (jnp.zeros(1), jnp.zeros(())),
        "between": (jnp.array([0.47]), jnp.asarray(0.6)),
    }[place]
    gain, gradient = jax.value_and_grad(lambda x, s: symmetric_gain(belief, x[None], s[None])[0], argnums=(0, 1))(x, s)
    assert np.isfinite(gain)
    assert all(np.all(np.isfinite(part)) for part in gradient)


def test_gradient_equals_finite_differences(belief):
    def gain(point):
        return symmetric_gain(belief, point[None, :1], point[1:])[0]

    point, step = jnp.array([0.47, 0.6]), 1e-5
    expected = [(gain(point + step * e) - gain(point - step * e)) / (2 * step) for e in jnp.eye(2)]
    np.testing.assert_allclose(jax.grad(gain)(point), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 20, 36])
def test_symmetric_estimator_ranks_as_the_pathwise_one(n):
    """Averaged over draws of a real fit: rank correlation over the better half, and the best found is nearly best."""
    rng = np.random.default_rng(n)
    x, s = rng.random((n, 6)), rng.random(n)
    rest, mask = 64 - n, np.arange(64) < n
    padded = (np.concatenate([v, np.zeros((rest, *v.shape[1:]))]) for v in (x, s, value("hartmann6", x, s)))
    data, _, _ = standardise(TrainingData(*map(jnp.asarray, padded), jnp.asarray(mask), jnp.array(ERROR_BASIS)))
    draws, _, info = nuts.fit(jax.random.key(n), data, error_prior(6), nuts.cold_chain(6), draws=64)
    assert info.finite
    representers = jnp.asarray(np.concatenate([x[np.argsort(data.y[:n])[:5]], rng.random((45, 6))]))
    candidates = jnp.asarray(
        np.concatenate([rng.random((40, 7)), np.c_[np.asarray(representers)[:40], rng.random(40)]])
    )

    @jax.jit
    def both(parameters, key):
        posterior = condition(parameters, data)
        small, large = (believe(posterior, representers, base_samples(key, k, 50)) for k in (1024, 4096))
        points = (candidates[:, :6], candidates[:, 6])
        return symmetric_gain(small, *points), pathwise_gain(large, key, *points)

    chosen = [jax.tree.map(lambda v, i=i: v[i], draws) for i in (15, 31, 47, 63)]
    gains = [both(parameters, jax.random.key(100 + i)) for i, parameters in enumerate(chosen)]
    symmetric, pathwise = np.mean(np.array(gains), axis=0)
    better = np.argsort(pathwise)[len(pathwise) // 2 :]
    correlation = spearmanr(symmetric[better], pathwise[better]).statistic
    ratio = pathwise[np.argmax(symmetric)] / pathwise.max()
    print(f"n = {n}: Spearman {correlation:.3f}, gain at the argmax over the best {ratio:.3f}")
    assert correlation >= 0.9
    assert ratio >= 0.8


def test_a_belief_from_many_exact_observations_is_made_of_numbers():
    """Of a smooth function on a grid: what is left of the prior is rounding, more than is allowed for at first."""
    with jax.enable_x64(True):
        x = jnp.linspace(0.0, 1.0, 96)[:, None]
        data = TrainingData(x, jnp.ones(96), (x[:, 0] - 0.4) ** 2, jnp.ones(96, bool), jnp.array(ERROR_BASIS))
        values = ([math.log(1.0)], math.log(80.0), 0.0, 0.0, -80.0)
        posterior = condition(KernelParameters(*map(jnp.asarray, values)), data)
        places = jnp.linspace(0.0, 1.0, 50)[:, None]
        belief = believe(posterior, places, base_samples(jax.random.key(0), 256, 50))
        assert np.isfinite(belief.values).all()
        assert belief.probabilities[19:21].sum() > 0.5  # .388 and .408
