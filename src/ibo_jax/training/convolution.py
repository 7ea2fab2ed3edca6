"""Two-dimensional convolution, at full speed on CPU too.

XLA's version there has two weaknesses. In the body of a loop or branch its two gradient convolutions are 14-24 times
slower than outside one (jax-ml/jax issue 12868), so the gradient is hand-written. And for every output position it
copies the window seen from there, which for few channels costs more than the multiplications; so a few neighbours of a
row are computed as one position with that many times the filters.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from ibo_jax.types import Array, Float

__all__ = ["by_neighbours", "conv", "neighbours_of", "plainly"]

Pads = tuple[tuple[int, int], ...]
plainly = jax.make_user_context(default_value=False)  # JAX includes its value in the keys of all trace caches
"""In `with plainly(True):` every convolution is traced as the plain one, on CPU too: its operations can be counted."""

_plain = partial(lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def conv(
    inputs: Float[Array, "example height width channel"],
    kernel: Float[Array, "window_height window_width channel filter"],
    stride: int = 1,
    padding: Literal["SAME", "VALID"] = "SAME",
) -> Float[Array, "example out_height out_width filter"]:
    """Two-dimensional convolution (cross-correlation) without bias.

    On CPU it is computed as described above, and its gradient supports reverse mode only. Elsewhere, and in
    `with plainly(True):`, it is the plain one.

    Examples:
        >>> conv(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 2)), stride=2).shape
        (1, 2, 2, 2)
    """
    pads = tuple(lax.padtype_to_pads(inputs.shape[1:3], kernel.shape[:2], (stride, stride), padding))
    if plainly.value or not _on_cpu():
        return _plain(inputs, kernel, (stride, stride), pads)
    return _convolve(inputs, kernel, stride, pads)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(inputs: Array, kernel: Array, stride: int, pads: Pads) -> Array:
    neighbours = neighbours_of(*kernel.shape[2:])
    if neighbours == 1:
        return _plain(inputs, kernel, (stride, stride), pads)
    return by_neighbours(inputs, kernel, stride, pads, neighbours)


def neighbours_of(channels: int, filters: int) -> int:
    """How many are fastest together, as measured: the zeros between their windows are multiplied too.

    Examples:
        >>> neighbours_of(1, 8), neighbours_of(3, 16), neighbours_of(3, 64)
        (4, 2, 1)
    """
    largest, pairs = max(channels, filters), channels * filters
    return 4 if largest < 16 and pairs <= 32 else 2 if largest * pairs <= 4096 else 1


def by_neighbours(
    inputs: Float[Array, "example height width channel"],
    kernel: Float[Array, "window_height window_width channel filter"],
    stride: int,
    pads: Pads,
    neighbours: int,
) -> Float[Array, "example out_height out_width filter"]:
    """The convolution as one of blocks of columns, with a kernel in which each neighbour has its own, shifted copy.

    `pads` are pixels before and after, for rows and columns. Values that are not finite spread to neighbours within
    their example.

    Examples:
        >>> by_neighbours(jnp.ones((1, 3, 5, 1)), jnp.ones((3, 3, 1, 1)), 1, ((0, 0), (0, 0)), 2).ravel().tolist()
        [9.0, 9.0, 9.0]
    """
    height, width, channels, filters = kernel.shape
    examples, rows, columns, _ = inputs.shape
    low, high = pads[1]
    out_columns = (low + columns + high - width) // stride + 1
    block = neighbours * stride  # columns from one group of neighbours to the next
    groups, seen = -(-out_columns // neighbours), -(-(block - stride + width) // block)  # blocks that a group sees
    blocks = groups + seen - 1
    wide = ((0, 0, 0), (0, 0, 0), (low, blocks * block - columns - low, 0), (0, 0, 0))
    blocked = lax.pad(inputs, jnp.zeros((), inputs.dtype), wide).reshape(examples, rows, blocks, block * channels)
    shifts = [(place * stride, seen * block - width - place * stride) for place in range(neighbours)]
    copies = jnp.stack([jnp.pad(kernel, ((0, 0), shift, (0, 0), (0, 0))) for shift in shifts], 3)
    copies = copies.reshape(height, seen, block * channels, neighbours * filters)
    outputs = _plain(blocked, copies, (stride, 1), (pads[0], (0, 0)))
    return outputs.reshape(examples, -1, groups * neighbours, filters)[:, :, :out_columns]


def _forward(inputs: Array, kernel: Array, stride: int, pads: Pads) -> tuple[Array, tuple[Array, Array]]:
    return _convolve(inputs, kernel, stride, pads), (inputs, kernel)


def _backward(stride: int, pads: Pads, residuals: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    """Both gradients are convolutions themselves; the pads make the sizes come out right for any stride."""
    inputs, kernel = residuals
    spread = [stride * (size - 1) + 1 for size in cotangent.shape[1:3]]  # of the cotangent, with the stride's holes
    sizes = list(zip(inputs.shape[1:3], kernel.shape[:2], spread, pads, strict=True))
    kernel_pads = [(low, window - 1 + wide - size - low) for size, window, wide, (low, _) in sizes]
    input_pads = tuple((window - 1 - low, size - wide + low) for size, window, wide, (low, _) in sizes)
    # Arrays are transposed by hand to the only order of axes that is fast in a loop. The kernel's gradient sums over
    # examples, so they take the place of the input channels.
    kernel_gradient = _plain(
        inputs.transpose(3, 1, 2, 0), cotangent.transpose(1, 2, 0, 3), (1, 1), kernel_pads,
        rhs_dilation=(stride, stride),
    ).transpose(1, 2, 0, 3)  # fmt: skip
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    if stride == 1:
        return _convolve(cotangent, flipped, 1, input_pads), kernel_gradient
    return _plain(cotangent, flipped, (1, 1), input_pads, lhs_dilation=(stride, stride)), kernel_gradient


_convolve.defvjp(_forward, _backward)
