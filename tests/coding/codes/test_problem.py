"""Checked signals, atoms and codes, and rows in chunks."""

import warnings

import numpy as np
import pytest
from coding.coding_references import BAD_ARRAYS, draw_problem, good_arguments, refuses
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.coding.codes.problem import (
    check_codes,
    check_gram,
    check_signals,
    check_tolerance,
    row_chunks,
)
from sparsetheory.constraints import JOBS

DTYPES = [np.float32, np.float64, np.int8, np.int64, np.uint16]


@pytest.mark.parametrize("first", DTYPES)
@pytest.mark.parametrize("second", DTYPES)
def test_single_precision_only_if_all_is_single(first, second):
    X, A = check_signals(np.ones((2, 3), first), np.ones((3, 4), second).T)
    expected = np.float32 if first == second == np.float32 else np.float64
    assert X.dtype == A.dtype == expected
    assert check_codes(np.ones((2, 4), first), X, A).dtype == expected
    assert check_gram(None, A).dtype == check_gram(3 * np.ones((4, 4), first), A).dtype == expected


def test_what_fits_is_not_copied_and_nothing_is_written_to(rng):
    X, A, C = rng.standard_normal((5, 3)), rng.standard_normal((3, 4)), rng.standard_normal((5, 4))
    G = A.T @ A
    for array in (X, A, C, G):
        array.flags.writeable = False
    assert check_signals(X, A.T)[0] is X
    # The matrix behind a transposed view comes back without a copy, and so does what certificates pass on.
    assert np.shares_memory(check_signals(X, A.T)[1], A)
    D = np.ascontiguousarray(A.T)
    turned = check_signals(X, D)[1]
    assert np.shares_memory(check_signals(X, turned.T)[1], turned)
    assert check_codes(C, X, A) is C
    assert check_gram(G, A) is G


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2], np.ndarray.tolist])
def test_layouts_become_c_ordered(rng, layout):
    X, A, C = rng.standard_normal((5, 3)), rng.standard_normal((3, 4)), rng.standard_normal((5, 4))
    signals, atoms = check_signals(layout(X), layout(A.T))
    for got, expected in (
        (signals, X),
        (atoms, A),
        (check_codes(layout(C), X, A), C),
        (check_gram(layout(A.T @ A), A), A.T @ A),
    ):
        assert got.flags.c_contiguous
        np.testing.assert_array_equal(got, expected)


def test_there_may_be_no_signals():
    X, A = check_signals(np.ones((0, 3)), np.eye(3))
    assert X.shape == (0, 3)
    assert check_codes(np.ones((0, 3)), X, A).shape == (0, 3)
    assert list(row_chunks(0, 8)) == []


@refuses(BAD_ARRAYS)
def test_bad_signals(arguments, error, message):
    with pytest.raises(error, match=message):
        check_signals(**(good_arguments() | arguments))


def test_the_row_of_zeros_is_named():
    with pytest.raises(ValueError, match="row 1 is one"):
        check_signals(np.ones((1, 2)), np.array([[1.0, 0.0], [2.0, 0.0]]).T)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ranges(dtype):
    X, A = np.ones((2, 4), dtype), np.ones((4, 3), dtype)
    info = np.finfo(dtype)
    large, small = float(info.max) ** 0.5, float(info.tiny) ** 0.5
    good = [(1e-4 * large * X, A), (0 * X, A), (20 * small * X, A), (X, 1e-4 * large * A), (X, 20 * small * A)]
    for signals, atoms in good:
        check_signals(signals.astype(dtype), atoms.astype(dtype).T)
    bad = [
        (large * X, A, "X must not hold numbers of which squares leave the range of float"),
        (X, -large * A, r"D\.T must not hold numbers of which squares leave the range of float"),
        (
            X,
            A * np.array([1, 0.5 * small, 1]),
            r"D\.T must not be so small that squares vanish in float.* column 1 of D\.T",
        ),
        (info.tiny * X, A, "X must not be so small that squares vanish in float"),
        (1e-4 * large * X, 1e4 * A, "X and D must have inner products whose squares are in the range of float"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for signals, atoms, message in bad:
            with pytest.raises(ValueError, match=message):
                check_signals(signals.astype(dtype), atoms.astype(dtype).T)


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
        check_codes(codes, np.ones((2, 3)), np.ones((3, 5)), name="start")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gram_matrix(dtype):
    A = draw_problem(0, m=200, n=50)[1].astype(dtype)
    G = check_gram(None, A)
    np.testing.assert_array_equal(G, G.T)
    # Each entry is a sum of 200 products.
    size = np.linalg.norm(A, axis=0)
    assert (np.abs(G - A.T.astype(float) @ A) <= 200 * np.finfo(dtype).eps * np.outer(size, size)).all()
    # Sums in any order pass, wrong norms do not.
    assert check_gram((A[::-1].T @ A[::-1]), A).dtype == dtype
    G[7, 7] *= 1.001
    with pytest.raises(ValueError, match="its diagonal is not the squared norms"):
        check_gram(G, A)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spread", [0, 6])
def test_gram_matrix_of_other_unit_atoms(rng, dtype, spread):
    A = rng.standard_normal((20, 30)) * 10.0 ** rng.uniform(-spread, spread, 30)
    old = A / np.linalg.norm(A, axis=0) if spread == 0 else A
    new = old.copy()
    # One atom of the same norm is another one.
    new[:, 17] = -old[::-1, 17]
    old, new = old.astype(dtype), new.astype(dtype)
    stale = check_gram(None, old)
    assert check_gram(stale, old) is stale
    assert check_gram((old[::-1].T @ old[::-1]), old).dtype == dtype
    with pytest.raises(ValueError, match="it belongs to other atoms than those of D"):
        check_gram(stale, new)


@pytest.mark.parametrize(
    ("gram", "error", "message"),
    [
        (np.eye(4), ValueError, r"gram must be D @ D.T, of shape \(5, 5\); got shape \(4, 4\)"),
        (np.full((5, 5), np.nan), ValueError, "gram must be finite"),
        (np.ones(5), ValueError, "gram must be two-dimensional"),
        (np.ones((5, 5), complex), TypeError, "gram must hold integers or floats"),
    ],
)
def test_bad_gram(gram, error, message):
    with pytest.raises(error, match=message):
        check_gram(gram, good_arguments()["D"].T)


@pytest.mark.parametrize("n_jobs", [0, 1.5, "2", True, [1]])
def test_bad_jobs(n_jobs):
    with pytest.raises(ValueError, match="n_jobs must be None or an integer other than 0, up to a million; got"):
        JOBS.check("n_jobs", n_jobs)
    assert [JOBS.check("n_jobs", good) for good in (None, 1, -1, np.int64(2))] == [None, 1, -1, 2]


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
