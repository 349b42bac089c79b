"""Blocked Walsh-Hadamard transforms against the matrix."""

import numpy as np
import pytest
from scipy.linalg import hadamard

from sparsetheory.numba_kernels.projections.transforms import gather_and_transform, scatter, transform, warmup

TOLS = {np.float32: 1e-5, np.float64: 1e-14}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("exponent", range(12))
def test_transform_is_the_hadamard_matrix(rng, dtype, exponent):
    size = 2**exponent
    X, out = rng.standard_normal((3, size)).astype(dtype), np.full((3, size), np.nan, dtype)
    transform(X, out)
    expected = X.astype(float) @ hadamard(size)
    np.testing.assert_allclose(out, expected, atol=TOLS[dtype] * size)
    transform(X, X)
    np.testing.assert_array_equal(X, out)


@pytest.mark.parametrize("exponent", [12, 13, 14, 15, 16, 17, 18])
def test_long_transforms_agree_with_the_tensor_product_of_short_ones(rng, exponent):
    # Parts are joined in several rounds, whose first radix depends on the exponent.
    low, high = 2**6, 2 ** (exponent - 6)
    X, out = rng.integers(-9, 9, (2, low * high)).astype(np.float64), np.empty((2, low * high))
    transform(X, out)
    expected = hadamard(high) @ X.reshape(2, high, low) @ hadamard(low)
    np.testing.assert_array_equal(out, expected.reshape(2, -1))  # integers, so that nothing is rounded


@pytest.mark.parametrize("size", [1, 3, 16, 255, 256, 257, 700, 1023])
def test_zeros_fill_up_short_rows(rng, size):
    X, out = rng.standard_normal((2, size)), np.full((2, 1024), np.nan)
    transform(X, out)
    np.testing.assert_allclose(out, X @ hadamard(1024)[:size], atol=1e-11)


@pytest.mark.parametrize("integer", [np.uint16, np.uint32])
@pytest.mark.parametrize(("size", "period"), [(1, 1), (8, 4), (256, 256), (4096, 32)])
def test_gathering_and_scattering_around_a_transform(rng, integer, size, period):
    X, factors = rng.standard_normal((2, period)), rng.standard_normal(size)
    index = rng.integers(0, period, size).astype(integer)
    out = np.empty((2, size))
    gather_and_transform(X, index, factors, out)
    np.testing.assert_allclose(out, (factors * X[:, index]) @ hadamard(size), atol=1e-11 * size)
    sums, expected = np.full((2, period), np.nan), np.zeros((2, period))
    scatter(out, index, factors, sums)
    np.add.at(expected, (slice(None), index), factors * out)
    np.testing.assert_allclose(sums, expected, atol=1e-11 * size)


def test_no_numbers_make_no_rows():
    transform(np.empty((0, 4)), np.empty((0, 4)))


def test_warmup_compiles():
    warmup()
