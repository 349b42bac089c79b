"""The bound is never above the truth, and is the truth where the observations prove it."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from sparsetheory.bandits.supports.misspecification import estimate_eps


def _nearest(X, y):
    """Smallest largest residual, by a linear program of another form."""
    n, s = X.shape
    # Weights of both signs that X cancels, with absolute sum one, times the rewards.
    program = linprog(
        -np.concatenate([y, -y]),
        A_eq=np.vstack([np.hstack([X.T, -X.T]), np.ones(2 * n)]),
        b_eq=np.append(np.zeros(s), 1.0),
        method="highs",
    )
    return max(-program.fun, 0.0) if program.status == 0 else 0.0


@given(st.integers(1, 14), st.integers(1, 5), st.data(), st.booleans(), st.floats(-8, 0), st.integers(0, 2**32 - 1))
def test_never_above_the_true_misspecification(n, d, data, near, exponent, seed):
    rng = np.random.default_rng(seed)
    s = data.draw(st.integers(1, d))
    X = rng.standard_normal((n, d))
    true = np.sort(rng.choice(d, s, replace=False))
    theta = rng.standard_normal(s)
    if near and s > 1:
        distance = 10.0 ** rng.uniform(-6, -1)
        X[:, true[1]] = X[:, true[0]] + distance * X[:, true[1]]
        theta[:2] = np.array([1.0, -1.0]) / distance
    signal = X[:, true] @ theta
    y = signal + 10.0**exponent * np.abs(signal).max() * rng.uniform(-1, 1, n)
    bound = estimate_eps(X, y, s)
    assert 0 <= bound.eps_lower <= np.abs(y - signal).max()
    # The proof holds for the support that is named, and its coefficients attain what they say.
    M = X[:, bound.support]
    assert np.abs(bound.weights).sum() == pytest.approx(1.0 if bound.eps_lower > 0 else 0.0)
    assert np.abs(M.T @ bound.weights).max() <= 1e-12 * np.abs(M).max()
    assert bound.weights @ y >= bound.eps_lower * (1 - 1e-12)
    assert np.abs(y - M @ bound.theta).max() == pytest.approx(bound.sup_residual, rel=1e-9)
    assert bound.sup_residual >= bound.eps_lower


@given(st.integers(3, 12), st.integers(1, 5), st.data(), st.integers(0, 2**32 - 1))
def test_the_smallest_of_all_supports(n, d, data, seed):
    rng = np.random.default_rng(seed)
    s = data.draw(st.integers(1, min(d, n - 1)))
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    bound = estimate_eps(X, y, s)
    smallest = min(_nearest(X[:, M], y) for M in combinations(range(d), s))
    assert bound.eps_lower == pytest.approx(smallest, rel=1e-6, abs=1e-9)
    assert bound.sup_residual == pytest.approx(smallest, rel=1e-6, abs=1e-9)


def test_alternating_errors_are_found_exactly():
    """Chebyshev: the error of a line that alternates three times between its extremes is the smallest possible."""
    x = np.linspace(0.0, 1.0, 13)
    X = np.column_stack([np.ones(13), x, np.cos(40 * x), np.sin(55 * x)])
    y = 2 - x + 0.25 * np.cos(3 * np.pi * x)
    bound = estimate_eps(X[:, :2], y, 2)
    assert bound.eps_lower == pytest.approx(0.25, rel=1e-9)
    assert estimate_eps(X, y, 2).eps_lower <= bound.eps_lower


def test_few_programs_among_many_supports():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 30))
    y = X[:, [3, 9, 27]] @ [0.7, 0.5, 0.5] + 0.05 * rng.uniform(-1, 1, 80)
    bound = estimate_eps(X, y, 3)
    assert bound.support.tolist() == [3, 9, 27]
    assert 0.04 < bound.eps_lower <= 0.05
    assert bound.n_programs <= 3  # of 4060


def test_duplicate_rows_with_different_rewards_prove_half_the_difference():
    bound = estimate_eps(np.ones((2, 1)), np.array([0.0, 0.6]), 1)
    assert bound.eps_lower == pytest.approx(0.3, rel=1e-12)
    np.testing.assert_allclose(np.abs(bound.weights), 0.5)


def test_zero_rewards_and_zero_features():
    X = np.column_stack([np.zeros(4), np.arange(4.0)])
    assert estimate_eps(X, np.zeros(4), 1).eps_lower == 0
    bound = estimate_eps(np.zeros((3, 2)), np.array([1.0, -2.0, 0.5]), 2)
    assert bound.eps_lower == pytest.approx(2.0, rel=1e-12)
    assert bound.theta.tolist() == [0.0, 0.0]


def test_noise_is_subtracted():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((60, 4))
    signal = X[:, 1] + 0.5 * rng.choice([-1.0, 1.0], 60)
    wrong = 0
    for _ in range(40):
        y = signal + 0.05 * rng.standard_normal(60)
        bound = estimate_eps(X, y, 1, noise_std=0.05, delta=0.1)
        wrong += bound.eps_lower > 0.5
        assert bound.eps_lower > 0.2
    assert wrong <= 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_std": 0.1}, "delta must be given with noise"),
        ({"noise_std": 0.1, "delta": 1.0}, r"delta must be None or a number in \(0, 1\)"),
        ({"n_nonzero": 3}, "n_nonzero must be an integer from 1 to 2"),
        ({"rewards": np.ones(3)}, "rewards must be of shape"),
        ({"rows": np.full((2, 2), np.nan)}, "rows must be finite; got NaN or infinity in row 0"),
        ({"rows": np.empty((0, 2)), "rewards": np.empty(0)}, "rows must be a matrix with entries"),
    ],
)
def test_what_cannot_be_estimated(options, message):
    with pytest.raises(ValueError, match=message):
        estimate_eps(**{"rows": np.eye(2), "rewards": np.ones(2), "n_nonzero": 1} | options)
