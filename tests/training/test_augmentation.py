"""Augmented images are whole-pixel moves and mirror images of the originals, for any type, the same in any mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibo_jax.training.augmentation import brightness, compose, contrast, cutout, flip, hue, saturation, shift

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


def test_cutout_fills_so_many_squares_of_such_a_width():
    images = np.full((300, 20, 16, 3), 7, np.uint8)
    lengths, holes = np.tile([5.9, 0.0, 4.0], 100).astype(np.float32), np.tile([1.2, 3.0, 0.9], 100).astype(np.float32)
    cut = np.asarray(cutout(jax.random.key(0), jnp.asarray(images), jnp.asarray(lengths), jnp.asarray(holes), most=3))
    filled = np.all(cut == 0, axis=-1)
    assert np.all(filled | np.all(cut == 7, axis=-1))
    assert not filled[1::3].any()  # of no width
    assert not filled[2::3].any()  # no hole
    sides = [(rows.any(1).sum(), rows.any(0).sum()) for rows in filled[0::3]]
    assert max(sides) == (5, 5)
    assert all(rows.sum() == height * width for rows, (height, width) in zip(filled[0::3], sides, strict=True))
    assert min(sides)[0] >= 3  # a centre at the edge leaves more than half
    many = np.asarray(cutout(jax.random.key(1), jnp.asarray(images), 2.0, 3.0, most=3, fill=(1.0, 2.0, 3.0)))
    assert 4 < np.all(many == [1, 2, 3], axis=-1).sum((1, 2)).mean() <= 12


@pytest.mark.parametrize("change", [brightness, contrast, saturation, hue])
def test_no_amount_of_colour_changes_nothing_and_some_changes_each_image_in_its_own_way(change):
    images = jnp.asarray(IMAGES[:50], jnp.float32)
    np.testing.assert_allclose(change(jax.random.key(0), images, 0.0), images, atol=0.01)
    amounts = jnp.where(jnp.arange(50) < 25, 0.0, 0.5)
    changed = np.asarray(change(jax.random.key(0), images, amounts))
    distances = np.abs(changed - images).mean((1, 2, 3))
    assert distances[:25].max() < 0.01
    assert distances[25:].min() > 0.05
    assert len(np.unique(distances[25:].round(3))) > 20
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_colours_keep_what_they_should():
    images = jnp.asarray(64 + IMAGES[:20] / 2.0, jnp.float32)  # nothing is cut
    grey = lambda x: np.asarray(x) @ [0.299, 0.587, 0.114]  # noqa: E731
    for keeping in (saturation, hue):
        changed = keeping(jax.random.key(0), images, 0.05)
        np.testing.assert_allclose(grey(changed), grey(images), atol=0.05)
    np.testing.assert_allclose(grey(contrast(jax.random.key(0), images, 0.2)).mean(), grey(images).mean(), rtol=1e-4)
    factors = np.asarray(brightness(jax.random.key(0), images, 0.2) / images).reshape(20, -1)
    np.testing.assert_allclose(factors, factors[:, :1] * np.ones_like(factors), rtol=1e-4)
    np.testing.assert_allclose([factors.min(), factors.max()], [0.8, 1.2], atol=0.1)


def test_grey_images_have_colours_too():
    images = jnp.asarray(IMAGES[:4, :, :, :1], jnp.float32)
    np.testing.assert_array_equal(hue(jax.random.key(0), images, 0.3), images)
    np.testing.assert_array_equal(saturation(jax.random.key(0), images, 0.3), images)
    assert np.abs(contrast(jax.random.key(0), images, 0.3) - images).max() > 1


@pytest.mark.parametrize("change", [contrast, saturation, hue])
@pytest.mark.parametrize("shape", [(2, 8, 8, 4), (2, 8, 8)])
def test_colours_are_grey_or_three(change, shape):
    with pytest.raises(ValueError, match=r"grey or red, green and blue, got \(2, 8, 8"):
        change(jax.random.key(0), jnp.ones(shape), 0.1)
