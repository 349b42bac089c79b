"""Arrays of real numbers of any type, byte order and layout."""

import numpy as np
import pytest

from sparsetheory.arrays import real_array, require_finite_entries
from sparsetheory.ranges import require_squares


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("<f4", "float32"), (">f4", "float32"), (">f8", "float64"), (">u2", "float64"), ("i1", "float64")],
)
def test_numbers_of_any_byte_order(dtype, expected):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    found = real_array("X", array)
    assert found.dtype.name == expected
    assert found.dtype.isnative
    assert found.tolist() == array.tolist()


def test_what_fits_is_not_copied(tmp_path):
    array = np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=np.float32, shape=(3, 2))
    assert np.shares_memory(real_array("X", array), array)
    assert real_array("X", [[1, 2]]).tolist() == [[1.0, 2.0]]
    assert real_array("X", 3).shape == ()


class _Sparse:
    def tocsr(self):
        raise AssertionError


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (np.ones(2, complex), TypeError, "X must hold integers or floats of 32 or 64 bits; got dtype complex128"),
        (np.ones(2, object), TypeError, "X must hold .* got dtype object"),
        (np.ones(2, np.float16), TypeError, "X must hold .* got dtype float16"),
        (np.ones(2, np.longdouble), TypeError, "X must hold .* got dtype"),
        (["a"], TypeError, "X must hold .* got dtype <U1"),
        (np.datetime64("2026-01-01"), TypeError, "X must hold .* got dtype datetime64"),
        (None, TypeError, "X must hold .* got dtype object"),
        ([[1], [1, 2]], ValueError, "X must be an array; .*inhomogeneous"),
        (_Sparse(), TypeError, "X must be a dense array; got _Sparse, of which toarray"),
    ],
)
def test_bad_arrays(given, error, message):
    with pytest.raises(error, match=message):
        real_array("X", given)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_entries_that_are_not_finite(bad):
    require_finite_entries("X", np.empty((0, 3)))
    require_finite_entries("X", np.ones(3))
    with pytest.raises(ValueError, match="X must be finite; it holds NaN or infinity"):
        require_finite_entries("X", np.array([1.0, bad]))


@pytest.mark.parametrize(("dtype", "large"), [(np.float64, 1e153), (np.float32, 1e17)])
def test_squares_out_of_range(dtype, large):
    assert require_squares("X", np.empty((0, 3), dtype), 3) == 0.0
    assert require_squares("X", np.array([[3.0, -4.0]], dtype), 4) == 8.0
    for sign in (-1, 1):
        with pytest.raises(ValueError, match=r"X must not hold numbers .* at most .* in size; got 1e\+\d+, divide X"):
            require_squares("X", np.array([0.0, sign * large], dtype), 1)
