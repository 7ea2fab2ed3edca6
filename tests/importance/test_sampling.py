"""Draws follow the scores and the weighted mean is unbiased; false alarms of each statistical test below 1e-5."""

import inspect
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibo_jax import importance
from ibo_jax.importance import draw, presample, probabilities, resample, weights
from reference import importance as twin

METHODS = ["multinomial", "systematic"]
Z = 5.5  # standard errors; a normal deviate exceeds it with probability 4e-8, tests below compare at most 300 of them


def z_scores(samples, expectation):
    samples = np.asarray(samples, np.float64)
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return np.abs(samples.mean(axis=0) - expectation) / np.maximum(error, 1e-9 + 1e-6 * np.abs(expectation))


@pytest.mark.parametrize("method", METHODS)
def test_weighted_gradient_is_unbiased(method):
    """Mean over 20,000 batches of the gradient of a network's weighted loss equals that of the whole presample."""
    rng = np.random.default_rng(0)
    inputs, labels = jnp.asarray(rng.normal(size=(24, 5)), jnp.float32), jnp.asarray(rng.integers(3, size=24))
    scores = jnp.asarray(rng.lognormal(sigma=1.5, size=24), jnp.float32)  # any positive scores, not the bound's
    params = {"kernel": jnp.asarray(rng.normal(size=(5, 3)), jnp.float32), "bias": jnp.zeros(3)}

    def mean_loss(params, index, weight):
        logits = inputs[index] @ params["kernel"] + params["bias"]
        return jnp.mean(weight * importance.loss(logits, labels[index]))

    def one(key):
        index, weight = resample(key, scores, 6, method=method)
        return jax.grad(mean_loss)(params, index, weight)

    samples = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 20_000))
    whole = jax.grad(mean_loss)(params, jnp.arange(24), jnp.ones(24))
    assert max(z_scores(samples[name], whole[name]).max() for name in params) < Z
    unweighted = jax.jit(
        jax.vmap(lambda key: jax.grad(mean_loss)(params, resample(key, scores, 6).indices, jnp.ones(6)))
    )
    biased = unweighted(jax.random.split(jax.random.key(2), 20_000))
    assert z_scores(biased["kernel"], whole["kernel"]).max() > Z  # the test can tell


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    scores=st.lists(st.floats(2**-10, 2**10, width=32), min_size=12, max_size=12),
    method=st.sampled_from(METHODS),
    seed=st.integers(0, 2**31),
)
def test_weighted_mean_is_unbiased_for_any_positive_scores(scores, method, seed):
    values = np.linspace(-1, 3, 12) ** 3
    samples = batch_means(
        jax.random.key(seed), jnp.asarray(scores, jnp.float32), jnp.asarray(values, jnp.float32), method
    )
    draws = 5 * np.float64(scores) / np.sum(scores)  # of each, on average; of systematic ones the next whole numbers
    odd = np.minimum(draws % 1, 1 - draws % 1) if method == "systematic" else draws
    seen = 20_000 * odd > 100  # what is rarer than that, 20,000 batches cannot show
    assert z_scores(samples, values / 12)[seen].max(initial=0.0) < Z


@jax.jit
def counts_matrix(indices):
    return jax.vmap(lambda index: jnp.bincount(index, length=12))(indices)


def batch_means(key, scores, values, method):
    """Contribution of each example to the weighted batch mean, 20,000 batches of 5; zero for the rarest examples."""
    indices, weight = _resample_many(jax.random.split(key, 20_000), scores, method)
    g = scores / scores.sum()
    contribution = counts_matrix(indices) * jnp.where(20_000 * 5 * g > 100, values / (12 * g) / 5, 0)
    np.testing.assert_allclose(weight, (1 / (12 * g))[indices], rtol=1e-4)
    return contribution


_resample_many = jax.jit(
    jax.vmap(lambda key, scores, method: resample(key, scores, 5, method=method), in_axes=(0, None, None)),
    static_argnums=2,
)


def test_equal_scores_are_plain_sampling():
    g = probabilities(jnp.full(8, 0.3))
    index, weight = resample(jax.random.key(0), jnp.full(8, 0.3), 1000)
    np.testing.assert_allclose(g, 1 / 8, rtol=1e-6)
    np.testing.assert_allclose(weight, 1, rtol=1e-6)
    counts = np.bincount(index, minlength=8)
    assert np.sum((counts - 125) ** 2 / 125) < 45  # chi-square, 7 degrees of freedom: 1.4e-7
    assert float(importance.tau(jnp.full(8, 0.3))) == 1


def test_weights_equal_the_numpy_twin():
    scores = np.random.default_rng(3).gamma(0.5, size=30)
    index = np.array([0, 4, 4, 29])
    ours = weights(probabilities(jnp.asarray(scores, jnp.float32)), jnp.asarray(index))
    np.testing.assert_allclose(ours, twin.weights(scores, index), rtol=1e-5)
    half = weights(probabilities(jnp.asarray(scores, jnp.float32)), jnp.asarray(index), exponent=0.5)
    np.testing.assert_allclose(half, np.sqrt(twin.weights(scores, index)), rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_examples_of_score_zero_are_never_drawn(method):
    scores = jnp.array([0.0, 1e-3, 0.0, 0.0, 1.0, 0.0])
    index, weight = jax.vmap(lambda key: resample(key, scores, 7, method=method))(
        jax.random.split(jax.random.key(0), 5000)
    )
    assert set(np.unique(index)) == {1, 4}
    assert np.all(np.isfinite(weight))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("extreme", [0.0, 1 - 2.0**-23])  # of what JAX draws
def test_nor_are_they_at_the_ends_of_what_is_drawn(extreme, method, monkeypatch):
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, dtype: jnp.full(shape, extreme, dtype))
    index = draw(jax.random.key(0), jnp.array([0.0, 0.5, 0.5, 0.0]), 64, method)
    assert set(np.unique(index)) <= {1, 2}


def test_systematic_draws_are_within_one_of_their_expectation():
    g = probabilities(jnp.asarray(np.random.default_rng(4).gamma(1.0, size=40), jnp.float32))
    for seed in range(20):
        counts = np.bincount(draw(jax.random.key(seed), g, 64, "systematic"), minlength=40)
        assert np.all(np.abs(counts - 64 * np.asarray(g)) < 1 + 1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_draws_every_example_as_often_as_its_probability_says(method):
    """Cumulative sums of 500 equal probabilities in bfloat16 stop at a half: the other half was never drawn."""
    g = jnp.full(500, 1 / 500, jnp.bfloat16)
    counts = np.bincount(draw(jax.random.key(0), g, 50_000, method), minlength=500)
    assert np.sum((counts - 100) ** 2 / 100) < 700  # chi-square, 499 degrees of freedom: 1e-8
    np.testing.assert_allclose(weights(g, jnp.arange(500)), 1 / (500 * np.float32(g[0])), rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("scores", [[0.0] * 5, [3.0], [0.0], [1e4, 1.0, 0.0], [1e-30] * 3, [1e30] * 4])
def test_degenerate_scores_give_finite_weights(scores, dtype, method):
    index, weight = jax.jit(lambda key, s: resample(key, s, 6, method=method))(
        jax.random.key(0), jnp.array(scores, dtype)
    )
    assert np.all((index >= 0) & (index < len(scores)))
    assert np.all(np.isfinite(weight))
    assert np.all(weight > 0)
    if len(set(scores)) == 1:
        np.testing.assert_allclose(weight, 1, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "scores",
    [[1.0, np.nan, 2.0], [np.inf, 1.0, 0.0], [np.nan] * 3, [np.inf] * 3, [-np.inf, 1.0, 2.0], [-1.0, 1.0, 2.0],
     [3e38, 3e38, 3e38], [3e38, 1.0, 0.0]],
)  # fmt: skip
def test_scores_of_a_diverging_network_draw_uniformly(scores, method):
    scores = jnp.array(scores)
    np.testing.assert_allclose(probabilities(scores), 1 / 3, rtol=1e-6)
    assert float(importance.tau(scores)) == 1
    index, weight = resample(jax.random.key(0), scores, 60, method=method)
    assert set(np.unique(index)) == {0, 1, 2}
    np.testing.assert_allclose(weight, 1, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_impossible_probabilities_draw_indices_in_range(value, method):
    index = draw(jax.random.key(0), jnp.full(3, value), 5, method)
    assert np.all((index >= 0) & (index < 3))


def test_presample_is_uniform_with_replacement():
    index = np.asarray(presample(jax.random.key(0), 10, 10_000))
    counts = np.bincount(index, minlength=10)
    assert len(counts) == 10
    assert np.sum((counts - 1000) ** 2 / 1000) < 55  # chi-square, 9 degrees of freedom: 1.2e-8


def test_same_draws_in_either_precision_mode():
    """The same key must choose the same examples beside float64 code."""
    scores = np.random.default_rng(5).gamma(1.0, size=64).astype(np.float32)
    narrow = resample(jax.random.key(3), jnp.asarray(scores), 32)
    with jax.enable_x64(True):
        wide = resample(jax.random.key(3), jnp.asarray(scores), 32)
        assert wide.weights.dtype == jnp.float32
        np.testing.assert_array_equal(wide.indices, narrow.indices)
        np.testing.assert_array_equal(presample(jax.random.key(0), 50, 20), presample(jax.random.key(0), 50, 20))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("method", METHODS)
def test_scores_kept_in_numpy_give_the_same_draws_without_a_warning(method):
    scores = np.random.default_rng(5).gamma(1.0, size=64)
    g = scores / scores.sum()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index = draw(jax.random.key(3), g, 32, method)
        np.testing.assert_allclose(importance.tau(scores), twin.tau(scores), rtol=1e-5)
        np.testing.assert_allclose(weights(g, index), twin.weights(scores, np.asarray(index)), rtol=1e-5)
    np.testing.assert_array_equal(index, draw(jax.random.key(3), jnp.asarray(g), 32, method))


def test_unknown_draw_is_refused():
    with pytest.raises(ValueError, match='expected draw to be "multinomial" or "systematic", got \'categorical\''):
        inspect.unwrap(draw)(jax.random.key(0), jnp.ones(3) / 3, 2, "categorical")


@pytest.mark.parametrize("method", METHODS)
def test_upper_bound_reduces_the_variance_it_promises(method):
    """tau squared predicts the variance ratio of gradients whose norm is the score."""
    rng = np.random.default_rng(6)
    gradients = rng.normal(size=(200, 10)) * rng.lognormal(sigma=1.2, size=(200, 1))
    scores = np.linalg.norm(gradients, axis=1)
    predicted = twin.tau(scores) ** 2
    assert 0.8 < twin.variance_reduction(gradients, scores) / predicted < 1.25
    keys = jax.random.split(jax.random.key(0), 4000)

    def batch_gradient(key):
        index, weight = resample(key, jnp.asarray(scores, jnp.float32), 16, method=method)
        return jnp.mean(weight[:, None] * jnp.asarray(gradients, jnp.float32)[index], axis=0)

    spread = np.var(jax.vmap(batch_gradient)(keys), axis=0).sum()
    uniform = np.mean(np.sum(gradients**2, axis=1)) - np.sum(gradients.mean(axis=0) ** 2)
    assert uniform / 16 / spread > 0.8 * predicted
