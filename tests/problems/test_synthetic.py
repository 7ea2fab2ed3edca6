"""Synthetic problems against a second, differently written formula, other libraries' values and published optima."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from ibo_jax.problems.synthetic import BENCHMARKS, SYNTHETIC, cost, value
from reference import synthetic as twin

BRANIN_MINIMA = [(-math.pi, 12.275), (math.pi, 2.275), (3 * math.pi, 2.475)]
HARTMANN_MINIMUM = [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573]
DIMENSIONS = {
    "branin": 2, "hartmann6": 6, "forrester": 1, "branin-steps": 2, "currin": 2, "borehole": 8, "wing-weight": 10
}  # fmt: skip
FIXED_COSTS = {
    "branin": 0.25, "hartmann6": 5.0, "forrester": 0.2, "branin-steps": 0.25, "currin": 0.1, "borehole": 0.1,
    "wing-weight": 0.05,
}  # fmt: skip
TWINS = {  # at the target and at s = 0
    "currin": (lambda x: -twin.currin(*x), lambda x: -twin.currin_cheap(*x)),
    "borehole": (twin.borehole, lambda x: twin.borehole(x, factor=5.0, constant=1.5)),
    "wing-weight": (twin.wing_weight, lambda x: twin.wing_weight(x, exponent=0.9, painted=False)),
}
# Points of the unit cube and what other libraries compute there, at the target and at s = 0: mf2 2022.6.0 for Currin
# (negated) and Borehole, `WingWeightMultiFidelity` of BoTorch 0.18.1 at its fidelities 0 and 3.
TENTHS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.05]
MIXED = [0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.4, 0.5, 1.0]
STORED = [
    ("currin", [0.2, 0.1], -13.676454422089515, -13.205368816576136),
    ("currin", [0.5, 0.5], -7.40512391329881, -7.442479583871107),
    ("currin", [0.9, 0.03], -10.286140980966785, -10.285116360305302),
    ("borehole", [0.5] * 8, 70.87291263681897, 56.398719259575394),
    ("borehole", TENTHS[:8], 23.051317595826468, 18.3436363930485),
    ("borehole", MIXED[:8], 125.21290901212718, 99.64091018670322),
    ("wing-weight", [0.5] * 10, 267.6246925704357, 538.1042442529412),
    ("wing-weight", TENTHS, 258.213422317849, 519.6496297574895),
    ("wing-weight", MIXED, 301.60127263954485, 604.717978382513),
]


def branin_expanded(x1: float, x2: float, s: float) -> float:
    """Branin as the expanded polynomial of the valley, term by term."""
    b, c, r, t = 5.1 / (4 * math.pi**2) - 0.1 + 0.1 * s, 5 / math.pi, 6.0, 1 / (8 * math.pi)
    valley = x2**2 + b**2 * x1**4 + c**2 * x1**2 + r**2 - 2 * b * x2 * x1**2 + 2 * c * x1 * x2 - 2 * r * x2
    valley += -2 * b * c * x1**3 + 2 * b * r * x1**2 - 2 * c * r * x1
    return valley + 10 * math.cos(x1) - 10 * t * math.cos(x1) + 10


def hartmann_by_products(x: list[float], s: float) -> float:
    """Hartmann as a product of one-dimensional bumps; each line is one bump's weight, rates and centres times 1e4."""
    bumps = [
        (0.9 + 0.1 * s, [10, 3, 17, 3.5, 1.7, 8], [1312, 1696, 5569, 124, 8283, 5886]),
        (1.2, [0.05, 10, 17, 0.1, 8, 14], [2329, 4135, 8307, 3736, 1004, 9991]),
        (3.0, [3, 3.5, 1.7, 10, 17, 8], [2348, 1451, 3522, 2883, 3047, 6650]),
        (3.2, [17, 8, 0.05, 10, 0.1, 14], [4047, 8828, 8732, 5743, 1091, 381]),
    ]
    products = (
        w * math.prod(math.exp(-a * (v - p / 1e4) ** 2) for v, a, p in zip(x, rates, centres, strict=True))
        for w, rates, centres in bumps
    )
    return -sum(products)


def forrester_by_weights(x: float, s: float) -> float:
    """The weights of Forrester's function and of its linear trend, collected."""
    return 0.5 * (1 + s) * (6 * x - 2) ** 2 * math.sin(12 * x - 4) + (1 - s) * (10 * x - 10)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.floats(0, 1))
def test_branin_equals_the_expanded_formula(unit, s):
    x1, x2 = 15 * unit[0] - 5, 15 * unit[1]
    np.testing.assert_allclose(value("branin", unit, s), branin_expanded(x1, x2, s), rtol=1e-10, atol=1e-10)


@given(st.lists(st.floats(0, 1), min_size=6, max_size=6), st.floats(0, 1))
def test_hartmann_equals_the_product_formula(unit, s):
    np.testing.assert_allclose(value("hartmann6", unit, s), hartmann_by_products(unit, s), rtol=1e-12, atol=1e-15)


@given(st.floats(0, 1), st.floats(0, 1))
def test_forrester_equals_the_weighted_formula(unit, s):
    np.testing.assert_allclose(value("forrester", [unit], s), forrester_by_weights(unit, s), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "unit", "target", "cheap"), STORED)
def test_equals_other_libraries(name, unit, target, cheap):
    np.testing.assert_allclose(value(name, unit), target, rtol=1e-10)
    np.testing.assert_allclose(value(name, unit, 0.0), cheap, rtol=1e-10)


@pytest.mark.parametrize("name", TWINS)
@given(unit=st.lists(st.floats(0, 1), min_size=10, max_size=10), s=st.floats(0, 1))
def test_two_fidelities_are_weighed_by_s(name, unit, s):
    unit, (target, cheap) = np.array(unit[: DIMENSIONS[name]]), TWINS[name]
    low, high = np.array(BENCHMARKS[name].bounds).T
    x = (low + unit * (high - low)).tolist()
    np.testing.assert_allclose(value(name, unit, s), s * target(x) + (1 - s) * cheap(x), rtol=1e-9)


def test_a_bias_that_jumps():
    """Constant on each third's neighbourhood, with jumps at odd sixths; the target from 5/6 on."""
    s, unit = np.array([0.0, 0.16, 0.17, 0.49, 0.51, 0.83, 0.84, 1.0]), [0.8, 0.2]
    expected = [branin_expanded(7.0, 3.0, third / 3) for third in (0, 0, 1, 1, 2, 2, 3, 3)]
    np.testing.assert_allclose(value("branin-steps", [unit] * len(s), s), expected, rtol=1e-12)
    assert np.abs(np.diff(expected)).max() > 1


def test_published_minima():
    for x1, x2 in BRANIN_MINIMA:
        assert value("branin", [(x1 + 5) / 15, x2 / 15]) == pytest.approx(0.397887, abs=1e-6)
    assert value("hartmann6", HARTMANN_MINIMUM) == pytest.approx(-3.32237, abs=1e-5)
    assert value("forrester", [0.757249]) == pytest.approx(-6.020740, abs=1e-6)
    assert value("currin", [0.21666667, 0.0]) == pytest.approx(-13.798722, abs=1e-6)
    assert value("wing-weight", [0, 0, 0, 0.5, 0, 0, 1, 0, 0, 0]) == pytest.approx(123.25, abs=5e-3)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_the_best_of_many_descents_is_the_stated_optimum(name):
    starts = np.random.default_rng(3).random((16, DIMENSIONS[name]))
    box = [(0.0, 1.0)] * DIMENSIONS[name]
    found = [minimize(lambda x: float(value(name, x)), start, bounds=box, tol=1e-12).fun for start in starts]
    assert min(found) == pytest.approx(SYNTHETIC[name].optimum, abs=1e-6)


def test_the_low_fidelity_of_branin_misleads():
    """The reason it is an acceptance problem: a minimiser of the target looks hopeless at the cheapest fidelity."""
    x1, x2 = BRANIN_MINIMA[2]
    assert value("branin", [(x1 + 5) / 15, x2 / 15], 0.0) > 70


@pytest.mark.parametrize(("name", "fixed"), list(FIXED_COSTS.items()))
def test_evaluate_returns_value_and_stated_cost(name, fixed):
    problem = SYNTHETIC[name]
    unit = np.linspace(0.2, 0.7, DIMENSIONS[name])
    outcome = problem.evaluate(0, problem.space.decode(unit), 0.3)
    assert outcome.state == "ok"
    assert outcome.error == pytest.approx(float(value(name, unit, 0.3)), rel=1e-12)
    assert outcome.cost_seconds == outcome.cost_work == pytest.approx(fixed + 0.3)
    assert cost(name, 1.0) == pytest.approx(fixed + 1)
    assert problem.transform == "identity"
    assert problem.fidelity.levels is None
    assert problem.space.dimension == DIMENSIONS[name]


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="expected a synthetic problem"):
        value("brannin", [0.0, 0.0])
    with pytest.raises(ValueError, match="expected points of 6 coordinates"):
        value("hartmann6", [0.0, 0.0])
