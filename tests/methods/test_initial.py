"""The initial design: one point a stratum of every axis, fidelities from the levels, fixed by its key."""

import jax
import numpy as np
import pytest

from ibo_jax.methods.initial import initial_design
from ibo_jax.space import Fidelity

S = Fidelity("s", 0.0, 1.0)
RATIO = Fidelity("presample_ratio", 1, 3, integer=True, plain=1)


@pytest.mark.parametrize(("count", "dimension"), [(1, 3), (7, 1), (20, 6)])
def test_every_axis_has_a_point_in_every_stratum(count, dimension):
    x, s = initial_design(jax.random.key(count), count, dimension, S)
    assert x.shape == (count, dimension)
    np.testing.assert_array_equal(np.sort(np.floor(x * count), axis=0), np.tile(np.arange(count)[:, None], dimension))
    assert np.all((s >= 0) & (s <= 1))
    assert len(np.unique(s)) == count


def test_axes_are_permuted_apart():
    x, _ = initial_design(jax.random.key(0), 200, 2, S)
    assert abs(np.corrcoef(x.T)[0, 1]) < 4.5 / np.sqrt(200)


def test_levels_are_drawn_in_equal_shares():
    _, s = initial_design(jax.random.key(1), 600, 1, RATIO)
    levels, counts = np.unique(s, return_counts=True)
    assert tuple(levels) == RATIO.levels
    assert np.all(np.abs(counts - 200) < 4.5 * np.sqrt(600 * 2 / 9))


def test_the_key_decides():
    one, same, other = (initial_design(jax.random.key(seed), 8, 2, RATIO) for seed in (2, 2, 3))
    np.testing.assert_array_equal(one[0], same[0])
    np.testing.assert_array_equal(one[1], same[1])
    assert not np.array_equal(one[0], other[0])


def test_the_scripts_start_at_the_target():
    x, s = initial_design(jax.random.key(4), 8, 2, RATIO, protocol="scripts")
    np.testing.assert_array_equal(s, np.ones(8))
    np.testing.assert_array_equal(x, initial_design(jax.random.key(4), 8, 2, RATIO)[0])
