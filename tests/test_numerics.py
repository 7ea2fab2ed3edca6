"""Double precision on request, factorisation, and formulas in log space against integrals that keep their digits."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.integrate import quad

from ibo_jax import numerics
from ibo_jax.numerics import (
    cholesky,
    each_draw,
    entropy,
    gram_of_lower,
    in_float64,
    inverse_of_lower,
    log_expected_improvement,
    log_mean_exp,
)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def log_ei_and_slope(z: float) -> tuple[float, float]:
    """log E max(z + u, 0) for standard normal u, and its derivative, without cancellation in either tail.

    Below zero it is phi(z) / z^2 times the integral of t exp(-t - (t / z)^2 / 2), and the derivative is Phi(z) over it.
    """
    if z >= 0:
        total = scipy.stats.norm.pdf(z) + z * scipy.stats.norm.cdf(z)
        return np.log(total), scipy.stats.norm.cdf(z) / total
    zeroth, _ = quad(lambda t: np.exp(-t - 0.5 * (t / z) ** 2), 0, 60, epsabs=0)
    first, _ = quad(lambda t: t * np.exp(-t - 0.5 * (t / z) ** 2), 0, 60, epsabs=0)
    return scipy.stats.norm.logpdf(z) + np.log(first / z**2), -z * zeroth / first


@pytest.mark.parametrize("z", [-1e4, -300.0, -40.0, -25.01, -24.99, -12.0, -3.0, -0.5, 0.0, 1.0, 6.0, 40.0])
def test_log_expected_improvement_and_its_slope_in_both_tails(float64, z):
    sd, best = 0.7, 0.4
    mean = jnp.asarray(best - z * sd)
    value, slope = jax.value_and_grad(log_expected_improvement)(mean, jnp.asarray(sd**2), jnp.asarray(best))
    expected, expected_slope = log_ei_and_slope((best - float(mean)) / sd)
    assert float(value) == pytest.approx(np.log(sd) + expected, rel=1e-8, abs=1e-7)
    assert float(slope) == pytest.approx(-expected_slope / sd, rel=1e-6)


def test_log_expected_improvement_has_finite_gradients_without_variance(float64):
    for mean in (-1.0, 0.0, 1.0):
        arguments = (jnp.asarray(mean), jnp.zeros(()), jnp.zeros(()))
        value, gradient = jax.value_and_grad(log_expected_improvement, argnums=(0, 1))(*arguments)
        assert np.all(np.isfinite([value, *gradient]))


def test_elsewhere_than_on_the_cpu_draws_are_batched_and_no_option_of_it_is_asked_for(float64, monkeypatch):
    stacks = jnp.stack([jnp.eye(2), jnp.array([[4.0, 1.0], [1.0, 2.0]])])
    in_turn = each_draw(cholesky, stacks)
    monkeypatch.setattr(numerics, "PLATFORM", "cuda")
    np.testing.assert_allclose(each_draw(cholesky, stacks), in_turn)
    assert "while" not in jax.jit(lambda s: each_draw(cholesky, s)).lower(stacks).as_text()
    assert numerics.compiler_options.__wrapped__() == {}


def test_entropy_counts_zeros_as_zero(float64):
    p = np.array([[0.2, 0.8, 0.0], [0.0, 1.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(entropy(p), scipy.stats.entropy(p, axis=1), atol=1e-15)


def test_log_mean_exp_does_not_overflow(float64):
    np.testing.assert_allclose(log_mean_exp(jnp.array([[1e4, -1e4], [1e4, -1e4]])), [1e4, -1e4])
    np.testing.assert_allclose(log_mean_exp(jnp.log(jnp.array([[1.0, 3.0]])), axis=1), [np.log(2.0)])


def test_cholesky_of_a_singular_matrix_and_of_one_that_is_none(float64):
    singular = 4.0 * jnp.ones((5, 5))
    factor = cholesky(singular)
    np.testing.assert_allclose(factor @ factor.T, singular, atol=1e-7)
    assert np.all(factor == np.tril(factor))
    assert np.any(np.isnan(cholesky(jnp.diag(jnp.array([1.0, -1.0])))))


@pytest.mark.parametrize("n", [1, 7, numerics.SMALL, numerics.SMALL + 1, 4 * numerics.SMALL + 3])
def test_lower_triangular_inverse_and_gram_by_halves(float64, n):
    root = np.random.default_rng(n).normal(size=(n, n))
    factor = np.linalg.cholesky(root @ root.T + n * np.eye(n))
    inverse = inverse_of_lower(factor)
    np.testing.assert_allclose(inverse @ factor, np.eye(n), atol=1e-12)
    assert np.all(inverse == np.tril(inverse))
    np.testing.assert_allclose(gram_of_lower(inverse), np.linalg.inv(factor @ factor.T), atol=1e-12)


def test_each_draw_equals_mapping_one_by_one(float64):
    stack = np.random.default_rng(0).normal(size=(4, 3, 3))
    stack, shift = stack @ np.swapaxes(stack, 1, 2) + np.eye(3), np.arange(4.0)
    mapped = each_draw(lambda matrix, by: jnp.linalg.cholesky(matrix) + by, stack, shift)
    np.testing.assert_allclose(mapped, np.linalg.cholesky(stack) + shift[:, None, None], rtol=1e-12)


def test_in_float64_computes_in_double_precision_and_leaves_the_process_alone():
    add = in_float64(lambda x, key: {"sum": x + 1e-12, "draw": jax.random.normal(key, (2,), x.dtype)})
    result = add(np.ones(3), jax.random.key(0))
    assert all(isinstance(leaf, np.ndarray) and leaf.dtype == np.float64 for leaf in result.values())
    np.testing.assert_array_equal(result["sum"], np.ones(3) + 1e-12)
    assert jnp.ones(3).dtype == (jnp.ones(3) + 1e-12).dtype == jnp.float32


@pytest.mark.parametrize("debug", [jax.debug_nans, jax.debug_infs])
def test_what_is_not_finite_by_intent_stops_no_search_of_somebody_who_debugs_training(debug):
    unknown = in_float64(lambda x: (x * np.nan, x / 0.0))
    with debug(True):
        found = unknown(np.ones(()))
        assert (jax.config.jax_debug_nans, jax.config.jax_debug_infs).count(True) == 1
    np.testing.assert_array_equal(found, [np.nan, np.inf])


def test_a_search_runs_in_a_program_with_strict_modes():
    def product(matrix, row, key):
        return matrix * row * jax.random.uniform(key) / jax.random.uniform(key)

    key = jax.random.key(0)

    with (
        jax.numpy_rank_promotion("raise"), jax.debug_key_reuse(True), jax.numpy_dtype_promotion("strict"),
        jax.transfer_guard("disallow_explicit"), jax.disable_jit(True),
    ):  # fmt: skip
        found = in_float64(product)(np.ones((2, 3)), np.arange(3), key)
        assert jax.config.jax_numpy_rank_promotion == "raise"
        assert jax.config.jax_disable_jit
    np.testing.assert_array_equal(found, np.tile(np.arange(3.0), (2, 1)))


def test_in_float64_keeps_a_program_a_shape_and_keyword():
    traced = []

    @in_float64
    def scale(x, *, by):
        traced.append(x.shape)
        return by * x

    for x, by in ((np.ones(2), 3), (np.zeros(2), 3), (np.ones(4), 3), (np.ones(2), 5)):
        np.testing.assert_array_equal(scale(x, by=by), by * x)
    assert traced == [(2,), (4,), (2,)]
    jax.clear_caches()  # as after a training
    scale(np.ones(4), by=3)
    assert len(traced) == len(scale.programs) == 3


def test_options_that_this_compiler_does_not_know_are_left_out(monkeypatch):
    known = numerics.compiler_options()
    assert known.keys() >= {"xla_cpu_multi_thread_eigen", "xla_backend_optimization_level"}
    monkeypatch.setitem(numerics.COMPILER_OPTIONS, "xla_no_such_option", True)
    numerics.compiler_options.cache_clear()
    assert numerics.compiler_options() == known


@pytest.fixture
def blas_threads():
    """How many threads BLAS has, by library; two at first, whatever the environment says."""
    libraries = numerics._blas()
    before = [library.num_threads for library in libraries]
    for library in libraries:
        library.set_num_threads(2)
    yield lambda: {library.num_threads for library in libraries}
    for library, threads in zip(libraries, before, strict=True):
        library.set_num_threads(threads)


@pytest.mark.parametrize("first_leaves_first", [True, False])
def test_blas_has_one_thread_inside_and_its_own_number_when_all_have_left(blas_threads, first_leaves_first):
    def search(entered, leave):
        with numerics._one_blas_thread:
            entered.set()
            leave.wait(60)

    entered, leave = threading.Event(), threading.Event()
    other = threading.Thread(target=search, args=(entered, leave))
    assert blas_threads() == {2}
    with numerics._one_blas_thread:
        assert blas_threads() == {1}
        other.start()
        entered.wait(60)
        if not first_leaves_first:
            leave.set()
            other.join()
    leave.set()
    other.join()
    assert blas_threads() == {2}
