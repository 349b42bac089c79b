"""Sensitivities of moments: attained by explicit pairs of records, exceeded by no pair that a search finds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from sparsetheory.privacy import (
    MomentNoise,
    cross_moment_sensitivity,
    joint_gaussian_mu,
    joint_moment_noise,
    second_moment_sensitivity,
)

SCALES = st.floats(0.1, 10.0)


def released_mu(x, y, other_x, other_y, noise):
    """Compute mu of one pair of records from the matrices themselves, weight by weight."""
    second, cross = np.outer(x, x) - np.outer(other_x, other_x), x * y - other_x * other_y
    rows, columns = np.triu_indices(x.size)
    stds = np.where(rows == columns, 1.0, math.sqrt(0.5)) * noise.second_moment_std
    return math.hypot(np.linalg.norm(second[rows, columns] / stds), np.linalg.norm(cross) / noise.cross_moment_std)


def worst_pair(clip_x, clip_y, noise):
    """Return the two records at which the derivation says that mu is attained."""
    ratio = (2 * clip_x * clip_y / noise.cross_moment_std) ** 2 / (2 * clip_x**4 / noise.second_moment_std**2)
    cosine = min(ratio / 4, 1.0)
    x, other_x = np.zeros(3), np.zeros(3)
    x[0], other_x[0], other_x[1] = clip_x, clip_x * cosine, clip_x * math.sqrt(1 - cosine**2)
    return x, clip_y, other_x, -clip_y


@given(SCALES, SCALES, SCALES, SCALES)
def test_the_joint_worst_case_is_attained(clip_x, clip_y, second, cross):
    noise = MomentNoise(second, cross)
    mu = joint_gaussian_mu(clip_x, clip_y, second_moment_std=second, cross_moment_std=cross)
    assert released_mu(*worst_pair(clip_x, clip_y, noise), noise) == pytest.approx(mu, rel=1e-12)


@pytest.mark.parametrize("ratio", [0.01, 0.3, 1.0, 3.0, 3.99, 4.01, 10.0, 1000.0])
@pytest.mark.parametrize("d", [1, 2, 4])
def test_no_pair_that_a_search_finds_is_worse(rng, ratio, d):
    clip_x, clip_y = 1.5, 0.7
    noise = MomentNoise(math.sqrt(2) * clip_x**2, 2 * clip_x * clip_y / math.sqrt(ratio))
    mu = joint_gaussian_mu(
        clip_x, clip_y, second_moment_std=noise.second_moment_std, cross_moment_std=noise.cross_moment_std
    )

    def records(free):
        x, other_x = free[:d], free[d : 2 * d]
        x, other_x = (v * clip_x / max(np.linalg.norm(v), 1.0) for v in (x, other_x))
        y, other_y = clip_y * np.clip(free[2 * d :], -1, 1)
        return x, y, other_x, other_y

    found = 0.0
    for _ in range(6):
        start = rng.standard_normal(2 * d + 2)
        found = max(found, -minimize(lambda free: -released_mu(*records(free), noise), start, method="Powell").fun)
    assert found <= mu * (1 + 1e-12)
    if d > 1:
        assert found >= mu * (1 - 1e-3)


@given(st.integers(0, 2**32 - 1), SCALES, SCALES, st.integers(1, 6))
def test_random_pairs_stay_within_all_sensitivities(seed, clip_x, clip_y, d):
    rng = np.random.default_rng(seed)
    x, other_x = rng.standard_normal((2, d))
    x, other_x = (clip_x * v / np.linalg.norm(v) * rng.choice([1.0, rng.random()]) for v in (x, other_x))
    y, other_y = clip_y * rng.choice([-1.0, 1.0, 0.3], 2)
    second, cross = np.outer(x, x) - np.outer(other_x, other_x), x * y - other_x * other_y
    assert np.linalg.norm(second[np.triu_indices(d)]) <= np.linalg.norm(second) * (1 + 1e-12)
    assert np.linalg.norm(second) <= second_moment_sensitivity(clip_x) * (1 + 1e-12)
    assert np.linalg.norm(cross) <= cross_moment_sensitivity(clip_x, clip_y) * (1 + 1e-12)


def test_each_sensitivity_alone_is_attained():
    x, other = 3.0 * np.eye(4)[:2]
    change = np.outer(x, x) - np.outer(other, other)
    assert np.linalg.norm(change[np.triu_indices(4)]) == pytest.approx(second_moment_sensitivity(3.0), rel=1e-14)
    corner = np.full(4, 0.5)  # clipped entry by entry: a norm of half the root of four
    assert np.linalg.norm(2 * corner * 7.0) == cross_moment_sensitivity(0.5 * math.sqrt(4), 7.0)


def test_an_equal_split_costs_less_than_the_two_releases_would():
    mu = joint_gaussian_mu(1.0, 1.0, second_moment_std=math.sqrt(2), cross_moment_std=2.0)
    assert mu / math.sqrt(2) == pytest.approx(0.884, abs=5e-4)


@given(SCALES, SCALES, SCALES, st.floats(0.0, 5.0), st.none() | st.floats(1e-3, 4.0))
def test_noise_has_the_mu_it_was_made_for(mu, clip_x, clip_y, norm_bound, split):
    noise = joint_moment_noise(mu, clip_x, clip_y, norm_bound=norm_bound, split=split)
    found = joint_gaussian_mu(
        clip_x, clip_y, second_moment_std=noise.second_moment_std, cross_moment_std=noise.cross_moment_std
    )
    assert mu * (1 - 1e-13) <= found <= mu
    if split is not None:
        alone = (2 * clip_x * clip_y / noise.cross_moment_std) ** 2 / (2 * clip_x**4 / noise.second_moment_std**2)
        assert alone == pytest.approx(split, rel=1e-12)


@given(SCALES, SCALES, st.floats(0.1, 5.0))
def test_no_other_split_leaves_less_noise_in_the_normal_equations(clip_x, clip_y, norm_bound):
    def variance(split):
        noise = joint_moment_noise(1.0, clip_x, clip_y, norm_bound=norm_bound, split=split)
        return noise.cross_moment_std**2 + norm_bound**2 * noise.second_moment_std**2 / 2

    best = variance(None)
    assert all(best <= variance(split) * (1 + 1e-12) for split in np.geomspace(1e-3, 4.0, 50))


def test_the_noise_of_the_normal_equations_is_as_the_notes_say(rng):
    d, noise = 6, MomentNoise(2.0, 0.5)
    theta = rng.standard_normal(d)
    draws = rng.standard_normal((20_000, d, d)) * noise.second_moment_std / math.sqrt(2)
    symmetric = np.triu(draws, 1) + np.transpose(np.triu(draws, 1), (0, 2, 1))
    symmetric += math.sqrt(2) * draws * np.eye(d)
    entries = symmetric @ theta + noise.cross_moment_std * rng.standard_normal((20_000, d))
    expected = 0.5**2 + 2.0**2 * (theta @ theta) * (1 + 1 / d) / 2
    assert np.mean(entries**2) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, "1"])
def test_bad_bounds_are_named(bad):
    with pytest.raises(ValueError, match=r"^clip_x must be"):
        second_moment_sensitivity(bad)
    with pytest.raises(ValueError, match=r"^clip_y must be"):
        cross_moment_sensitivity(1.0, bad)
    with pytest.raises(ValueError, match=r"^cross_moment_std must be"):
        joint_gaussian_mu(1.0, 1.0, second_moment_std=1.0, cross_moment_std=bad)
    with pytest.raises(ValueError, match=r"^mu must be"):
        joint_moment_noise(bad, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"^clip_y must be"):
        joint_moment_noise(1.0, 1.0, bad, split=1.0)


def test_a_split_that_enlarges_both_noises_is_refused():
    with pytest.raises(ValueError, match=r"^split must be None or a number in \(0, 4\]"):
        joint_moment_noise(1.0, 1.0, 1.0, split=4.1)
