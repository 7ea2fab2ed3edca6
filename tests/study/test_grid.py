"""The grid of grid search: inside the space, no level twice, as large and even as the number of points allows."""

import math

import numpy as np
import pytest

from ibo_jax import Categorical, Float, Integer, SearchSpace
from ibo_jax.study.convert import distribution
from ibo_jax.study.grid import factorial_grid

MIXED = SearchSpace({
    "rate": Float(1e-4, 1e-1, log=True), "width": Integer(16, 256, log=True), "depth": Integer(1, 3),
    "kind": Categorical(("relu", "tanh")),
})  # fmt: skip


@pytest.mark.parametrize("points", [1, 2, 5, 12, 30, 200])
def test_a_grid_is_as_large_and_even_as_it_can_be(points):
    levels = factorial_grid(MIXED, points)
    sizes = {name: len(values) for name, values in levels.items()}
    assert list(levels) == list(MIXED.names)
    assert math.prod(sizes.values()) <= points
    for name, values in levels.items():
        assert len(set(values)) == len(values)
        kind = distribution(MIXED.dimensions[name])
        assert all(kind._contains(kind.to_internal_repr(value)) for value in values)
    limits = {"rate": math.inf, "width": 241, "depth": 3, "kind": 2}
    free = [name for name in sizes if sizes[name] < limits[name]]
    assert all(math.prod(sizes.values()) // sizes[name] * (sizes[name] + 1) > points for name in free)
    gaps = np.diff(np.log(levels["rate"]))
    np.testing.assert_allclose(gaps, gaps[:1].repeat(len(gaps)))
    if points == 200:
        assert (levels["depth"], levels["kind"]) == ([1, 2, 3], ["relu", "tanh"])


def test_a_grid_of_whole_numbers_is_all_of_them():
    space = SearchSpace({"small": Integer(1, 4, log=True), "kind": Categorical((True, False))})
    assert factorial_grid(space, 1000) == {"small": [1, 2, 3, 4], "kind": [True, False]}


def test_levels_are_counted_without_being_built(monkeypatch):
    built, decode = [], Float.decode
    monkeypatch.setattr(Float, "decode", lambda self, unit: built.append(1) or decode(self, unit))
    factorial_grid(SearchSpace({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)}), 400)
    assert len(built) == 20 + 20
