"""Single best replacement: local optimality by other means, and its checker against brute force."""

import numpy as np
import pytest
from coding.coding_references import (
    BAD_ARRAYS,
    BAD_CODES,
    BAD_LAM,
    draw_problem,
    good_arguments,
    is_well_posed,
    l0_value,
    least_squares,
    refuses,
    seeds,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding.l0.coordinate_descent import cd_l0
from sparsetheory.coding.l0.single_best_replacement import is_sbr_stable, sbr


def _near_duplicates(seed):
    """Draw atoms of which half repeat the others up to a small error."""
    X, A, alpha = draw_problem(seed)
    rng, n = np.random.default_rng(seed), A.shape[1]
    A[:, n // 2 :] = A[:, : n - n // 2] + 10.0 ** rng.integers(-9, 0) * rng.standard_normal((A.shape[0], n - n // 2))
    return X, A, alpha


@given(seeds, st.booleans(), st.booleans(), st.sampled_from([np.float64, np.float32]))
def test_results_are_stable(seed, duplicates, warm, dtype):
    X, A, alpha = _near_duplicates(seed) if duplicates else draw_problem(seed)
    X, A = X.astype(dtype), A.astype(dtype)
    start = np.random.default_rng(seed).random((4, A.shape[1])) < 0.4 if warm else None
    C = sbr(X, A.T, alpha=alpha, init=None if start is None else start.astype(dtype)).codes
    assert C.dtype == dtype
    assert is_sbr_stable(X, A.T, C, alpha=alpha).all()


@given(seeds)
def test_stable_means_that_no_support_one_atom_away_is_better(seed):
    X, A, alpha = draw_problem(seed, m=(3, 8), n=(2, 9))
    assume(is_well_posed(A))
    rng = np.random.default_rng(seed)
    C = np.array([least_squares(x, A, np.flatnonzero(rng.random(A.shape[1]) < 0.4)) for x in X])
    C[0] = sbr(X[:1], A.T, alpha=alpha).codes[0]
    stable = is_sbr_stable(X, A.T, C, alpha=alpha)
    assert stable[0]
    for x, c, found in zip(X, C, stable, strict=True):
        S, now = set(np.flatnonzero(c).tolist()), l0_value(x, A, c, alpha)
        trials = [sorted(S ^ {i}) for i in range(A.shape[1])]
        gain = now - min(l0_value(x, A, least_squares(x, A, t), alpha) for t in trials)
        independent = np.linalg.matrix_rank(A[:, sorted(S)]) == len(S) if S else True
        if abs(gain) > 1e-9:
            assert found == (gain < 0 and independent)


def test_codes_that_are_not_least_squares_are_not_stable():
    X, A, _ = draw_problem(3, m=10, n=20, n_samples=8, plain=True)
    C = sbr(X, A.T, alpha=0.1).codes
    assert is_sbr_stable(X, A.T, C, alpha=0.1).all()
    off = C * (1 + 1e-5)
    assert not is_sbr_stable(X, A.T, off, alpha=0.1).any()
    # The objective is quadratic about its minimum.
    assert is_sbr_stable(X, A.T, off, alpha=0.1, tol=1e-9).all()
    assert not is_sbr_stable(X, A.T, off, alpha=0.1, tol=1e-11).any()
    # One atom more, one less, and a support of dependent atoms.
    assert not is_sbr_stable(X, A.T, np.ones_like(C), alpha=0.1).any()
    for x, c in zip(X, C, strict=True):
        S = np.flatnonzero(c)
        assert not is_sbr_stable(x[None], A.T, least_squares(x, A, S[1:])[None], alpha=0.1)[0]
        more = np.append(S, np.setdiff1d(np.arange(20), S)[0])
        assert not is_sbr_stable(x[None], A.T, least_squares(x, A, more)[None], alpha=0.1)[0]


def test_better_than_greedy_and_cyclic_descent():
    X, A, _ = draw_problem(4, m=20, n=40, n_samples=200, plain=True)
    means = {}
    for name, C in (
        ("sbr", sbr(X, A.T, alpha=0.1).codes),
        ("greedy", cd_l0(X, A.T, alpha=0.1).codes),
        ("cyclic", cd_l0(X, A.T, alpha=0.1, rule="cyclic").codes),
    ):
        means[name] = np.mean([l0_value(x, A, c, 0.1) for x, c in zip(X, C, strict=True)])
    assert means["sbr"] < means["greedy"] < means["cyclic"]
    # From the codes of greedy descent it can only gain.
    start = cd_l0(X, A.T, alpha=0.1, tol=1e-9).codes
    for x, c, s in zip(X, sbr(X, A.T, alpha=0.1, init=start).codes, start, strict=True):
        assert l0_value(x, A, c, 0.1) <= l0_value(x, A, s, 0.1) + 1e-10


def test_rows_threads_and_gram(rng):
    X, A, _ = draw_problem(5, m=16, n=64, n_samples=3000, plain=True)
    C = sbr(X, A.T, alpha=0.2).codes
    assert (np.count_nonzero(C, axis=1) > 0).any()
    np.testing.assert_array_equal(sbr(X, A.T, alpha=0.2, n_jobs=2).codes, C)
    np.testing.assert_allclose(sbr(X, A.T, alpha=0.2, gram=np.asfortranarray(A.T @ A)).codes, C, atol=1e-12)
    some = rng.choice(3000, 9, replace=False)
    np.testing.assert_allclose(sbr(X[some], A.T, alpha=0.2).codes, C[some], atol=1e-12)
    np.testing.assert_allclose(sbr(X, A.T, alpha=0.2, init=C).codes, C, atol=1e-12)


def test_layouts_are_accepted_and_inputs_kept():
    X, A, alpha = draw_problem(6)
    C, warm = sbr(X, A.T, alpha=alpha).codes, np.ones((4, A.shape[1]))
    X.flags.writeable = A.flags.writeable = warm.flags.writeable = False
    np.testing.assert_array_equal(sbr(np.asfortranarray(X), np.asfortranarray(A).T, alpha=alpha).codes, C)
    sbr(X, A.T, alpha=alpha, init=warm)
    assert (warm == 1).all()
    assert sbr([[3, 0]], np.eye(2, dtype=int), alpha=1).codes.tolist() == [[3.0, 0.0]]


def test_special_signals_and_prices():
    A = draw_problem(7)[1]
    m, n = A.shape
    assert not sbr(np.zeros((2, m)), A.T, alpha=0.0).codes.any()
    assert sbr(np.ones((0, m)), A.T, alpha=0.1).codes.shape == (0, n)
    assert is_sbr_stable(np.ones((0, m)), A.T, np.ones((0, n)), alpha=0.1).shape == (0,)
    assert is_sbr_stable(np.zeros((2, m)), A.T, np.zeros((2, n)), alpha=0.0).all()
    # Without a price the fit is exact where atoms span the space.
    X = np.random.default_rng(0).standard_normal((3, 4))
    A = np.random.default_rng(1).standard_normal((4, 9))
    np.testing.assert_allclose(sbr(X, A.T, alpha=0.0).codes @ A.T, X, atol=1e-10)


def test_too_few_moves_are_counted():
    X, A, _ = draw_problem(8, m=10, n=20, n_samples=5, plain=True)
    X[3:] = 0.0
    with pytest.warns(ConvergenceWarning, match="sbr: 3 of 5 codes can still be improved after max_iter=1 moves"):
        C = sbr(X, A.T, alpha=1e-3, max_iter=1).codes
    assert np.count_nonzero(C, axis=1).tolist() == [1, 1, 1, 0, 0]


@refuses(
    [
        *BAD_ARRAYS,
        *BAD_LAM,
        ({"max_iter": 0}, ValueError, "max_iter must be an integer from 1 to .*; got 0"),
        ({"init": np.ones((1, 5))}, ValueError, "init must have one row per signal"),
        ({"gram": np.eye(4)}, ValueError, r"gram must be D @ D.T, of shape \(5, 5\); got shape \(4, 4\)"),
        ({"gram": np.eye(5)}, ValueError, "gram must be D @ D.T; its diagonal"),
    ]
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        sbr(**(good_arguments(alpha=0.1) | arguments))


@refuses(
    [
        *BAD_ARRAYS,
        *BAD_CODES,
        *BAD_LAM,
        ({"tol": -1.0}, ValueError, "tol must be a finite non-negative number; got -1.0"),
    ]
)
def test_bad_arguments_of_the_checker(arguments, error, message):
    with pytest.raises(error, match=message):
        is_sbr_stable(**(good_arguments(C=np.zeros((2, 5)), alpha=0.1) | arguments))
