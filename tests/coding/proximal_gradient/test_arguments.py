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
    X, A, _ = draw_problem(7, m=16, n=64, n_samples=1000, plain=True)
    X *= rng.uniform(0.01, 2, (1000, 1))
    for penalty, accel in ((L1(0.2), True), (CEL0(0.2), False), (CEL0(0.2), True)):
        found = forward_backward(X, A.T, penalty, accelerated=accel, tol=1e-3, max_iter=20_000, keep_history=True)
        C = found.codes
        some = rng.choice(1000, 7, replace=False)
        each = forward_backward(X[some], A.T, penalty, accelerated=accel, tol=1e-3, max_iter=20_000)
        alone = each.codes
        np.testing.assert_allclose(C[some], alone, atol=1e-12)
        np.testing.assert_allclose(found.n_iter[some], each.n_iter, atol=1)
        assert found.history.objective.shape == (found.n_iter.max() + 1, 1000)
        assert found.history.objective[-1] == pytest.approx(found.objective, rel=1e-12)
        assert len(set(found.n_iter.tolist())) > 5


@pytest.mark.parametrize("n", [5, 40])
def test_dtypes_and_layouts(n):
    X, A, _ = draw_problem(1, m=10, n=n, n_samples=20, plain=True)
    found = forward_backward(X, A.T, CEL0(0.2))
    C = found.codes
    for same in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(forward_backward(same(X), same(A).T, CEL0(0.2)).codes, C)
    X.flags.writeable = A.flags.writeable = False
    warm = C.copy()
    warm.flags.writeable = False
    fewer = forward_backward(X, A.T, CEL0(0.2), init=warm)
    again = fewer.codes
    assert fewer.n_iter.max() < found.n_iter.max()
    np.testing.assert_array_equal(warm, C)
    np.testing.assert_allclose(again, C, atol=1e-4)
    single = forward_backward(X.astype(np.float32), A.astype(np.float32).T, CEL0(0.2)).codes
    assert single.dtype == np.float32
    assert again.dtype == forward_backward(X.astype(np.float32), A.T, CEL0(0.2)).codes.dtype == np.float64
    np.testing.assert_allclose(single, C, atol=1e-3)
    integers = forward_backward(np.arange(3)[None], np.eye(3, dtype=int), L1(0.5)).codes
    np.testing.assert_allclose(integers, [[0, 0.5, 1.5]], atol=1e-6)


def test_zero_signals_and_no_signals():
    A = draw_problem(0)[1]
    for accel in (False, True):
        for penalty in (L1(0.1), MCP(0.1), L1(0.0), L0(0.0)):
            found = forward_backward(np.zeros((2, A.shape[0])), A.T, penalty, accelerated=accel, keep_history=True)
            C = found.codes
            assert not C.any()
            assert found.n_iter.tolist() == [1, 1]
            assert found.objective.tolist() == [0.0, 0.0]
            found = forward_backward(np.ones((0, A.shape[0])), A.T, penalty, accelerated=accel, keep_history=True)
            C = found.codes
            assert C.shape == (0, A.shape[1])
            assert found.history.objective.shape[1] == 0
    found = forward_backward(np.ones((0, A.shape[0])), A.T, L0(0.1), stop_rule="published")
    C = found.codes
    assert C.shape == (0, A.shape[1])


def test_unconverged_codes_are_counted():
    X, A, _ = draw_problem(9, m=10, n=30, n_samples=5, plain=True)
    X[2:] = 0.0
    with pytest.warns(ConvergenceWarning, match="2 of 5 codes have not converged after max_iter=2"):
        found = forward_backward(X, A.T, L1(1e-3), max_iter=2)
    assert found.converged.tolist() == [False, False, True, True, True]
    assert found.n_iter.tolist() == [2, 2, 1, 1, 1]


def test_single_precision_tolerance_is_raised_with_a_warning():
    X, A, _ = draw_problem(1, plain=True)
    with pytest.warns(RuntimeWarning, match="tol=1e-08 is below what single precision resolves; 1e-06 is used"):
        forward_backward(X.astype(np.float32), A.astype(np.float32).T, L1(0.3), tol=1e-8, accelerated=True)


@ignore_unconverged
def test_unsafe_steps():
    X, A = np.ones((1, 2)), 2 * np.eye(2)
    cases = [(L1(1.0), 0.5), (CEL0(1.0), 0.4), (CEL0(1.0, 2.0), 0.25), (L0(1.0), 0.25), (CappedL1(1.0, 1.0), 0.25)]
    for penalty, limit in cases:
        forward_backward(X, A.T, penalty, step=0.999 * limit, max_iter=10_000)
        with pytest.raises(ValueError, match=rf"step must be below {limit:g}, .* got {1.01 * limit:g} \(check_step"):
            forward_backward(X, A.T, penalty, step=1.01 * limit)
        assert forward_backward(X, A.T, penalty, step=1.01 * limit, check_step=False, tol=1.0).step == 1.01 * limit
        with pytest.warns(RuntimeWarning, match="step must be below"):
            forward_backward(X, A.T, penalty, step=1.01 * limit, stop_rule="published", max_iter=5)
    forward_backward(X, A.T, L1(1.0), step=0.25, accelerated=True)
    with pytest.raises(ValueError, match=r"step must be at most 0.25, .* got 0.3"):
        forward_backward(X, A.T, L1(1.0), step=0.3, accelerated=True)


@refuses(
    [
        *BAD_ARRAYS,
        ({"penalty": "l1"}, TypeError, "penalty 'l1' needs alpha, its strength"),
        ({"penalty": CEL0(1.0, [1.0, 2.0])}, ValueError, "penalty must have one number per atom, 5; it has 2"),
        ({"step": 0.0}, ValueError, "step must be 'auto' or a finite positive number; got 0.0"),
        ({"step": -1.0}, ValueError, "step must be"),
        ({"step": np.nan}, ValueError, "step must be"),
        ({"step": "large"}, ValueError, "step must be .* got 'large'"),
        ({"step": True}, ValueError, "step must be .* got True"),
        ({"tol": -1.0}, ValueError, "tol must be a finite non-negative number; got -1.0"),
        ({"max_iter": 0}, ValueError, "max_iter must be an integer from 1 to .*; got 0"),
        ({"accelerated": 1}, ValueError, "accelerated must be True or False; got 1"),
        ({"check_step": "no"}, ValueError, "check_step must be True or False; got 'no'"),
        ({"stop_rule": "exact"}, ValueError, "stop_rule must be one of 'converged', 'published'; got 'exact'"),
        (
            {"stop_rule": "published", "accelerated": True},
            ValueError,
            "stop_rule='published' .* neither init nor accelerated",
        ),
        (
            {"stop_rule": "published", "init": np.zeros((2, 5))},
            ValueError,
            "stop_rule='published' .* neither init nor accelerated",
        ),
        ({"init": np.zeros((3, 5))}, ValueError, r"init must have one row per signal .* got \(3, 5\)"),
        ({"init": np.full((2, 5), np.inf)}, ValueError, "init must be finite"),
    ]
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        forward_backward(**(good_arguments(penalty=L1(0.1)) | arguments))
