"""What forward-backward splitting accepts, announces and refuses."""

import numpy as np
import pytest
from coding.coding_references import BAD_ARRAYS, draw_problem, good_arguments, refuses
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding.proximal_gradient.forward_backward import forward_backward
from sparsetheory.penalties import CEL0, L0, L1, MCP, CappedL1

ignore_unconverged = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_rows_do_not_depend_on_each_other(rng):
    # More rows than one chunk, and codes that leave the batch at different steps.
    X, D, _ = draw_problem(7, m=16, n=64, n_samples=1000, plain=True)
    X *= rng.uniform(0.01, 2, (1000, 1))
    for penalty, accel in ((L1(0.2), True), (CEL0(0.2), False), (CEL0(0.2), True)):
        C, info = forward_backward(X, D, penalty, accel=accel, tol=1e-3, max_iter=20_000, return_history=True)
        some = rng.choice(1000, 7, replace=False)
        alone, each = forward_backward(X[some], D, penalty, accel=accel, tol=1e-3, max_iter=20_000)
        np.testing.assert_allclose(C[some], alone, atol=1e-12)
        np.testing.assert_allclose(info.n_iter[some], each.n_iter, atol=1)
        assert info.history.objective.shape == (info.n_iter.max() + 1, 1000)
        assert info.history.objective[-1] == pytest.approx(info.objective, rel=1e-12)
        assert len(set(info.n_iter.tolist())) > 5


@pytest.mark.parametrize("n", [5, 40])
def test_dtypes_and_layouts(n):
    X, D, _ = draw_problem(1, m=10, n=n, n_samples=20, plain=True)
    C, info = forward_backward(X, D, CEL0(0.2))
    for same in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(forward_backward(same(X), same(D), CEL0(0.2))[0], C)
    X.flags.writeable = D.flags.writeable = False
    warm = C.copy()
    warm.flags.writeable = False
    again, fewer = forward_backward(X, D, CEL0(0.2), warm=warm)
    assert fewer.n_iter.max() < info.n_iter.max()
    np.testing.assert_array_equal(warm, C)
    np.testing.assert_allclose(again, C, atol=1e-4)
    single, _ = forward_backward(X.astype(np.float32), D.astype(np.float32), CEL0(0.2))
    assert single.dtype == np.float32
    assert again.dtype == forward_backward(X.astype(np.float32), D, CEL0(0.2))[0].dtype == np.float64
    np.testing.assert_allclose(single, C, atol=1e-3)
    integers = forward_backward(np.arange(3)[None], np.eye(3, dtype=int), L1(0.5))[0]
    np.testing.assert_allclose(integers, [[0, 0.5, 1.5]], atol=1e-6)


def test_zero_signals_and_no_signals():
    D = draw_problem(0)[1]
    for accel in (False, True):
        for penalty in (L1(0.1), MCP(0.1), L1(0.0), L0(0.0)):
            C, info = forward_backward(np.zeros((2, D.shape[0])), D, penalty, accel=accel, return_history=True)
            assert not C.any()
            assert info.n_iter.tolist() == [1, 1]
            assert info.objective.tolist() == [0.0, 0.0]
            C, info = forward_backward(np.ones((0, D.shape[0])), D, penalty, accel=accel, return_history=True)
            assert C.shape == (0, D.shape[1])
            assert info.history.objective.shape[1] == 0
    C, info = forward_backward(np.ones((0, D.shape[0])), D, L0(0.1), inner="paper")
    assert C.shape == (0, D.shape[1])


def test_unconverged_codes_are_counted():
    X, D, _ = draw_problem(9, m=10, n=30, n_samples=5, plain=True)
    X[2:] = 0.0
    with pytest.warns(ConvergenceWarning, match="2 of 5 codes have not converged after max_iter=2"):
        _, info = forward_backward(X, D, L1(1e-3), max_iter=2)
    assert info.converged.tolist() == [False, False, True, True, True]
    assert info.n_iter.tolist() == [2, 2, 1, 1, 1]


def test_single_precision_tolerance_is_raised_with_a_warning():
    X, D, _ = draw_problem(1, plain=True)
    with pytest.warns(RuntimeWarning, match="tol=1e-08 is below what single precision resolves; 1e-06 is used"):
        forward_backward(X.astype(np.float32), D.astype(np.float32), L1(0.3), tol=1e-8, accel=True)


@ignore_unconverged
def test_unsafe_steps():
    X, D = np.ones((1, 2)), 2 * np.eye(2)
    cases = [(L1(1.0), 0.5), (CEL0(1.0), 0.4), (CEL0(1.0, 2.0), 0.25), (L0(1.0), 0.25), (CappedL1(1.0, 1.0), 0.25)]
    for penalty, limit in cases:
        forward_backward(X, D, penalty, step=0.999 * limit, max_iter=10_000)
        with pytest.raises(ValueError, match=rf"step must be below {limit:g}, .* got {1.01 * limit:g} \(check_step"):
            forward_backward(X, D, penalty, step=1.01 * limit)
        assert forward_backward(X, D, penalty, step=1.01 * limit, check_step=False, tol=1.0)[1].step == 1.01 * limit
        with pytest.warns(RuntimeWarning, match="step must be below"):
            forward_backward(X, D, penalty, step=1.01 * limit, inner="paper", max_iter=5)
    forward_backward(X, D, L1(1.0), step=0.25, accel=True)
    with pytest.raises(ValueError, match=r"step must be at most 0.25, .* got 0.3"):
        forward_backward(X, D, L1(1.0), step=0.3, accel=True)


@refuses(
    [
        *BAD_ARRAYS,
        ({"penalty": "l1"}, TypeError, "penalty must be a Penalty; got 'l1'"),
        ({"penalty": CEL0(1.0, [1.0, 2.0])}, ValueError, "penalty must have one number per atom, 5; it has 2"),
        ({"step": 0.0}, ValueError, "step must be 'auto' or a finite positive number; got 0.0"),
        ({"step": -1.0}, ValueError, "step must be"),
        ({"step": np.nan}, ValueError, "step must be"),
        ({"step": "large"}, ValueError, "step must be .* got 'large'"),
        ({"step": True}, ValueError, "step must be .* got True"),
        ({"tol": -1.0}, ValueError, "tol must be a finite non-negative number; got -1.0"),
        ({"max_iter": 0}, ValueError, "max_iter must be an integer from 1 to .*; got 0"),
        ({"inner": "exact"}, ValueError, "inner must be 'converged' or 'paper'; got 'exact'"),
        ({"inner": "paper", "accel": True}, ValueError, "inner='paper' .* neither warm nor accel"),
        ({"inner": "paper", "warm": np.zeros((2, 5))}, ValueError, "inner='paper' .* neither warm nor accel"),
        ({"warm": np.zeros((3, 5))}, ValueError, r"warm must have one row per signal .* got \(3, 5\)"),
        ({"warm": np.full((2, 5), np.inf)}, ValueError, "warm must be finite"),
    ]
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        forward_backward(**(good_arguments(penalty=L1(0.1)) | arguments))
