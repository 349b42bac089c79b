"""Levels of codes against the list of all minimisers, and what polishing gains."""

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
    refuses,
    seeds,
)
from hypothesis import assume, given

from sparsetheory.coding.l0.coordinate_descent import cd_l0
from sparsetheory.coding.l0.enumeration import enumerate_l0_minima
from sparsetheory.coding.l0.local_minima import MinimiserKind, minimiser_kinds, polish
from sparsetheory.coding.l0.single_best_replacement import sbr
from sparsetheory.coding.proximal_gradient.forward_backward import forward_backward
from sparsetheory.penalties import CEL0, L0, L1


@given(seeds)
def test_levels_are_those_of_the_list(seed):
    X, A, alpha = draw_problem(seed, m=(2, 8), n=(1, 8), n_samples=1)
    assume(is_well_posed(A))
    minima, tau = enumerate_l0_minima(X[0], A.T, alpha=alpha), 0.99 / np.linalg.norm(A, 2) ** 2
    rows = np.tile(X, (len(minima.local), 1))
    levels = minimiser_kinds(rows, A.T, minima.local, alpha=alpha, tol=0)
    kinds = [minima.local, minima.iht_fixed(tau), minima.cel0, minima.sbr]
    for level, kind in enumerate(kinds, start=1):
        expected = {tuple(c != 0) for c in kind}
        assert {tuple(c != 0) for c in minima.local[levels >= level]} == expected
    assert (minimiser_kinds(rows, A.T, minima.local + 1e-3, alpha=alpha, tol=1e-12) == MinimiserKind.NONE).all()


def test_solvers_reach_their_levels():
    X, A, _ = draw_problem(2, m=16, n=32, n_samples=60, plain=True)
    alpha = 0.1
    found = forward_backward(X, A.T, L0(alpha), tol=1e-8, max_iter=100_000)
    iht = found.codes
    lasso = forward_backward(X, A.T, L1(alpha), accelerated=True, tol=1e-8, max_iter=100_000).codes
    descended = cd_l0(X, A.T, alpha=alpha, tol=1e-8, max_iter=10**6).codes
    assert (minimiser_kinds(X, A.T, lasso, alpha=alpha) == MinimiserKind.NONE).all()
    assert (minimiser_kinds(X, A.T, iht, alpha=alpha) >= MinimiserKind.IHT).all()
    assert (minimiser_kinds(X, A.T, iht, alpha=alpha) < MinimiserKind.SBR).mean() > 0.5
    assert (minimiser_kinds(X, A.T, descended, alpha=alpha) >= MinimiserKind.CEL0).all()
    assert (minimiser_kinds(X, A.T, sbr(X, A.T, alpha=alpha).codes, alpha=alpha) == MinimiserKind.SBR).all()
    # A smaller step accepts more.
    found = forward_backward(X, A.T, L0(alpha), step=0.1 * found.step, tol=1e-8, max_iter=100_000)
    careless = found.codes
    strict, loose = (minimiser_kinds(X, A.T, careless, alpha=alpha, step=step) for step in (None, found.step))
    assert (loose >= MinimiserKind.IHT).all()
    assert (strict <= loose).all()
    assert (strict < MinimiserKind.IHT).any()


def test_polishing_gains_stage_by_stage():
    X, A, _ = draw_problem(3, m=16, n=32, n_samples=80, plain=True)
    for C in (
        forward_backward(X, A.T, L1(0.1), accelerated=True).codes,
        forward_backward(X, A.T, CEL0(0.1), tol=1e-5).codes,
        np.zeros((80, 32)),
        np.ones((80, 32)),
    ):
        result = polish(X, A.T, C, alpha=0.1)
        for codes, values in ((C, result.polished.objective[0]), (result.codes, result.polished.objective[-1])):
            assert values == pytest.approx([l0_value(x, A, c, 0.1) for x, c in zip(X, codes, strict=True)])
        np.testing.assert_allclose(
            result.polished.objective[0] - result.polished.gained.sum(axis=0), result.polished.objective[-1]
        )
        assert (result.polished.gained >= -1e-9).all()
        assert result.polished.gained[2].max() > 0.01
        assert (result.polished.after == MinimiserKind.SBR).all()
        assert result.converged.all()
        assert result.gained == pytest.approx(result.polished.gained.sum(axis=0))
        assert (result.polished.before == minimiser_kinds(X, A.T, C, alpha=0.1)).all()
        exact = polish(X, A.T, C, alpha=0.1, tol=0)
        assert (exact.polished.before <= result.polished.before).all()
        assert (exact.polished.after == MinimiserKind.SBR).all()
    assert polish(X[:0], A.T, C[:0], alpha=0.1).polished.gained.shape == (3, 0)


def test_polishing_leaves_what_is_stable():
    X, A, _ = draw_problem(4, m=16, n=32, n_samples=30, plain=True)
    C = sbr(X, A.T, alpha=0.2).codes
    result = polish(X, A.T, C, alpha=0.2, gram=A.T @ A, n_jobs=2)
    np.testing.assert_allclose(result.codes, C, atol=1e-10)
    assert np.abs(result.polished.gained).max() < 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_and_read_only_inputs(dtype):
    X, A, _ = draw_problem(5, m=16, n=32, n_samples=30, plain=True)
    X, A, C = X.astype(dtype), np.asfortranarray(A, dtype), np.ones((30, 32), dtype)
    X.flags.writeable = A.flags.writeable = C.flags.writeable = False
    result = polish(X, A.T, C, alpha=0.3)
    assert result.codes.dtype == dtype
    assert (result.polished.after == MinimiserKind.SBR).all()


def test_kinds_of_nothing():
    assert minimiser_kinds(np.zeros((2, 3)), np.eye(3), np.zeros((2, 3)), alpha=0.1).tolist() == [4, 4]
    assert minimiser_kinds(np.zeros((0, 3)), np.eye(3), np.zeros((0, 3)), alpha=0.1).tolist() == []


@refuses([*BAD_ARRAYS, *BAD_CODES, *BAD_LAM])
@pytest.mark.parametrize("function", [minimiser_kinds, polish])
def test_bad_arguments(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(**(good_arguments(C=np.zeros((2, 5)), alpha=0.1) | arguments))


@refuses(
    [
        ({"step": 1.1}, ValueError, "step must be at most 1, or kinds are not nested; got 1.1"),
        ({"step": 0.0}, ValueError, "step must be a finite positive number; got 0.0"),
        ({"tol": np.inf}, ValueError, "tol must be a finite non-negative number; got inf"),
    ]
)
def test_bad_numbers(arguments, error, message):
    with pytest.raises(error, match=message):
        minimiser_kinds(np.ones((1, 2)), np.eye(2), np.ones((1, 2)), alpha=0.1, **arguments)
