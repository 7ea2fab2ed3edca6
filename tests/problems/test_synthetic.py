"""Synthetic problems against a second, differently written formula and their published optima."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from ibo_jax.problems.synthetic import SYNTHETIC, cost, value

BRANIN_MINIMA = [(-math.pi, 12.275), (math.pi, 2.275), (3 * math.pi, 2.475)]
HARTMANN_MINIMUM = [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573]
DIMENSIONS = {"branin": 2, "hartmann6": 6, "forrester": 1}


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


def test_published_minima():
    for x1, x2 in BRANIN_MINIMA:
        assert value("branin", [(x1 + 5) / 15, x2 / 15]) == pytest.approx(0.397887, abs=1e-6)
    assert value("hartmann6", HARTMANN_MINIMUM) == pytest.approx(-3.32237, abs=1e-5)
    assert value("forrester", [0.757249]) == pytest.approx(-6.020740, abs=1e-6)


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


@pytest.mark.parametrize(("name", "fixed"), [("branin", 0.25), ("hartmann6", 5.0), ("forrester", 0.2)])
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
