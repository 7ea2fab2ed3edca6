import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ibo_jax.training import layers


def plain(inputs, kernel, stride, padding):
    return lax.conv_general_dilated(
        inputs, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("window", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv_and_its_gradients_equal_those_of_lax(stride, window, padding, monkeypatch):
    monkeypatch.setattr(layers, "_wants_gradient_by_hand", lambda: True)
    with jax.enable_x64(True):
        draw = np.random.default_rng(0).normal
        inputs, kernel = jnp.asarray(draw(size=(3, 8, 7, 2))), jnp.asarray(draw(size=(window, window, 2, 4)))
        cotangent = jnp.asarray(draw(size=plain(inputs, kernel, stride, padding).shape))
        ours, pull = jax.vjp(lambda x, w: layers.conv(x, w, stride, padding), inputs, kernel)
        theirs, pull_plain = jax.vjp(lambda x, w: plain(x, w, stride, padding), inputs, kernel)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
        for mine, reference in zip(pull(cotangent), pull_plain(cotangent), strict=True):
            assert mine.shape == reference.shape
            np.testing.assert_allclose(mine, reference, rtol=1e-12, atol=1e-12)


def test_the_hand_written_gradient_is_the_one_used_on_cpu_only():
    program = str(jax.make_jaxpr(layers.conv)(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1))))
    assert ("custom_vjp" in program) == (jax.default_backend() == "cpu")


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


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the hand-written gradient is for CPU")
def test_a_gradient_in_a_scan_is_as_fast_as_outside():
    """lax.conv's own is 14-24 times slower there (jax-ml/jax issue 12868)."""
    inputs, kernel = jnp.ones((16, 16, 16, 8)), jnp.ones((3, 3, 8, 16))

    def descend(state, _):
        gradients = jax.grad(lambda x, w: jnp.sum(layers.conv(x, w) ** 2), (0, 1))(*state)
        return tuple(value - 1e-6 * gradient for value, gradient in zip(state, gradients, strict=True)), None

    def seconds(program, steps):
        jax.block_until_ready(program((inputs, kernel)))
        times = []
        for _ in range(8):
            began = time.perf_counter()
            jax.block_until_ready(program((inputs, kernel)))
            times.append((time.perf_counter() - began) / steps)
        return min(times)

    outside = seconds(jax.jit(lambda state: descend(state, None)), 1)
    inside = seconds(jax.jit(lambda state: lax.scan(descend, state, None, length=8)), 8)
    assert inside < 4 * outside
