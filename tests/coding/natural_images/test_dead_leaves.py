"""Dead leaves against the law of the model."""

import numpy as np
import pytest
from coding.spectra import spectral_slope
from scipy.integrate import quad

from sparsetheory.coding.natural_images.dead_leaves import dead_leaves


def _overlap(distance, low, high):
    """Mean area that a disc shares with itself shifted, for radii with density r^-3 up to a factor."""

    def lens(r):
        if 2 * r <= distance:
            return 0.0
        half = distance / (2 * r)
        return (2 * r**2 * np.arccos(half) - distance / 2 * np.sqrt(4 * r**2 - distance**2)) * r**-3

    return quad(lens, max(low, distance / 2), high, epsabs=1e-12)[0]


@pytest.mark.parametrize("limits", [(1.0, 32.0), (2.0, 6.0)])
def test_pixels_agree_as_often_as_the_model_says(limits):
    # Two points lie on one leaf with probability g(d) / (2 g(0) - g(d)), g(d) the mean overlap of a leaf with itself
    # shifted by d: the first leaf that touches either must touch both. Otherwise their grey values are independent.
    n, size = 3000, 8
    images = np.array(
        [dead_leaves(size, random_state=seed, smallest=limits[0], largest=limits[1]) for seed in range(n)]
    )
    whole = _overlap(0, *limits)
    for distance in (1, 2, 5):
        shared = _overlap(distance, *limits)
        expected = shared / (2 * whole - shared)
        same = (images[:, :, :-distance] == images[:, :, distance:]).mean(axis=(1, 2))
        # Images are independent; five standard errors.
        assert same.mean() == pytest.approx(expected, abs=5 * same.std() / np.sqrt(n))


def test_grey_values_are_uniform():
    greys = np.array([dead_leaves(2, random_state=seed)[0, 0] for seed in range(4000)])
    grid = np.linspace(0, 1, 21)
    shares = np.histogram(greys, grid)[0] / greys.size
    assert shares == pytest.approx(np.full(20, 0.05), abs=5 * np.sqrt(0.05 * 0.95 / greys.size))


def test_power_falls_like_the_square_of_the_frequency():
    slopes = [spectral_slope(dead_leaves(256, random_state=seed)) for seed in range(8)]
    assert np.mean(slopes) == pytest.approx(-2, abs=0.1)


def test_every_disc_has_its_grey_value_and_the_seed_reproduces():
    image = dead_leaves(100, random_state=7)
    assert np.array_equal(image, dead_leaves(100, random_state=np.random.default_rng(7)))
    assert not np.array_equal(image, dead_leaves(100, random_state=8))
    assert image.shape == (100, 100)
    assert image.min() > 0
    assert np.unique(image).size < image.size / 10


@pytest.mark.parametrize(
    ("arguments", "limits", "message"),
    [
        ((0,), {}, "size must be an integer from 1 to .*; got 0"),
        ((8,), {"random_state": -1}, "random_state must be None"),
        ((8,), {"smallest": 0.0}, "smallest must be a finite positive number; got 0.0"),
        ((8,), {"largest": np.nan}, "largest must be a finite positive number; got nan"),
        ((8,), {"smallest": 1e-200}, "smallest must be larger; got 1e-200: about inf discs would be needed"),
        ((8,), {"smallest": 1e-9}, r"smallest must be larger; got 1e-09: about 3e\+18 discs would be needed"),
        ((8,), {"smallest": 1e200}, r"largest must be at most 1e\+150 pixels; got 2e\+200"),
        ((8,), {"smallest": 2.0, "largest": 2.0}, "largest must be above smallest=2.0; got 2.0"),
    ],
)
def test_bad_input(arguments, limits, message):
    with pytest.raises(ValueError, match=message):
        dead_leaves(*arguments, **limits)
