"""The maximiser over the unit cube: inside, at faces, among several maxima, and never worse than its start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibo_jax.acquisition.maximise import maximise


def test_finds_an_inner_maximum_of_a_badly_scaled_quadratic():
    centre, scale = jnp.array([0.3, 0.6, 0.9]), jnp.array([1.0, 30.0, 400.0])
    starts = jax.random.uniform(jax.random.key(0), (8, 3), jnp.float64)
    x, value = maximise(lambda x: -jnp.sum(scale * (x - centre) ** 2, axis=1), starts, steps=40)
    np.testing.assert_allclose(x, np.tile(centre, (8, 1)), atol=1e-4)
    np.testing.assert_allclose(value, 0.0, atol=1e-6)


def test_reaches_the_faces():
    x, _ = maximise(lambda x: x[:, 0] - x[:, 1], jnp.array([[0.5, 0.5], [0.05, 0.95]]), steps=40)
    np.testing.assert_array_equal(x, [[1.0, 0.0]] * 2)


def test_starts_climb_to_their_own_maxima():
    x, value = maximise(lambda x: jnp.cos(4 * jnp.pi * x[:, 0]) + x[:, 0], jnp.array([[0.45], [0.6], [0.97]]), steps=40)
    assert float(x[1, 0]) == pytest.approx(float(x[0, 0]), abs=1e-4)
    assert x[2, 0] > 0.9
    assert value[2] > value[0]


def test_is_never_worse_than_the_start_whatever_the_function():
    def rough(x):
        return jnp.where(x[:, 0] > 0.5, jnp.nan, jnp.sin(900 * x[:, 0]))

    starts = jnp.linspace(0.01, 0.49, 16)[:, None]
    x, value = maximise(rough, starts)
    assert np.all(value >= rough(starts))
    np.testing.assert_allclose(value, rough(x))


def test_a_start_without_a_value_stays_and_never_wins():
    def broken(x):
        return jnp.where(x[:, 0] > 0.5, jnp.nan, -((x[:, 0] - 0.2) ** 2))

    x, value = maximise(broken, jnp.array([[0.8], [0.4]]))
    assert value[0] == -jnp.inf
    assert float(x[0, 0]) == pytest.approx(0.8)
    assert float(x[jnp.argmax(value), 0]) == pytest.approx(0.2, abs=1e-4)
