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
    X, D, alpha = draw_problem(seed)
    rng, n = np.random.default_rng(seed), D.shape[1]
    D[:, n // 2 :] = D[:, : n - n // 2] + 10.0 ** rng.integers(-9, 0) * rng.standard_normal((D.shape[0], n - n // 2))
    return X, D, alpha


@given(seeds, st.booleans(), st.booleans(), st.sampled_from([np.float64, np.float32]))
def test_results_are_stable(seed, duplicates, warm, dtype):
    X, D, alpha = _near_duplicates(seed) if duplicates else draw_problem(seed)
    X, D = X.astype(dtype), D.astype(dtype)
    start = np.random.default_rng(seed).random((4, D.shape[1])) < 0.4 if warm else None
    C = sbr(X, D, alpha, warm=None if start is None else start.astype(dtype))
    assert C.dtype == dtype
    assert is_sbr_stable(X, D, C, alpha).all()


@given(seeds)
def test_stable_means_that_no_support_one_atom_away_is_better(seed):
    X, D, alpha = draw_problem(seed, m=(3, 8), n=(2, 9))
    assume(is_well_posed(D))
    rng = np.random.default_rng(seed)
    C = np.array([least_squares(x, D, np.flatnonzero(rng.random(D.shape[1]) < 0.4)) for x in X])
    C[0] = sbr(X[:1], D, alpha)[0]
    stable = is_sbr_stable(X, D, C, alpha)
    assert stable[0]
    for x, c, found in zip(X, C, stable, strict=True):
        S, now = set(np.flatnonzero(c).tolist()), l0_value(x, D, c, alpha)
        trials = [sorted(S ^ {i}) for i in range(D.shape[1])]
        gain = now - min(l0_value(x, D, least_squares(x, D, t), alpha) for t in trials)
        independent = np.linalg.matrix_rank(D[:, sorted(S)]) == len(S) if S else True
        if abs(gain) > 1e-9:
            assert found == (gain < 0 and independent)


def test_codes_that_are_not_least_squares_are_not_stable():
    X, D, _ = draw_problem(3, m=10, n=20, n_samples=8, plain=True)
    C = sbr(X, D, 0.1)
    assert is_sbr_stable(X, D, C, 0.1).all()
    off = C * (1 + 1e-5)
    assert not is_sbr_stable(X, D, off, 0.1).any()
    # The objective is quadratic about its minimum.
    assert is_sbr_stable(X, D, off, 0.1, tol=1e-9).all()
    assert not is_sbr_stable(X, D, off, 0.1, tol=1e-11).any()
    # One atom more, one less, and a support of dependent atoms.
    assert not is_sbr_stable(X, D, np.ones_like(C), 0.1).any()
    for x, c in zip(X, C, strict=True):
        S = np.flatnonzero(c)
        assert not is_sbr_stable(x[None], D, least_squares(x, D, S[1:])[None], 0.1)[0]
        more = np.append(S, np.setdiff1d(np.arange(20), S)[0])
        assert not is_sbr_stable(x[None], D, least_squares(x, D, more)[None], 0.1)[0]


def test_better_than_greedy_and_cyclic_descent():
    X, D, _ = draw_problem(4, m=20, n=40, n_samples=200, plain=True)
    means = {}
    for name, C in (
        ("sbr", sbr(X, D, 0.1)),
        ("greedy", cd_l0(X, D, 0.1)),
        ("cyclic", cd_l0(X, D, 0.1, rule="cyclic")),
    ):
        means[name] = np.mean([l0_value(x, D, c, 0.1) for x, c in zip(X, C, strict=True)])
    assert means["sbr"] < means["greedy"] < means["cyclic"]
    # From the codes of greedy descent it can only gain.
    start = cd_l0(X, D, 0.1, tol=1e-9)
    for x, c, s in zip(X, sbr(X, D, 0.1, warm=start), start, strict=True):
        assert l0_value(x, D, c, 0.1) <= l0_value(x, D, s, 0.1) + 1e-10


def test_rows_threads_and_gram(rng):
    X, D, _ = draw_problem(5, m=16, n=64, n_samples=3000, plain=True)
    C = sbr(X, D, 0.2)
    assert (np.count_nonzero(C, axis=1) > 0).any()
    np.testing.assert_array_equal(sbr(X, D, 0.2, n_jobs=2), C)
    np.testing.assert_allclose(sbr(X, D, 0.2, gram=np.asfortranarray(D.T @ D)), C, atol=1e-12)
    some = rng.choice(3000, 9, replace=False)
    np.testing.assert_allclose(sbr(X[some], D, 0.2), C[some], atol=1e-12)
    np.testing.assert_allclose(sbr(X, D, 0.2, warm=C), C, atol=1e-12)


def test_layouts_are_accepted_and_inputs_kept():
    X, D, alpha = draw_problem(6)
    C, warm = sbr(X, D, alpha), np.ones((4, D.shape[1]))
    X.flags.writeable = D.flags.writeable = warm.flags.writeable = False
    np.testing.assert_array_equal(sbr(np.asfortranarray(X), np.asfortranarray(D), alpha), C)
    sbr(X, D, alpha, warm=warm)
    assert (warm == 1).all()
    assert sbr([[3, 0]], np.eye(2, dtype=int), 1).tolist() == [[3.0, 0.0]]


def test_special_signals_and_prices():
    D = draw_problem(7)[1]
    m, n = D.shape
    assert not sbr(np.zeros((2, m)), D, 0.0).any()
    assert sbr(np.ones((0, m)), D, 0.1).shape == (0, n)
    assert is_sbr_stable(np.ones((0, m)), D, np.ones((0, n)), 0.1).shape == (0,)
    assert is_sbr_stable(np.zeros((2, m)), D, np.zeros((2, n)), 0.0).all()
    # Without a price the fit is exact where atoms span the space.
    X = np.random.default_rng(0).standard_normal((3, 4))
    D = np.random.default_rng(1).standard_normal((4, 9))
    np.testing.assert_allclose(sbr(X, D, 0.0) @ D.T, X, atol=1e-10)


def test_too_few_moves_are_counted():
    X, D, _ = draw_problem(8, m=10, n=20, n_samples=5, plain=True)
    X[3:] = 0.0
    with pytest.warns(ConvergenceWarning, match="sbr: 3 of 5 codes can still be improved after max_iter=1 moves"):
        C = sbr(X, D, 1e-3, max_iter=1)
    assert np.count_nonzero(C, axis=1).tolist() == [1, 1, 1, 0, 0]


@refuses(
    [
        *BAD_ARRAYS,
        *BAD_LAM,
        ({"max_iter": 0}, ValueError, "max_iter must be an integer from 1 to .*; got 0"),
        ({"warm": np.ones((1, 5))}, ValueError, "warm must have one row per signal"),
        ({"gram": np.eye(4)}, ValueError, r"gram must be D.T @ D, of shape \(5, 5\); got shape \(4, 4\)"),
        ({"gram": np.eye(5)}, ValueError, "gram must be D.T @ D; its diagonal"),
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
