"""Checked signals, atoms and codes, and rows in chunks."""

import warnings

import numpy as np
import pytest
from coding.coding_references import BAD_ARRAYS, draw_problem, good_arguments, refuses
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from sparsetheory.coding.coding_problem import (
    check_codes,
    check_gram,
    check_signals,
    check_tolerance,
    one_blas_thread,
    row_chunks,
)

DTYPES = [np.float32, np.float64, np.int8, np.int64, np.uint16]


@pytest.mark.parametrize("first", DTYPES)
@pytest.mark.parametrize("second", DTYPES)
def test_single_precision_only_if_all_is_single(first, second):
    X, D = check_signals(np.ones((2, 3), first), np.ones((3, 4), second))
    expected = np.float32 if first == second == np.float32 else np.float64
    assert X.dtype == D.dtype == expected
    assert check_codes(np.ones((2, 4), first), X, D).dtype == expected
    assert check_gram(None, D).dtype == check_gram(3 * np.ones((4, 4), first), D).dtype == expected


def test_what_fits_is_not_copied_and_nothing_is_written_to(rng):
    X, D, C = rng.standard_normal((5, 3)), rng.standard_normal((3, 4)), rng.standard_normal((5, 4))
    G = D.T @ D
    for array in (X, D, C, G):
        array.flags.writeable = False
    assert check_signals(X, D)[0] is X
    assert check_signals(X, D)[1] is D
    assert check_codes(C, X, D) is C
    assert check_gram(G, D) is G


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2], np.ndarray.tolist])
def test_layouts_become_c_ordered(rng, layout):
    X, D, C = rng.standard_normal((5, 3)), rng.standard_normal((3, 4)), rng.standard_normal((5, 4))
    signals, atoms = check_signals(layout(X), layout(D))
    for got, expected in (
        (signals, X),
        (atoms, D),
        (check_codes(layout(C), X, D), C),
        (check_gram(layout(D.T @ D), D), D.T @ D),
    ):
        assert got.flags.c_contiguous
        np.testing.assert_array_equal(got, expected)


def test_there_may_be_no_signals():
    X, D = check_signals(np.ones((0, 3)), np.eye(3))
    assert X.shape == (0, 3)
    assert check_codes(np.ones((0, 3)), X, D).shape == (0, 3)
    assert list(row_chunks(0, 8)) == []


@refuses(BAD_ARRAYS)
def test_bad_signals(arguments, error, message):
    with pytest.raises(error, match=message):
        check_signals(**(good_arguments() | arguments))


def test_zero_atoms_where_they_are_allowed():
    D = np.array([[1.0, 0.0], [2.0, 0.0]])
    with pytest.raises(ValueError, match="column 1 is one"):
        check_signals(np.ones((1, 2)), D)
    assert check_signals(np.ones((1, 2)), D, allow_zero_atoms=True)[1] is D


@pytest.mark.parametrize(
    ("codes", "error", "message"),
    [
        (np.ones((2, 4)), ValueError, r"start must have one row per signal .* shape \(2, 5\); got \(2, 4\)"),
        (np.ones((3, 5)), ValueError, r"shape \(2, 5\); got \(3, 5\)"),
        (np.ones(5), ValueError, r"start must be two-dimensional; got shape \(5,\)"),
        (np.full((2, 5), -np.inf), ValueError, "start must be finite"),
        (np.ones((2, 5), bool), TypeError, "start must hold integers or floats of 32 or 64 bits; got dtype bool"),
        (np.ones((2, 5), np.float16), TypeError, "got dtype float16"),
    ],
)
def test_bad_codes(codes, error, message):
    with pytest.raises(error, match=message):
        check_codes(codes, **good_arguments(), name="start")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gram_matrix(dtype):
    D = draw_problem(0, m=200, n=50)[1].astype(dtype)
    G = check_gram(None, D)
    np.testing.assert_array_equal(G, G.T)
    # Each entry is a sum of 200 products.
    size = np.linalg.norm(D, axis=0)
    assert (np.abs(G - D.T.astype(float) @ D) <= 200 * np.finfo(dtype).eps * np.outer(size, size)).all()
    # Sums in any order pass, wrong norms do not.
    assert check_gram((D[::-1].T @ D[::-1]), D).dtype == dtype
    G[7, 7] *= 1.001
    with pytest.raises(ValueError, match="its diagonal is not the squared norms"):
        check_gram(G, D)


@pytest.mark.parametrize(
    ("gram", "error", "message"),
    [
        (np.eye(4), ValueError, r"gram must be D.T @ D, of shape \(5, 5\); got shape \(4, 4\)"),
        (np.full((5, 5), np.nan), ValueError, "gram must be finite"),
        (np.ones(5), ValueError, "gram must be two-dimensional"),
        (np.ones((5, 5), complex), TypeError, "gram must hold integers or floats"),
    ],
)
def test_bad_gram(gram, error, message):
    with pytest.raises(error, match=message):
        check_gram(gram, good_arguments()["D"])


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_products_that_overflow_are_refused():
    with pytest.raises(ValueError, match="D must have inner products within the range of float32"):
        check_gram(None, np.full((2, 2), 1e20, np.float32))


def test_tolerances():
    double, single = np.dtype(np.float64), np.dtype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [check_tolerance(tol, double) for tol in (0, 1e-15, 1)] == [0, 1e-15, 1]
        assert [check_tolerance(tol, single) for tol in (0, 1e-6, 1)] == [0, 1e-6, 1]
    with pytest.warns(RuntimeWarning, match="tol=1e-07 is below what single precision resolves; 1e-06 is used"):
        assert check_tolerance(1e-7, single) == 1e-6
    for tol in (-1e-9, np.nan, np.inf, "1e-6", True):
        with pytest.raises(ValueError, match="tol must be a finite non-negative number"):
            check_tolerance(tol, double)


@given(st.integers(0, 10**6), st.integers(1, 10**7))
def test_chunks_cover_all_rows_once(n_samples, row_size):
    chunks = list(row_chunks(n_samples, row_size))
    assert [chunk.start for chunk in chunks] == [0, *(chunk.stop for chunk in chunks)][: len(chunks)]
    assert n_samples == (chunks[-1].stop if chunks else 0)
    sizes = {chunk.stop - chunk.start for chunk in chunks[:-1]}
    assert len(sizes) <= 1
    assert all(size == 64 or size * row_size <= 2**19 for size in sizes)


def test_blas_is_limited_only_inside():
    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = threads()
    with one_blas_thread():
        assert set(threads()) == {1}
    assert threads() == before
