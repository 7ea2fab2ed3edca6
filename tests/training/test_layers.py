import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ibo_jax.training import layers


def test_max_pool_and_its_gradient_equal_those_of_a_reduce_window():
    inputs = jnp.asarray(np.random.default_rng(1).normal(size=(2, 10, 8, 3)), jnp.float32)

    def windowed(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 3, 3, 1), "VALID")

    ours, pull = jax.vjp(lambda x: layers.max_pool(x, 3), inputs)
    theirs, pull_windowed = jax.vjp(windowed, inputs)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(pull(ours)[0], pull_windowed(ours)[0])
    with pytest.raises(ValueError, match="at least 3 x 3"):
        layers.max_pool(inputs[:, :2], 3)


def test_max_pool_has_a_gradient_where_its_input_is_computed_anew_and_rounded_otherwise():
    draws = [jax.random.normal(key, (8, 8, 8, 3), jnp.float32) for key in jax.random.split(jax.random.key(0), 3)]

    def total(plain, gain, other):  # as in a structured best response
        return jnp.sum(jnp.tanh(layers.max_pool(plain + gain[:, :1, :1] * (other + 1), 2)))

    gradient = jax.grad(total, (0, 1, 2))
    for mine, reference in zip(jax.jit(gradient)(*draws), gradient(*draws), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_layer_norm_is_over_all_axes_of_an_example(dtype):
    generator = np.random.default_rng(2)
    inputs = jnp.asarray(generator.normal(3, 2, (2, 5, 4, 3)), dtype)
    gain, bias = 1.5, generator.normal(size=3).astype(np.float32)
    x = np.asarray(inputs, np.float64)
    mean, variance = x.mean((1, 2, 3), keepdims=True), x.var((1, 2, 3), keepdims=True)
    expected = gain * (x - mean) / np.sqrt(variance + 1e-3) + bias
    ours = layers.layer_norm(inputs, jnp.float32(gain), jnp.asarray(bias))
    assert ours.dtype == dtype
    np.testing.assert_allclose(np.asarray(ours, np.float64), expected, atol=2e-5 if dtype == jnp.float32 else 3e-2)


def test_dropout_with_a_traced_rate():
    inputs = jnp.full((200, 100), 2.0)
    program = jax.jit(lambda rate: layers.dropout(jax.random.key(3), inputs, rate))
    np.testing.assert_array_equal(program(0.0), inputs)
    for rate in (0.1, 0.5):
        out = np.asarray(program(rate))
        kept = out != 0
        np.testing.assert_allclose(out[kept], 2 / (1 - rate), rtol=1e-6)
        assert abs(kept.mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / kept.size)
    assert program._cache_size() == 1


def test_a_dropout_rate_of_one_leaves_nothing_and_no_gradient():
    inputs = jnp.ones((4, 3))
    value, gradient = jax.value_and_grad(lambda x: layers.dropout(jax.random.key(0), x, 1.0).sum())(inputs)
    assert value == 0
    np.testing.assert_array_equal(gradient, jnp.zeros((4, 3)))
