"""Patches come from the images, uniformly, and carry no mean."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from sparsetheory.coding.natural_images.patches import natural_patches
from sparsetheory.coding.natural_images.photographs import bundled_images
from sparsetheory.coding.natural_images.whitening import whiten_images

EPS = np.finfo(float).eps


def _windows(image, size):
    view = np.lib.stride_tricks.sliding_window_view(image, (size, size)).reshape(-1, size * size)
    return view - view.mean(axis=1, keepdims=True)


@given(st.integers(1, 5), st.integers(0, 99), st.integers(0, 20))
def test_every_patch_is_a_window_without_its_mean(size, seed, n):
    rng = np.random.default_rng(seed)
    images = [rng.standard_normal(rng.integers(size, 12, 2)) for _ in range(3)]
    X = natural_patches(n, size, images, random_state=seed, whiten=False)
    assert X.shape == (n, size * size)
    windows = np.vstack([_windows(image, size) for image in images])
    for patch in X:
        assert np.abs(windows - patch).max(axis=1).min() <= 4 * EPS * np.abs(windows).max() + EPS


def test_whitening_comes_first(rng):
    images = [rng.standard_normal((30, 20)), rng.standard_normal((25, 25))]
    X = natural_patches(50, 6, images, random_state=3)
    assert np.array_equal(X, natural_patches(50, 6, whiten_images(images), random_state=3, whiten=False))
    assert not np.array_equal(X, natural_patches(50, 6, images, random_state=3, whiten=False))


def test_images_and_places_are_uniform(rng):
    # 3 x 2 places in one image and one in the other, all windows distinct.
    images = [rng.standard_normal((6, 5)), rng.standard_normal((4, 4))]
    X = natural_patches(6000, 4, images, random_state=0, whiten=False)
    windows = np.vstack([_windows(image, 4) for image in images])
    found = np.abs(X[:, None] - windows).max(axis=2).argmin(axis=1)
    counts = np.bincount(found, minlength=7)
    assert chisquare(counts, [500] * 6 + [3000]).pvalue > 1e-6


def test_bundled_patches():
    X = natural_patches(3000, 12, random_state=0)
    assert X.shape == (3000, 144)
    # Twelve dozen terms of size one per row.
    assert np.abs(X.mean(axis=1)).max() < 10 * EPS * np.abs(X).max()
    # Mean pixel variance is 0.1, and the mean of a patch takes little of it.
    assert 0.08 < np.mean(X**2) < 0.1
    assert np.array_equal(X, natural_patches(3000, 12, bundled_images(), random_state=0))
    assert np.array_equal(X, natural_patches(3000, 12, list(bundled_images().values()), random_state=0))


def test_seeds_reproduce_and_generators_advance():
    rng = np.random.default_rng(5)
    first, second = natural_patches(4, 8, random_state=rng), natural_patches(4, 8, random_state=rng)
    assert np.array_equal(first, natural_patches(4, 8, random_state=5))
    assert not np.array_equal(first, second)
    state = np.random.RandomState(5)
    assert not np.array_equal(natural_patches(4, 8, random_state=state), natural_patches(4, 8, random_state=state))


def test_single_precision_stays_only_if_every_image_has_it(rng):
    image = rng.standard_normal((9, 9))
    assert natural_patches(3, 4, [image.astype(np.float32)], random_state=0).dtype == np.float32
    assert natural_patches(3, 4, [image.astype(np.float32), image], random_state=0).dtype == np.float64
    assert natural_patches(3, 4, [rng.integers(0, 256, (9, 9))], random_state=0).dtype == np.float64


def test_images_are_not_changed(rng):
    image = np.asfortranarray(rng.standard_normal((9, 7)))
    copy = image.copy()
    image.flags.writeable = False
    X = natural_patches(20, 7, [image], random_state=0, whiten=False)
    assert np.array_equal(X, natural_patches(20, 7, [copy], random_state=0, whiten=False))
    assert np.array_equal(image, copy)


def test_no_patch_and_whole_images(rng):
    image = rng.standard_normal((5, 5))
    assert natural_patches(0, 3, [image]).shape == (0, 9)
    whole = natural_patches(2, 5, [image], random_state=0, whiten=False)
    assert np.array_equal(whole, np.tile((image - image.mean()).ravel(), (2, 1)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 4, [np.eye(9)]), r"n_patches must be an integer from 0 to 2\*\*53; got -1"),
        ((2.0, 4, [np.eye(9)]), r"n_patches must be an integer from 0 to 2\*\*53; got 2.0"),
        ((2, 0, [np.eye(9)]), "size must be an integer from 1 to .*; got 0"),
        ((2, 6, [np.eye(9), np.eye(7)[:5]]), r"size must be at most the sides of images\[1\], \(5, 7\); got 6"),
        ((2, 4, []), "images must hold at least one image; got none"),
        ((2, 4, "imagenet"), "images must be 'bundled' or a sequence of arrays; got 'imagenet'"),
        ((2, 4, [np.ones((9, 9, 3))]), r"images\[0\] must be grey.*luminance"),
        ((2, 4, [np.eye(9), np.ones(9)]), r"images\[1\] must have shape \(height, width\)"),
        ((2, 4, [np.full((9, 9), np.nan)]), r"images\[0\] must be finite"),
        ((2, 4, [np.ones((9, 9))]), "image must not be constant"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        natural_patches(*arguments)


def test_bad_options():
    with pytest.raises(ValueError, match=r"random_state must be None.*got 'x'"):
        natural_patches(2, 4, [np.eye(9)], random_state="x")
    with pytest.raises(ValueError, match="whiten must be True or False; got 'no'"):
        natural_patches(2, 4, [np.eye(9)], whiten="no")


@pytest.mark.parametrize("images", [5, None])
def test_images_that_are_no_sequence(images):
    with pytest.raises(TypeError, match=f"images must be 'bundled' or a sequence of arrays; got {images}"):
        natural_patches(2, 4, images)
