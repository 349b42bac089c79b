"""Discs placed from the front to the back look like discs painted from the back to the front."""

import numpy as np
import pytest

from sparsetheory.numba_kernels.occlusion import place_discs_behind, warmup


def _painted(shape, centres, radii, greys):
    # From the back to the front, each disc over what is there.
    picture = np.full(shape, -1.0)
    down, right = np.mgrid[: shape[0], : shape[1]] + 0.5
    for (y, x), radius, grey in zip(centres[::-1], radii[::-1], greys[::-1], strict=True):
        picture[(down - y) ** 2 + (right - x) ** 2 <= radius**2] = grey
    return picture


@pytest.mark.parametrize("seed", range(20))
def test_kernel_is_painting_from_behind(seed):
    rng = np.random.default_rng(seed)
    shape, n = tuple(rng.integers(1, 20, 2)), int(rng.integers(0, 30))
    centres, radii, greys = rng.uniform(-5, 25, (n, 2)), rng.exponential(4, n), rng.random(n)
    picture, covered = np.full(shape, -1.0), np.zeros(shape, bool)
    missing = place_discs_behind(picture, covered, centres, radii, greys)
    expected = _painted(shape, centres, radii, greys)
    assert np.array_equal(picture, expected)
    assert np.array_equal(covered, expected >= 0)
    assert missing == np.sum(expected < 0)


def test_discs_come_in_parts(rng):
    centres, radii, greys = rng.uniform(0, 9, (40, 2)), rng.exponential(2, 40), rng.random(40)
    picture, covered = np.zeros((9, 9)), np.zeros((9, 9), bool)
    for part in (slice(0, 25), slice(25, 40)):
        missing = place_discs_behind(picture, covered, centres[part], radii[part], greys[part])
    whole, also = np.zeros((9, 9)), np.zeros((9, 9), bool)
    assert missing == place_discs_behind(whole, also, centres, radii, greys)
    assert np.array_equal(picture, whole)


def test_warmup_compiles():
    warmup()
    assert place_discs_behind.signatures
