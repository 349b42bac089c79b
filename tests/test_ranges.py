"""Squares that leave the range of their type are refused at the stated sizes, and nowhere else."""

import numpy as np
import pytest
from scipy import sparse

from sparsetheory.ranges import largest_entries, require_squares

DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 100, 10_000])
def test_norms_are_limited_with_room_for_sums(dtype, length):
    # A thousandth of the root of the largest number, for the norm of a vector whose entries all have this size.
    most = 1e-3 * float(np.finfo(dtype).max) ** 0.5
    entry = most / length**0.5
    assert require_squares("y", np.array([0.999 * entry], dtype), length) == pytest.approx(0.999 * most, rel=1e-6)
    with pytest.raises(ValueError, match=r"y must not hold numbers .* divide y by a constant"):
        require_squares("y", np.array([1.001 * entry], dtype), length)
    # The rows of the array are its length unless it says otherwise.
    assert require_squares("y", np.full((length, 2), 0.999 * entry, dtype)) < most
    with pytest.raises(ValueError, match=f"range of {np.dtype(dtype)}"):
        require_squares("y", np.full((length, 2), -1.001 * entry, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_squares_that_vanish(dtype):
    # Sixteen times the root of the smallest normal number: the square keeps all digits and has room for shares of it.
    least = 16 * float(np.finfo(dtype).tiny) ** 0.5
    small = np.array([[1.0, 0.0, 0.999 * least]], dtype)
    assert require_squares("X", small) == 1.0
    assert require_squares("X", np.zeros((3, 2), dtype), each_column=True) == 0.0
    assert require_squares("X", np.array([[1.0, 0.0, 1.001 * least]], dtype), each_column=True) == 1.0
    with pytest.raises(ValueError, match=r"entries of column 2 of X are at most .* multiply by a constant"):
        require_squares("X", small, each_column=True)
    with pytest.raises(ValueError, match="entries of X are at most"):
        require_squares("X", small[:, 1:])


def test_the_precision_of_the_squares_counts():
    single = np.array([1e20], np.float32)
    assert require_squares("y", single, dtype=np.float64) == pytest.approx(1e20)
    with pytest.raises(ValueError, match="range of float32"):
        require_squares("y", single)
    with pytest.raises(ValueError, match="range of float32"):
        require_squares("y", np.array([1e20]), dtype=np.float32)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csc_array, sparse.csr_array])
def test_largest_entries_of_columns(kind):
    assert largest_entries(kind(np.array([[1.0, -3.0, 0.0], [-2.0, 1.0, 0.0]]))).tolist() == [2.0, 3.0, 0.0]
    assert largest_entries(kind(np.ones((0, 3)))).tolist() == [0.0] * 3


def test_largest_entries_of_vectors_and_complex_numbers():
    assert largest_entries(np.array([1.0, -4.0])).tolist() == [4.0]
    assert largest_entries(np.array([[3.0 + 4.0j], [-1.0]])).tolist() == [5.0]
