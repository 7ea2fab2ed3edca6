"""Unconstrained numbers and values are one to one within the bounds, whole numbers by equal shares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibo_jax.bilevel import relaxation
from ibo_jax.space import Float, Integer, SearchSpace

SPACE = SearchSpace(
    {"rate": Float(0.1, 0.9), "l2": Float(1e-4, 0.1, log=True), "holes": Integer(0, 3), "ar": Float(0.0, 4.0)}
)


@pytest.mark.parametrize("half_lines", [(), ("ar",)])
def test_there_and_back(half_lines):
    for unit in (0.05, 0.5, 0.95):
        values = SPACE.decode([unit] * 4)
        raw = relaxation.unconstrained(SPACE, values, half_lines)
        back = {name: float(value) for name, value in relaxation.by_name(SPACE, raw, half_lines).items()}
        assert back == pytest.approx(values, rel=1e-4)


def test_a_half_line_has_no_upper_bound_and_softplus_as_its_scale():
    raw = relaxation.unconstrained(SPACE, {"rate": 0.5, "l2": 1e-2, "holes": 1, "ar": 50.0}, ("ar",))
    assert raw[3] == pytest.approx(50.0)
    assert float(relaxation.by_name(SPACE, np.zeros(4, np.float32), ("ar",))["ar"]) == pytest.approx(np.log(2))
    np.testing.assert_array_equal(relaxation.clip(jnp.full(4, 90.0), SPACE, ("ar",)), [6, 6, 6, 90])


def test_bounds_become_the_limit_and_no_number_leaves_them():
    for side, sign in (("low", -1), ("high", 1)):
        ends = {name: getattr(dim, side) for name, dim in SPACE.dimensions.items()}
        raw = relaxation.unconstrained(SPACE, ends)
        np.testing.assert_allclose(np.delete(raw, 2), sign * relaxation.LIMIT, rtol=1e-4)
        reached = relaxation.by_name(SPACE, jnp.full(4, sign * 1e4))
        assert {name: float(value) for name, value in reached.items()} == pytest.approx(ends, rel=1e-5)


def test_whole_numbers_are_floors_with_equal_shares_and_no_derivative():
    raw = jnp.zeros((4000, 4)).at[:, 2].set(jax.scipy.special.logit((jnp.arange(4000) + 0.5) / 4000))
    holes = relaxation.by_name(SPACE, raw)["holes"]
    np.testing.assert_array_equal(np.unique(holes, return_counts=True), [[0, 1, 2, 3], [1000] * 4])
    np.testing.assert_array_equal(jax.grad(lambda u: relaxation.by_name(SPACE, u)["holes"])(jnp.ones(4)), np.zeros(4))


def test_what_has_no_logarithm_becomes_the_limit():
    raw = relaxation.unconstrained(SPACE, {"rate": 0.0, "l2": 0.0, "holes": -1, "ar": 0.0})
    lowest = relaxation.unconstrained(SPACE, {name: dim.low for name, dim in SPACE.dimensions.items()})
    np.testing.assert_array_equal(raw, lowest)
