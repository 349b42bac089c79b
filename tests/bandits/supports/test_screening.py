"""Screening discards what cannot be, and never what is true."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import lstsq

from sparsetheory.bandits.supports.enumeration import all_supports
from sparsetheory.bandits.supports.screening import screen_supports
from sparsetheory.numba_kernels.bandits.supports import residuals_of_supports

FAMILIES = ("gaussian", "near", "copies", "zeros", "low rank")


def _features(family, n, d, rng):
    X = rng.standard_normal((n, d))
    if family == "near":
        for j in range(1, d):
            X[:, j] = X[:, j - 1] + 10.0 ** rng.uniform(-7, -1) * X[:, j]
    if family == "copies":
        X = X[:, rng.integers(0, max(1, d // 2), d)]
    if family == "zeros":
        X[:, rng.random(d) < 0.4] = 0.0
    if family == "low rank":
        X = X[:, :2] @ rng.standard_normal((X[:, :2].shape[1], d))
    return X * 10.0 ** rng.integers(-3, 4, d)


def _screen(X, y, s, eps, with_rows):
    more = {"rows": X, "rewards": y} if with_rows else {}
    return screen_supports(X.T @ X, X.T @ y, y @ y, len(y), s, eps, **more)


@given(
    st.sampled_from(FAMILIES),
    st.integers(1, 12),
    st.integers(1, 7),
    st.data(),
    st.floats(-8, 0),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_the_true_support_and_all_that_hold_it_survive(family, n, d, data, exponent, with_rows, seed):
    rng = np.random.default_rng(seed)
    s = data.draw(st.integers(1, d))
    k = data.draw(st.integers(1, s))
    X = _features(family, n, d, rng)
    true = np.sort(rng.choice(d, k, replace=False))
    signal = X[:, true] @ rng.standard_normal(k)
    eps = 10.0**exponent * max(np.abs(signal).max(), 1e-3)
    y = signal + eps * rng.choice([-1.0, 1.0], n) * (1 - 1e-9)
    survivors = {tuple(support) for support in _screen(X, y, s, eps, with_rows)}
    holding = {tuple(support) for support in all_supports(d, s) if set(true) <= set(support)}
    assert holding <= survivors


@pytest.mark.parametrize("with_rows", [False, True])
def test_the_true_support_survives_where_coefficients_cancel(with_rows):
    """Two features at a distance down to 1e-7, and coefficients so large that the difference is of order one."""
    rng = np.random.default_rng(1)
    for _ in range(300):
        d, n = int(rng.integers(3, 8)), int(rng.integers(3, 40))
        s = int(rng.integers(2, min(d, 4) + 1))
        X = rng.standard_normal((n, d))
        true = np.sort(rng.choice(d, s, replace=False))
        distance = 10.0 ** rng.uniform(-7, -1)
        X[:, true[1]] = X[:, true[0]] + distance * X[:, true[1]]
        theta = rng.standard_normal(s)
        theta[:2] = np.array([1.0, -1.0 + distance * rng.standard_normal()]) / distance
        signal = X[:, true] @ theta
        eps = 10.0 ** rng.uniform(-8, -2) * np.linalg.norm(signal)
        y = signal + eps * rng.choice([-1.0, 1.0], n)
        assert (_screen(X, y, s, eps, with_rows) == true).all(axis=1).any()


@given(st.sampled_from(FAMILIES), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_survivors_are_those_whose_residual_is_small_enough(family, s, seed):
    rng = np.random.default_rng(seed)
    X = _features(family, 20, 6, rng)
    y = rng.standard_normal(20)
    supports = all_supports(6, s)
    unit = X / np.maximum(np.linalg.norm(X, axis=0), 1e-300)
    left = np.array([np.linalg.norm(y - unit[:, M] @ lstsq(unit[:, M], y, cond=1e-13)[0]) for M in supports])
    # A limit in the middle of the widest gap, so that rounding decides nothing.
    ordered = np.sort(np.append(left, 0.0))
    at = int(np.argmax(np.diff(ordered)))
    limit = (ordered[at] + ordered[at + 1]) / 2
    np.testing.assert_array_equal(_screen(X, y, s, limit / np.sqrt(20), True), supports[left <= limit])


def test_one_pass_agrees_with_separate_solutions():
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((30, 9)), rng.standard_normal(30)
    for s in (1, 2, 3, 5, 9):
        supports = all_supports(9, s)
        residuals, pivots = np.empty(len(supports)), np.empty(len(supports))
        order = rng.permutation(len(supports))
        for chosen in (supports, supports[order]):
            G, b = X.T @ X, X.T @ y
            residuals_of_supports(G, b, y @ y, chosen, np.empty((s, s)), np.empty((4, s)), residuals, pivots)
            expected = [np.sum((y - X[:, M] @ lstsq(X[:, M], y)[0]) ** 2) for M in chosen]
            np.testing.assert_allclose(residuals, expected, rtol=1e-10)
            unit = X / np.linalg.norm(X, axis=0)
            determinants = [np.linalg.det(unit[:, M].T @ unit[:, M]) for M in chosen]
            np.testing.assert_allclose(pivots, determinants, rtol=1e-9)


@pytest.mark.parametrize("with_rows", [True, False])
def test_small_pivots_in_a_row_discard_no_support_that_explains_everything(with_rows):
    rng = np.random.default_rng(4)
    for _ in range(2000):
        # As many features as rows: they explain whatever is observed. Each pivot loses what those before have lost.
        X, y = rng.standard_normal((3, 3)), rng.standard_normal(3)
        X[:, 1] = X[:, 0] + 10.0 ** rng.uniform(-7, -5) * X[:, 1]
        X[:, 2] = X[:, 0] + 10.0 ** rng.uniform(-7, -1) * X[:, 2]
        assert len(_screen(X, y, 3, 1e-3, with_rows)) == 1


def test_rows_tell_apart_what_moments_cannot():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((20, 3))
    X[:, 1] = X[:, 0] + 1e-9 * X[:, 1]
    y = X[:, 2].copy()
    pairs = [(0, 1), (0, 2), (1, 2)]
    assert [tuple(M) for M in _screen(X, y, 2, 1e-3, False)] == pairs
    assert [tuple(M) for M in _screen(X, y, 2, 1e-3, True)] == pairs[1:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps": -1.0}, "eps must be a finite non-negative number"),
        ({"n_nonzero": 0}, "n_nonzero must be an integer from 1 to 3"),
        ({"n_nonzero": 4}, "n_nonzero must be an integer from 1 to 3"),
        ({"yty": np.nan}, "yty must be"),
        ({"XtX": np.eye(2)}, "XtX must be of shape"),
        ({"XtX": np.diag([1.0, np.nan, 1.0])}, "XtX must be finite; got NaN or infinity in row 1"),
        ({"Xty": np.array([1.0, 1.0, np.inf])}, "Xty must be finite; got NaN or infinity in row 2"),
        ({"XtX": np.eye(3, dtype=np.float32)}, "XtX must hold real numbers in double precision"),
        ({"max_supports": 2}, r"max_supports must be at least the number of supports, C\(3, 2\) = 3"),
        ({"rows": np.eye(3)}, "rows and rewards must be given together"),
        ({"rows": np.eye(2, 3), "rewards": np.ones(2)}, "rows must be of shape"),
        ({"rows": np.eye(3), "rewards": np.array([1.0, np.nan, 1.0])}, "rewards must be finite; .* row 1"),
        ({"rows": np.full((3, 3), np.inf), "rewards": np.ones(3)}, "rows must be finite; .* row 0"),
        ({"rows": np.eye(3), "rewards": np.ones(2)}, "rewards must be of shape"),
    ],
)
def test_what_cannot_be_screened(change, message):
    given = {"XtX": np.eye(3), "Xty": np.ones(3), "yty": 3.0, "n": 3, "n_nonzero": 2, "eps": 0.1}
    with pytest.raises(ValueError, match=message):
        screen_supports(**given | change)
