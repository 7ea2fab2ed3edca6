"""Random changes of a batch of images inside the training step: pure functions of a key, for any image type.

Colour changes follow torchvision's ColorJitter, whose settings published experiments searched: `amount` is one number,
or one for each image, and may be traced. They and `cutout` return float32, in the units of the image.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ibo_jax.training.layers import Rate, of_examples
from ibo_jax.types import Array, Float, PRNGKeyArray

__all__ = ["Augmentation", "brightness", "compose", "contrast", "cutout", "flip", "hue", "saturation", "shift"]

Augmentation = Callable[[PRNGKeyArray, Array], Array]


def compose(*augmentations: Augmentation) -> Augmentation:
    """The given changes one after another, each with its own key."""

    def augment(key: PRNGKeyArray, images: Array) -> Array:
        for augmentation, part in zip(augmentations, jax.random.split(key, len(augmentations)), strict=True):
            images = augmentation(part, images)
        return images

    return augment


def flip(key: PRNGKeyArray, images: Array) -> Array:
    """Mirrors each image (example, row, column, ...) left to right with probability one half."""
    mirrored = jax.random.uniform(key, (len(images),), jnp.float32) < 0.5
    return jnp.where(jnp.expand_dims(mirrored, range(1, images.ndim)), jnp.flip(images, axis=2), images)


def shift(fraction: float = 0.1) -> Augmentation:
    """Moves each image by whole pixels, up to `fraction` of its height and of its width; edge pixels are repeated."""

    def augment(key: PRNGKeyArray, images: Array) -> Array:
        count, height, width = images.shape[:3]
        key_rows, key_columns = jax.random.split(key)
        rows = _moved(key_rows, count, height, fraction)
        columns = _moved(key_columns, count, width, fraction)
        return images[jnp.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]

    return augment


def cutout(
    key: PRNGKeyArray, images: Array, length: Rate, holes: Rate, *, most: int, fill: float | Sequence[float] = 0.0
) -> Float[Array, "example row column channel"]:
    """Fills squares of each image (DeVries and Taylor 2017): floor(holes) of them, floor(length) pixels wide.

    Centres are anywhere, so that squares may reach over the edge. Neither number is differentiated.

    Args:
        most: bound on the number of holes.
        fill: value, of all channels or one for each.
    """
    count, height, width = images.shape[:3]
    keys = jax.random.split(key)
    rows, columns = (
        jax.random.randint(each, (count, most, 1), 0, size, jnp.int32)
        for each, size in zip(keys, (height, width), strict=True)
    )
    shape = jnp.zeros((count, 1, 1))  # one number per image is broadcast against this
    length, holes = jnp.floor(of_examples(length, shape)), jnp.floor(of_examples(holes, shape))

    def covered(centres: Array, size: int) -> Array:
        distance = jnp.arange(size, dtype=jnp.int32)[None, None] - centres + jnp.floor(length / 2)
        return (distance >= 0) & (distance < length)

    counted = jnp.arange(most, dtype=jnp.int32)[None, :, None] < holes
    hole = jnp.einsum("nhr,nhc->nrc", covered(rows, height) & counted, covered(columns, width)) > 0
    filled = jax.lax.broadcast_to_rank(jnp.asarray(fill, jnp.float32), images.ndim)
    return jnp.where(hole[..., None], filled, images.astype(jnp.float32))


def brightness(key: PRNGKeyArray, images: Array, amount: Rate, *, top: float = 255.0) -> Float[Array, "..."]:
    """Multiplies each image by a number drawn uniformly from [1 - amount, 1 + amount], clipped at zero and `top`."""
    return _blend(key, images.astype(jnp.float32), jnp.zeros(()), amount, top)


def contrast(key: PRNGKeyArray, images: Array, amount: Rate, *, top: float = 255.0) -> Float[Array, "..."]:
    """Changes likewise the distance from the image's mean grey."""
    images = images.astype(jnp.float32)
    return _blend(key, images, _grey(images).mean((1, 2, 3), keepdims=True), amount, top)


def saturation(key: PRNGKeyArray, images: Array, amount: Rate, *, top: float = 255.0) -> Float[Array, "..."]:
    """Changes likewise the distance from each pixel's grey."""
    images = images.astype(jnp.float32)
    return _blend(key, images, _grey(images), amount, top)


def hue(key: PRNGKeyArray, images: Array, amount: Rate, *, top: float = 255.0) -> Float[Array, "..."]:
    """Rotates the hue of each image by an angle drawn uniformly from [-amount, amount] of a full turn.

    The rotation is about the grey axis in YIQ, like one in HSV except for small differences; greys stay unchanged.
    """
    images = images.astype(jnp.float32)
    if _is_grey(images):
        return images
    turn = 2 * jnp.pi * of_examples(amount, images) * _even(key, images)
    y, i, q = jnp.moveaxis(_exact(images, YIQ.T), -1, 0)[..., None]
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    turned = jnp.concatenate([y, cos * i - sin * q, sin * i + cos * q], axis=-1)
    return jnp.clip(_exact(turned, np.linalg.inv(YIQ).T.astype(np.float32)), 0, top)


YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], np.float32)
_exact = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)  # a GPU would round colours to ten bits


def _blend(key: PRNGKeyArray, images: Array, other: Array, amount: Rate, top: float) -> Array:
    factor = 1 + of_examples(amount, images) * _even(key, images)
    return jnp.clip(other + factor * (images - other), 0, top)


def _grey(images: Array) -> Array:
    return images if _is_grey(images) else _exact(images, YIQ[0])[..., None]


def _is_grey(images: Array) -> bool:
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"expected images of shape (example, row, column, channel), grey or red, green and blue, got "
                         f"{images.shape}; add a channel by images[..., None], or leave others out")  # fmt: skip
    return images.shape[-1] == 1


def _even(key: PRNGKeyArray, images: Array) -> Array:
    """A number in [-1, 1] for each image."""
    return jax.random.uniform(key, (len(images),) + (1,) * (images.ndim - 1), jnp.float32, -1.0, 1.0)


def _moved(key: PRNGKeyArray, count: int, size: int, fraction: float) -> Array:
    """Source positions along one axis, a row for each example."""
    reach = int(fraction * size)
    offsets = jax.random.randint(key, (count, 1), -reach, reach + 1, jnp.int32)
    return jnp.clip(jnp.arange(size, dtype=jnp.int32)[None] + offsets, 0, size - 1)
