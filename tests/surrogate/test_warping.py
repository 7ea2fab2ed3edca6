"""The warping against scikit-learn's, and what makes it safe: monotone, invertible everywhere, without units."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import PowerTransformer

from ibo_jax.surrogate.warping import FEWEST, POWERS, UNWARPED, WILD, Warping, fit_warping, tamed

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30).map(np.array)


@pytest.mark.parametrize("seed", range(5))
def test_equals_scikit_learn_where_its_power_is_in_the_range(seed):
    rng = np.random.default_rng(seed)
    y = -rng.gamma(3.0, size=40) if seed % 2 else rng.normal(5.0, 2.0, size=40)
    z = (y - y.mean()) / y.std()
    theirs = PowerTransformer(standardize=False).fit(z[:, None])
    assert POWERS[0] < theirs.lambdas_[0] < POWERS[1]
    warping = fit_warping(y)
    assert warping.power == pytest.approx(theirs.lambdas_[0], abs=1e-3)
    np.testing.assert_allclose(warping(y), theirs.transform(z[:, None])[:, 0], atol=1e-3)


def test_a_long_lower_tail_is_drawn_in():
    y = -np.random.default_rng(0).lognormal(sigma=1.0, size=200)
    warped = fit_warping(y)(y)
    skewness = [np.mean(((v - v.mean()) / v.std()) ** 3) for v in (y, warped)]
    assert skewness[0] < -1.5
    assert abs(skewness[1]) < 0.5


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_the_order_stays_and_inverts(y):
    warping = fit_warping(y)
    warped = warping(y)
    assert np.all(np.diff(warped[np.argsort(y, kind="stable")]) >= 0)
    np.testing.assert_allclose(warping.invert(warped), y, atol=1e-6 * max(1.0, np.abs(y).max()))


@settings(max_examples=50, deadline=None)
@given(VALUES, st.lists(st.floats(-10, 10), min_size=1).map(np.array), st.floats(0.1, 10))
def test_every_prediction_can_be_told(y, z, factor):
    warping = fit_warping(y)
    assert np.all(np.isfinite(warping.invert(z)))
    np.testing.assert_allclose(warping(warping.invert(z)), z, rtol=1e-6, atol=1e-6)
    if np.std(y) > 1e-3:  # units do not matter
        assert fit_warping(factor * y + 1.0).power == pytest.approx(warping.power, abs=1e-2)
        assert fit_warping(1e-12 * y).power == pytest.approx(warping.power, abs=1e-2)


@pytest.mark.parametrize("y", [[1.0], [2.0, 2.0, 2.0], [0.0, 0.0], [0.3, 0.1 + 0.2, 0.3]])
def test_without_spread_nothing_is_done(y):
    """Without a shift either: beside its location a rounding is small, and is not taken for a difference."""
    assert fit_warping(np.array(y)) == UNWARPED


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_cannot_be_standardised_are_left_alone(value):
    assert fit_warping(np.array([0.0, 1.0, value])) == UNWARPED


def test_nan_stays_nan():
    assert np.isnan(Warping(0.0, 1.0, 0.5)(np.array([np.nan, 1.0]))).tolist() == [True, False]


@settings(max_examples=100, deadline=None)
@given(VALUES, st.floats(1.1 * WILD, 1e9))
def test_one_wild_value_is_the_worst_by_one_range(y, far):
    spread = np.ptp(y)
    assume(spread == 0 or spread > 1e-3)  # less drowns in the rounding of the values
    wild = np.append(y, y.max() + far * spread)
    expected = np.append(y, y.max() + spread) if len(wild) >= FEWEST else wild
    np.testing.assert_allclose(tamed(wild), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(tamed(tamed(wild)), tamed(wild))


@pytest.mark.parametrize("far", [0.5, 0.9 * WILD, np.inf, np.nan])
def test_values_that_are_not_wild_stay(far):
    y = np.append(np.linspace(0.0, 1.0, 12), 1.0 + far)
    np.testing.assert_array_equal(tamed(y), y)
    tail = np.append(y[:-1], [99.0, 99.0])
    np.testing.assert_array_equal(tamed(tail), tail)
