"""The variance-reduction ratio against its published form, and the two rules."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibo_jax.importance import moving_average, pays, tau, threshold
from reference import importance as twin


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.floats(2**-14, 2**14, width=32), min_size=2, max_size=30))
def test_tau_equals_the_published_form(scores):
    ours = float(tau(jnp.asarray(scores, jnp.float32)))
    assert 1 <= ours <= np.sqrt(len(scores)) * (1 + 1e-5)
    np.testing.assert_allclose(ours, twin.tau(np.float64(scores)), rtol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("scores", [[0.0] * 4, [2.0], [0.0], [1e-30] * 2, [1e30] * 9, [0.7] * 64])
def test_tau_of_equal_scores_is_one(scores, dtype):
    assert float(jax.jit(tau)(jnp.array(scores, dtype))) == 1


def test_tau_of_one_example_among_many_is_the_square_root_of_their_number():
    np.testing.assert_allclose(tau(jnp.zeros(100).at[7].set(3.0)), 10, rtol=1e-6)


def test_tau_has_a_finite_gradient():
    assert jnp.all(jnp.isfinite(jax.grad(tau)(jnp.zeros(5))))
    assert jnp.all(jnp.isfinite(jax.grad(tau)(jnp.array([1.0, 0.0, 3.0]))))


def test_moving_average_starts_at_zero_without_correction():
    average = jnp.zeros(())
    for _ in range(7):
        average = moving_average(average, jnp.array(3.0))
    np.testing.assert_allclose(average, 3 * (1 - 0.9**7), rtol=1e-6)


def test_published_thresholds():
    thresholds = [threshold(ratio * 32, 32) for ratio in range(2, 7)]
    np.testing.assert_allclose(thresholds, [twin.threshold(ratio * 32, 32) for ratio in range(2, 7)])
    np.testing.assert_allclose(thresholds, [5 / 3, 2, 7 / 3, 8 / 3, 3])


def crossing(rule, ratio):
    """The smallest tau of a fine grid at which importance sampling pays."""
    grid = np.linspace(1, 8, 7001)
    verdicts = np.asarray(pays(jnp.asarray(grid, jnp.float32), ratio * 16, 16, rule))
    assert np.all(np.diff(verdicts.astype(int)) >= 0)
    return grid[np.argmax(verdicts)]


@pytest.mark.parametrize(("ratio", "published", "variance"), [(2, 5 / 3, 3.162), (3, 2, 2.449), (6, 3, 2.449)])
def test_crossing_points_of_the_rules(ratio, published, variance):
    """Variance rule: 1/r + 1/tau^2 < 3/(r+3), solved for tau."""
    assert abs(crossing("published", ratio) - published) < 2e-3
    assert abs(crossing("variance", ratio) - variance) < 2e-3


@pytest.mark.parametrize("rule", ["published", "variance"])
def test_never_at_the_start_and_without_a_presample(rule):
    assert not pays(jnp.zeros(()), 96, 32, rule)
    assert not pays(jnp.array(1.0), 32, 32, rule)


def test_unknown_rule_is_refused():
    with pytest.raises(ValueError, match='expected switch to be "published" or "variance", got \'always\''):
        inspect.unwrap(pays)(jnp.ones(()), 2, 1, "always")
