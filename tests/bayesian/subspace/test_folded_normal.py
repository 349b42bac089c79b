"""Moments of magnitudes of normal weights, against many digits and at the ends of the range."""

import mpmath
import numpy as np
import pytest

from sparsetheory.bayesian import folded_normal_moments


def by_many_digits(mu, sigma):
    with mpmath.workdps(80):
        mu, sigma = abs(mpmath.mpf(mu)), mpmath.mpf(sigma)
        r = mu / sigma
        mean = sigma * mpmath.sqrt(2 / mpmath.pi) * mpmath.exp(-r * r / 2) + mu * mpmath.erf(r / mpmath.sqrt(2))
        return mean, mu**2 + sigma**2 - mean**2


RATIOS = (0.0, 1e-9, 1e-3, 0.3, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 37.0, 39.0, 1e3, 1e9)


@pytest.mark.parametrize("sigma", [1e-120, 1e-9, 0.7, 1e6, 1e120])
def test_moments_agree_with_many_digits_in_double_precision(sigma):
    mu = np.array(RATIOS) * sigma * np.resize([1, -1], len(RATIOS))
    found = folded_normal_moments(mu, np.full(len(mu), sigma))
    for index, mean in enumerate(mu):
        exact = by_many_digits(mean, sigma)
        assert abs(found.mean[index] / exact[0] - 1) < 2e-15
        assert abs(found.variance[index] / exact[1] - 1) < 5e-15


@pytest.mark.parametrize("sigma", [1e-12, 0.7, 1e9])
def test_moments_agree_with_many_digits_in_single_precision(sigma):
    sigmas = np.full(len(RATIOS), sigma, np.float32)
    mu = np.array(RATIOS, np.float32) * sigmas
    found = folded_normal_moments(mu, sigmas)
    assert found.mean.dtype == found.variance.dtype == np.float32
    for index, mean in enumerate(mu):
        exact = by_many_digits(float(mean), float(sigmas[index]))
        assert abs(float(found.mean[index]) / exact[0] - 1) < 1e-6
        assert abs(float(found.variance[index]) / exact[1] - 1) < 2e-6


def test_variance_keeps_its_digits_where_the_difference_of_squares_has_none():
    mu, sigma = 1e9, 1e-3
    found = folded_normal_moments(mu, sigma)
    assert found.variance == pytest.approx(1e-6, rel=1e-14)
    assert mu**2 + sigma**2 - float(found.mean) ** 2 == 0.0


def test_the_variance_is_in_range_where_the_square_of_the_deviation_is_not():
    sigma = 1.6e154
    assert sigma * sigma == np.inf
    assert folded_normal_moments(0.0, sigma).variance == pytest.approx(
        0.3633802276324187 * 1.6 * 1.6 * 1e308, rel=1e-14
    )


def test_a_constant_has_its_magnitude_and_no_variance():
    found = folded_normal_moments([-3.0, 0.0], [0.0, 0.0])
    assert found.mean.tolist() == [3.0, 0.0]
    assert found.variance.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_subnormal_numbers_and_ratios_beyond_the_range_give_numbers(dtype):
    info = np.finfo(dtype)
    tiny, large = info.smallest_subnormal, info.max / 4
    mu = np.array([tiny, large, 0.0, large], dtype)
    sigma = np.array([tiny, tiny, tiny, 0.0], dtype)
    found = folded_normal_moments(mu, sigma)
    assert np.isfinite(found.mean).all()
    assert np.isfinite(found.variance).all()
    assert found.mean[1] == found.mean[3] == large
    # Means and deviations near the smallest numbers that are rounded well.
    small = dtype(2.0**20) * tiny
    near = folded_normal_moments(np.array([small], dtype), np.array([small], dtype)).mean[0]
    assert float(near) / float(small) == pytest.approx(1.1666309, rel=2e-6)


def test_shapes_broadcast_and_the_larger_precision_wins():
    found = folded_normal_moments(np.ones((3, 1), np.float32), np.ones(2))
    assert found.mean.shape == found.variance.shape == (3, 2)
    assert found.mean.dtype == np.float64
    assert folded_normal_moments([], []).mean.shape == (0,)
    assert folded_normal_moments(2, 1).mean.shape == ()


@pytest.mark.parametrize(
    ("mu", "sigma", "words"),
    [
        ([np.nan], [1.0], "mu must be finite"),
        ([1.0], [np.inf], "sigma must be finite"),
        ([1.0], [-2.0], "sigma must not be negative; got -2"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], r"sigma must have a shape that broadcasts against mu, \(2,\); got \(3,\)"),
        (["a"], [1.0], "mu must be an array of real numbers"),
        ([1j], [1.0], "mu must be an array of real numbers"),
    ],
)
def test_errors_name_the_argument(mu, sigma, words):
    with pytest.raises(ValueError, match=words):
        folded_normal_moments(mu, sigma)
