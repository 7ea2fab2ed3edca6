"""Random changes of a batch of images inside the training step: pure functions of a key, for any image type."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ibo_jax.types import Array, PRNGKeyArray

__all__ = ["Augmentation", "compose", "flip", "shift"]

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


def _moved(key: PRNGKeyArray, count: int, size: int, fraction: float) -> Array:
    """Source positions along one axis, a row for each example."""
    reach = int(fraction * size)
    offsets = jax.random.randint(key, (count, 1), -reach, reach + 1, jnp.int32)
    return jnp.clip(jnp.arange(size, dtype=jnp.int32) + offsets, 0, size - 1)
