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
from sparsetheory.coding.l0.local_minima import Stability, polish, stability_levels
from sparsetheory.coding.l0.single_best_replacement import sbr
from sparsetheory.coding.proximal_gradient.forward_backward import forward_backward
from sparsetheory.penalties import CEL0, L0, L1


@given(seeds)
def test_levels_are_those_of_the_list(seed):
    X, D, alpha = draw_problem(seed, m=(2, 8), n=(1, 8), n_samples=1)
    assume(is_well_posed(D))
    minima, tau = enumerate_l0_minima(X[0], D, alpha), 0.99 / np.linalg.norm(D, 2) ** 2
    rows = np.tile(X, (len(minima.local), 1))
    levels = stability_levels(rows, D, minima.local, alpha, tol=0)
    kinds = [minima.local, minima.iht_fixed(tau), minima.cel0, minima.sbr]
    for level, kind in enumerate(kinds, start=1):
        expected = {tuple(c != 0) for c in kind}
        assert {tuple(c != 0) for c in minima.local[levels >= level]} == expected
    assert (stability_levels(rows, D, minima.local + 1e-3, alpha, tol=1e-12) == Stability.NONE).all()


def test_solvers_reach_their_levels():
    X, D, _ = draw_problem(2, m=16, n=32, n_samples=60, plain=True)
    alpha = 0.1
    iht, info = forward_backward(X, D, L0(alpha), tol=1e-8, max_iter=100_000)
    lasso, _ = forward_backward(X, D, L1(alpha), accel=True, tol=1e-8, max_iter=100_000)
    descended = cd_l0(X, D, alpha, tol=1e-8, max_iter=10**6)
    assert (stability_levels(X, D, lasso, alpha) == Stability.NONE).all()
    assert (stability_levels(X, D, iht, alpha) >= Stability.IHT).all()
    assert (stability_levels(X, D, iht, alpha) < Stability.SBR).mean() > 0.5
    assert (stability_levels(X, D, descended, alpha) >= Stability.CEL0).all()
    assert (stability_levels(X, D, sbr(X, D, alpha), alpha) == Stability.SBR).all()
    # A smaller step accepts more.
    careless, info = forward_backward(X, D, L0(alpha), step=0.1 * info.step, tol=1e-8, max_iter=100_000)
    strict, loose = (stability_levels(X, D, careless, alpha, step=step) for step in (None, info.step))
    assert (loose >= Stability.IHT).all()
    assert (strict <= loose).all()
    assert (strict < Stability.IHT).any()


def test_polishing_gains_rung_by_rung():
    X, D, _ = draw_problem(3, m=16, n=32, n_samples=80, plain=True)
    for C in (
        forward_backward(X, D, L1(0.1), accel=True)[0],
        forward_backward(X, D, CEL0(0.1), tol=1e-5)[0],
        np.zeros((80, 32)),
        np.ones((80, 32)),
    ):
        result = polish(X, D, C, 0.1)
        for codes, values in ((C, result.objective[0]), (result.codes, result.objective[-1])):
            assert values == pytest.approx([l0_value(x, D, c, 0.1) for x, c in zip(X, codes, strict=True)])
        np.testing.assert_allclose(result.objective[0] - result.gained.sum(axis=0), result.objective[-1])
        assert (result.gained >= -1e-9).all()
        assert result.gained[2].max() > 0.01
        assert (result.after == Stability.SBR).all()
        assert (result.before == stability_levels(X, D, C, 0.1)).all()
        exact = polish(X, D, C, 0.1, tol=0)
        assert (exact.before <= result.before).all()
        assert (exact.after == Stability.SBR).all()
    assert polish(X[:0], D, C[:0], 0.1).gained.shape == (3, 0)


def test_polishing_leaves_what_is_stable():
    X, D, _ = draw_problem(4, m=16, n=32, n_samples=30, plain=True)
    C = sbr(X, D, 0.2)
    result = polish(X, D, C, 0.2, gram=D.T @ D, n_jobs=2)
    np.testing.assert_allclose(result.codes, C, atol=1e-10)
    assert np.abs(result.gained).max() < 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_and_read_only_inputs(dtype):
    X, D, _ = draw_problem(5, m=16, n=32, n_samples=30, plain=True)
    X, D, C = X.astype(dtype), np.asfortranarray(D, dtype), np.ones((30, 32), dtype)
    X.flags.writeable = D.flags.writeable = C.flags.writeable = False
    result = polish(X, D, C, 0.3)
    assert result.codes.dtype == dtype
    assert (result.after == Stability.SBR).all()


def test_levels_of_nothing():
    assert stability_levels(np.zeros((2, 3)), np.eye(3), np.zeros((2, 3)), 0.1).tolist() == [4, 4]
    assert stability_levels(np.zeros((0, 3)), np.eye(3), np.zeros((0, 3)), 0.1).tolist() == []


@refuses([*BAD_ARRAYS, *BAD_CODES, *BAD_LAM])
@pytest.mark.parametrize("function", [stability_levels, polish])
def test_bad_arguments(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(**(good_arguments(C=np.zeros((2, 5)), alpha=0.1) | arguments))


@refuses(
    [
        ({"step": 1.1}, ValueError, "step must be at most 1, or levels are not nested; got 1.1"),
        ({"step": 0.0}, ValueError, "step must be a finite positive number; got 0.0"),
        ({"tol": np.inf}, ValueError, "tol must be a finite non-negative number; got inf"),
    ]
)
def test_bad_numbers(arguments, error, message):
    with pytest.raises(error, match=message):
        stability_levels(np.ones((1, 2)), np.eye(2), np.ones((1, 2)), 0.1, **arguments)
