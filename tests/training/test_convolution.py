import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ibo_jax.training import convolution
from ibo_jax.training.convolution import conv, plainly


def plain(inputs, kernel, stride, padding):
    return lax.conv_general_dilated(
        inputs, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("window", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("neighbours", [1, 2, 4])
def test_conv_and_its_gradients_equal_those_of_lax(neighbours, stride, window, padding, monkeypatch):
    monkeypatch.setattr(convolution, "_on_cpu", lambda: True)
    monkeypatch.setattr(convolution, "neighbours_of", lambda channels, filters: neighbours)
    with jax.enable_x64(True):
        draw = np.random.default_rng(0).normal
        inputs, kernel = jnp.asarray(draw(size=(3, 8, 7, 2))), jnp.asarray(draw(size=(window, window, 2, 4)))
        cotangent = jnp.asarray(draw(size=plain(inputs, kernel, stride, padding).shape))

        @partial(jax.jit, static_argnums=0)
        def with_gradients(convolve):
            out, pull = jax.vjp(lambda x, w: convolve(x, w, stride, padding), inputs, kernel)
            return out, *pull(cotangent)

        for mine, reference in zip(with_gradients(conv), with_gradients(plain), strict=True):
            assert mine.shape == reference.shape
            np.testing.assert_allclose(mine, reference, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_few_channels_keep_their_type_and_what_is_infinite_stays_in_its_example(dtype):
    inputs = jnp.full((2, 5, 6, 1), 2.0, dtype).at[0, 0, 0].set(jnp.inf)
    out = conv(inputs, jnp.ones((3, 3, 1, 1), dtype), padding="VALID")
    assert out.dtype == dtype
    assert not jnp.isfinite(out[0]).all()
    np.testing.assert_array_equal(out[1], jnp.full((3, 4, 1), 18.0, dtype))


def test_the_hand_written_gradient_is_the_one_used_on_cpu_only():
    program = str(jax.make_jaxpr(conv)(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1))))
    assert ("custom_vjp" in program) == (jax.default_backend() == "cpu")


@pytest.mark.parametrize("first", [True, False])
def test_what_was_traced_before_is_traced_again_where_convolutions_are_plain(first, monkeypatch):
    monkeypatch.setattr(convolution, "_on_cpu", lambda: True)

    @jax.jit
    def inner(inputs, kernel):  # keeps its trace, whoever calls it
        return conv(inputs, kernel)

    for plain in (first, not first, first):
        with plainly(plain):
            program = str(jax.make_jaxpr(inner)(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1))))
            assert ("custom_vjp" in program) == (not plain)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the hand-written gradient is for CPU")
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_in_a_scan_have_the_only_order_of_axes_that_is_fast_there(stride):
    """XLA brings others into this order outside of loops only (jax-ml/jax issue 12868); its own gradients differ."""

    def descend(state, _):
        gradients = jax.grad(lambda x, w: jnp.sum(conv(x, w, stride) ** 2), (0, 1))(*state)
        return tuple(value - 1e-6 * gradient for value, gradient in zip(state, gradients, strict=True)), None

    state = jnp.ones((16, 16, 16, 8)), jnp.ones((3, 3, 8, 16))
    program = jax.jit(lambda state: lax.scan(descend, state, None, length=8)).lower(state).compile().as_text()
    assert re.findall(r"dim_labels=([\w>-]+)", program) == 3 * ["b01f_01io->b01f"]
