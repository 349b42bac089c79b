"""Least squares on supports against one solve per signal."""

import numpy as np
import pytest
from coding.coding_references import BAD_ARRAYS, BAD_CODES, draw_problem, good_arguments, least_squares, refuses, seeds
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.coding.l0.debias import debias
from sparsetheory.coding.proximal_gradient.forward_backward import forward_backward
from sparsetheory.penalties import L1


@given(seeds, st.floats(0, 1), st.booleans())
def test_every_signal_by_itself(seed, fill, dependent):
    X, A, _ = draw_problem(seed, m=(1, 9), n=(1, 9), n_samples=20)
    rng, half = np.random.default_rng(seed), A.shape[1] // 2
    if dependent:
        A[:, half : 2 * half] = -2 * A[:, :half]
    C = rng.standard_normal((20, A.shape[1])) * (rng.random((20, A.shape[1])) < fill)
    for x, c, fitted in zip(X, C, debias(X, A.T, C), strict=True):
        expected = least_squares(x, A, np.flatnonzero(c))
        # Solutions of well-conditioned and of exactly dependent columns; the draws hold no others.
        np.testing.assert_allclose(fitted, expected, atol=1e-8 * (1 + np.abs(expected).max()))


def test_shared_supports_and_many_rows():
    X, A, _ = draw_problem(1, m=12, n=30, n_samples=900, plain=True)
    C = np.zeros((900, 30))
    C[:600, [2, 5, 7]] = 1.0
    C[600:, 4] = -1.0
    C[700] = 0.0
    fitted = debias(X, A.T, C)
    np.testing.assert_allclose(fitted[:600, [2, 5, 7]], np.linalg.lstsq(A[:, [2, 5, 7]], X[:600].T)[0].T, atol=1e-12)
    np.testing.assert_allclose(fitted[701:, 4], X[701:] @ A[:, 4], atol=1e-12)
    assert not fitted[700].any()
    assert np.count_nonzero(fitted) == 600 * 3 + 299


def test_shrinkage_is_removed():
    X, A, _ = draw_problem(2, m=20, n=40, n_samples=50, plain=True)
    C = forward_backward(X, A.T, L1(0.2), accelerated=True).codes
    fitted = debias(X, A.T, C)
    before, after = (np.sum((X - codes @ A.T) ** 2, axis=1) for codes in (C, fitted))
    assert (after <= before).all()
    assert after.mean() < 0.7 * before.mean()
    assert ((fitted != 0) == (C != 0)).all()
    np.testing.assert_allclose(debias(X, A.T, fitted), fitted, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_and_layouts(dtype):
    X, A, _ = draw_problem(3, m=10, n=20, n_samples=6, plain=True)
    C = (np.random.default_rng(3).random((6, 20)) < 0.2).astype(dtype)
    X, A = X.astype(dtype), A.astype(dtype)
    fitted = debias(X, A.T, C)
    assert fitted.dtype == dtype
    double = debias(X.astype(float), A.astype(float).T, C)
    np.testing.assert_array_equal(fitted, double.astype(dtype))
    X.flags.writeable = A.flags.writeable = C.flags.writeable = False
    np.testing.assert_array_equal(debias(np.asfortranarray(X), np.asfortranarray(A).T, np.asfortranarray(C)), fitted)
    assert debias(X[:0], A.T, C[:0]).shape == (0, 20)


@refuses([*BAD_ARRAYS, *BAD_CODES])
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        debias(**(good_arguments(C=np.zeros((2, 5))) | arguments))
