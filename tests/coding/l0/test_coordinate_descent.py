"""Coordinate descent with a price per atom: where it ends, and that both rules follow their definition."""

import warnings

import numpy as np
import pytest
from coding.coding_references import (
    BAD_ARRAYS,
    BAD_LAM,
    draw_problem,
    good_arguments,
    l0_value,
    refuses,
    seeds,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding.codes.certificates import criticality
from sparsetheory.coding.l0.coordinate_descent import cd_l0
from sparsetheory.penalties import CEL0, L0

rules = st.sampled_from(["greedy", "cyclic"])


@given(seeds, rules, st.booleans())
def test_results_are_critical_points_of_cel0_without_small_entries(seed, rule, warm):
    X, A, alpha = draw_problem(seed)
    alpha = max(alpha, 0.1)
    start = np.random.default_rng(seed).standard_normal((4, A.shape[1])) if warm else None
    with warnings.catch_warnings(record=True) as announced:
        warnings.simplefilter("always")
        C = cd_l0(X, A.T, alpha=alpha, rule=rule, init=start, max_iter=10**6).codes
    # Steps between nearly dependent atoms may be too slow to arrive, which is said.
    assume(not announced)
    norms, scale = np.linalg.norm(A, axis=0), 1e-5 * np.linalg.norm(X, axis=1)[:, None]
    correlations, edge = (X - C @ A.T) @ A, np.sqrt(2 * alpha)
    on = C != 0
    assert (np.abs(C) * norms >= edge - scale)[on].all()
    assert (np.abs(correlations) / norms <= edge + scale)[~on].all()
    assert (np.abs(correlations) / norms <= scale + 0 * C)[on].all()
    # The same in terms of the two penalties, for codes that are not next to a threshold.
    clear = (np.abs(np.abs(C) * norms - edge) > scale).all(axis=1)
    for penalty in (L0(alpha), CEL0(alpha, norms)):
        assert (criticality(X, A.T, C, penalty)[clear] <= 1e-4 * np.linalg.norm(X, axis=1)[clear] * norms.max()).all()
    gradient = -correlations
    assert (CEL0(alpha, norms).subgrad_dist(C, gradient)[clear] <= (scale * norms + 0 * C)[clear]).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@given(seeds, st.booleans(), st.integers(1, 6))
def test_cyclic_rule(seed, warm, n_sweeps):
    X, A, alpha = draw_problem(seed)
    start = np.random.default_rng(seed).standard_normal((4, A.shape[1])) if warm else np.zeros((4, A.shape[1]))
    C = cd_l0(X, A.T, alpha=alpha, rule="cyclic", init=start if warm else None, tol=0, max_iter=n_sweeps).codes
    squares = np.sum(A**2, axis=0)
    for x, c, found in zip(X, start, C, strict=True):
        for _ in range(n_sweeps):
            for i in range(c.size):
                c[i] = c[i] + A[:, i] @ (x - A @ c) / squares[i]
                c[i] *= c[i] ** 2 * squares[i] > 2 * alpha
        # The solver leaves changes of relative size 1e-10.
        np.testing.assert_allclose(found, c, atol=1e-8 * (1 + np.abs(c).max()))


def test_nonzero_entries_are_large():
    # The lower bound of every coordinate-wise minimiser, for l0 and, by its prox, for the other penalties with a jump.
    X, A, _ = draw_problem(3, m=10, n=25, n_samples=50)
    C = cd_l0(X, A.T, alpha=0.2).codes
    smallest = (np.sqrt(0.4) / np.linalg.norm(A, axis=0) + 0 * C)[C != 0]
    assert (np.abs(C[C != 0]) >= smallest * (1 - 1e-9)).all()
    assert (np.abs(C[C != 0]) < 1.2 * smallest).any()


def test_orthogonal_atoms_are_thresholded(rng):
    Q = np.linalg.qr(rng.standard_normal((12, 12)))[0] * 2
    X = rng.standard_normal((5, 12))
    best = X @ Q / 4
    for rule in ("greedy", "cyclic"):
        np.testing.assert_allclose(cd_l0(X, Q.T, alpha=0.3, rule=rule).codes, best * (best**2 > 0.15), atol=1e-12)


def test_greedy_is_better_than_cyclic_on_average():
    X, A, _ = draw_problem(4, m=20, n=40, n_samples=200, plain=True)
    greedy, cyclic = (
        np.mean([l0_value(x, A, c, 0.1) for x, c in zip(X, cd_l0(X, A.T, alpha=0.1, rule=rule).codes, strict=True)])
        for rule in ("greedy", "cyclic")
    )
    assert greedy < cyclic


@pytest.mark.parametrize("rule", ["greedy", "cyclic"])
def test_rows_threads_gram_and_precision(rng, rule):
    X, A, _ = draw_problem(5, m=16, n=64, n_samples=1500, plain=True)
    C = cd_l0(X, A.T, alpha=0.3, rule=rule).codes
    np.testing.assert_array_equal(cd_l0(X, A.T, alpha=0.3, rule=rule, n_jobs=2).codes, C)
    some = rng.choice(1500, 9, replace=False)
    np.testing.assert_allclose(
        cd_l0(X[some], np.asfortranarray(A).T, alpha=0.3, rule=rule, gram=A.T @ A).codes, C[some], atol=1e-10
    )
    single = cd_l0(X.astype(np.float32), A.astype(np.float32).T, alpha=0.3, rule=rule).codes
    assert single.dtype == np.float32
    same = ((single != 0) == (C != 0)).all(axis=1)
    assert same.mean() > 0.95
    np.testing.assert_allclose(single[same], C[same], atol=2e-4)


def test_inputs_are_kept():
    X, A, alpha = draw_problem(6)
    warm = np.ones((4, A.shape[1]))
    X.flags.writeable = A.flags.writeable = warm.flags.writeable = False
    for rule in ("greedy", "cyclic"):
        cd_l0(X, A.T, alpha=alpha, rule=rule, init=warm)
        assert (warm == 1).all()
        assert cd_l0(np.ones((0, A.shape[0])), A.T, alpha=0.1, rule=rule).codes.shape == (0, A.shape[1])
        assert not cd_l0(np.zeros((2, A.shape[0])), A.T, alpha=0.0, rule=rule).codes.any()
        assert cd_l0([[3, 0]], np.eye(2, dtype=int), alpha=1, rule=rule).codes.tolist() == [[3.0, 0.0]]


@pytest.mark.parametrize("rule", ["greedy", "cyclic"])
def test_too_few_changes_are_counted(rule):
    X, A, _ = draw_problem(8, m=10, n=20, n_samples=5, plain=True)
    X[3:] = 0.0
    with pytest.warns(ConvergenceWarning, match="cd_l0: 3 of 5 codes can still be improved after max_iter=2"):
        cd_l0(X, A.T, alpha=1e-3, rule=rule, max_iter=2)


@refuses(
    [
        *BAD_ARRAYS,
        *BAD_LAM,
        ({"rule": "random"}, ValueError, "rule must be one of 'greedy', 'cyclic'; got 'random'"),
        ({"tol": -1.0}, ValueError, "tol must be a finite non-negative number; got -1.0"),
        ({"max_iter": 1.5}, ValueError, "max_iter must be an integer from 1 to .*; got 1.5"),
        ({"init": np.ones((1, 5))}, ValueError, "init must have one row per signal"),
        ({"gram": np.eye(5)}, ValueError, "gram must be D @ D.T; its diagonal"),
    ]
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        cd_l0(**(good_arguments(alpha=0.1) | arguments))
