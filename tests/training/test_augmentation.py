"""Augmented images are whole-pixel moves and mirror images of the originals, for any type, the same in any mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibo_jax.training.augmentation import compose, flip, shift

IMAGES = np.random.default_rng(0).integers(0, 256, size=(400, 20, 10, 3)).astype(np.uint8)


def moved(image, rows, columns):
    """Shift with repeated edges, in NumPy."""
    height, width = image.shape[:2]
    return image[np.clip(np.arange(height) + rows, 0, height - 1)][:, np.clip(np.arange(width) + columns, 0, width - 1)]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_shift_moves_up_to_a_tenth_both_ways(dtype):
    images = IMAGES.astype(dtype)
    results = np.asarray(jax.jit(shift(0.1))(jax.random.key(0), images))
    assert results.dtype == dtype
    candidates = {(r, c): np.stack([moved(i, r, c) for i in images]) for r in range(-2, 3) for c in range(-1, 2)}
    hits = {key: np.all(results == value, axis=(1, 2, 3)) for key, value in candidates.items()}
    assert np.all(np.sum(list(hits.values()), axis=0) == 1)
    counts = np.array([hit.sum() for hit in hits.values()])  # 15 moves, 400 images
    assert np.sum((counts - 400 / 15) ** 2 / (400 / 15)) < 60  # chi-square, 14 degrees of freedom: 1e-7


def test_flip_mirrors_half_of_the_images():
    results = np.asarray(jax.jit(flip)(jax.random.key(1), IMAGES))
    mirrored = np.all(results == IMAGES[:, :, ::-1], axis=(1, 2, 3))
    assert np.all(mirrored | np.all(results == IMAGES, axis=(1, 2, 3)))
    assert abs(mirrored.sum() - 200) < 5.5 * 10  # standard deviation 10


def test_compose_applies_both_with_keys_of_their_own():
    images = jnp.asarray(IMAGES)
    key_shift, key_flip = jax.random.split(jax.random.key(2))
    expected = flip(key_flip, shift(0.2)(key_shift, images))
    np.testing.assert_array_equal(compose(shift(0.2), flip)(jax.random.key(2), images), expected)


def test_same_images_in_either_precision_mode():
    augment = compose(shift(), flip)
    narrow = np.asarray(augment(jax.random.key(3), jnp.asarray(IMAGES)))
    with jax.enable_x64(True):
        np.testing.assert_array_equal(augment(jax.random.key(3), jnp.asarray(IMAGES)), narrow)
