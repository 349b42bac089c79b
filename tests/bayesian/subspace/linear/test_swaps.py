"""Gains of exchanges against differences of two bounds, each computed term by term."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.bayesian import removal_score, subspace_posterior, swap_gains


def _bound(F, y, kappa, prior_std, mean, variance, active):
    left = y - F[:, active] @ mean
    fit = kappa * (left @ left + np.sum(F[:, active] ** 2, axis=0) @ variance)
    divergence = (variance + mean**2) / prior_std**2 - 1.0 - np.log(variance / prior_std**2)
    return -0.5 * (fit + divergence.sum())


def _best_factor(F, y, kappa, prior_std, mean, active, at):
    """Precision and mean of the factor of one active column, by setting the derivative of the bound to zero."""
    others = [k for k in range(len(active)) if k != at]
    left = y - F[:, np.array(active)[others]] @ mean[others]
    precision = kappa * F[:, active[at]] @ F[:, active[at]] + prior_std**-2.0
    return kappa * F[:, active[at]] @ left / precision, 1.0 / precision


@given(seed=st.integers(0, 10**6), rows=st.integers(1, 6), size=st.integers(1, 4), settled=st.booleans())
def test_every_gain_is_the_difference_of_two_bounds(seed, rows, size, settled):
    rng = np.random.default_rng(seed)
    F = rng.standard_normal((rows, 6)) * 10 ** rng.uniform(-2, 2, 6)
    F[:, 4] = F[:, 1]
    F[:, 5] = 0.0
    y, kappa, prior_std = rng.standard_normal(rows), 10 ** rng.uniform(-1, 2), 10 ** rng.uniform(-1, 1)
    active = rng.permutation(6)[:size]
    if settled:
        now = subspace_posterior(F, y, kappa, prior_std, active)
        mean, variance = now.mean, now.variance
    else:
        mean, variance = rng.standard_normal(size), rng.uniform(0.1, 2.0, size)
    found = swap_gains(F, y, kappa, prior_std, active, mean, variance)
    assert found.gain.shape == (size, 6 - size)
    assert found.candidates.tolist() == sorted(set(range(6)) - set(active.tolist()))
    before = _bound(F, y, kappa, prior_std, mean, variance, active)
    for i in range(size):
        for place, j in enumerate(found.candidates):
            exchanged, m, v = active.copy(), mean.copy(), variance.copy()
            exchanged[i] = j
            m[i], v[i] = _best_factor(F, y, kappa, prior_std, mean, exchanged, i)
            gain = _bound(F, y, kappa, prior_std, m, v, exchanged) - before
            scale = abs(before) + abs(gain) + kappa * (y @ y) + 1.0
            assert found.gain[i, place] == pytest.approx(gain, abs=1e-10 * scale)


def test_an_exchange_is_a_removal_and_an_addition_in_nats():
    """A mean loss, or one of another unit, would scale the gain but not its logarithm."""
    rng = np.random.default_rng(0)
    F, y, kappa, prior_std = rng.standard_normal((30, 8)), rng.standard_normal(30), 2.0, 0.7
    now = subspace_posterior(F, y, kappa, prior_std, [1, 4])
    found = swap_gains(F, y, kappa, prior_std, [1, 4], now.mean, now.variance)
    leaving = -removal_score(now.mean, np.sqrt(now.variance), "savage_dickey", prior_std=prior_std)
    for i, other in ((0, 4), (1, 1)):
        rest = now.mean[1 - i]
        gradient = kappa * F.T @ (y - F[:, other] * rest)
        curvature = kappa * np.sum(F**2, axis=0)
        gain = gradient**2 / (2 * (curvature + prior_std**-2)) - 0.5 * np.log1p(prior_std**2 * curvature)
        np.testing.assert_allclose(found.gain[i], leaving[i] + gain[found.candidates], rtol=1e-9)
        # In units of a mean loss, which divide kappa by the number of samples, the gain is another.
        scaled = (gradient / 30) ** 2 / (2 * (curvature / 30 + prior_std**-2))
        scaled -= 0.5 * np.log1p(prior_std**2 * curvature / 30)
        assert np.abs(30 * scaled - gain)[found.candidates].min() > 1e-3


def test_a_column_of_zeros_is_worth_what_leaving_is_worth():
    F = np.array([[1.0, 0.0], [1.0, 0.0]])
    now = subspace_posterior(F, [1.0, 2.0], 1.0, 1.0, [0])
    found = swap_gains(F, [1.0, 2.0], 1.0, 1.0, [0], now.mean, now.variance)
    leaving = -removal_score(now.mean, np.sqrt(now.variance), "savage_dickey", prior_std=1.0)
    np.testing.assert_allclose(found.gain, leaving[:, None], rtol=1e-13)


def test_nothing_to_exchange():
    F = np.eye(2)
    assert swap_gains(F, [1.0, 1.0], 1.0, 1.0, [0, 1], [0.5, 0.5], [0.5, 0.5]).gain.shape == (2, 0)
    assert swap_gains(F, [1.0, 1.0], 1.0, 1.0, [], [], []).gain.shape == (0, 2)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"mean": [1.0, 2.0]}, "mean must have one entry per active column, 1; got 2"),
        ({"variance": [0.0]}, "variance must be positive"),
        ({"kappa": -1.0}, "kappa must be a finite positive number"),
        ({"active": [[0]]}, "active must be a vector"),
    ],
)
def test_bad_arguments_are_named(change, match):
    given = {"F": np.eye(2), "y": [1.0, 1.0], "kappa": 1.0, "prior_std": 1.0, "active": [0], "mean": [1.0]}
    with pytest.raises(ValueError, match=match):
        swap_gains(**({**given, "variance": [1.0]} | change))
