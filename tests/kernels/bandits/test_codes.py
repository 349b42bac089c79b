"""Values of polynomials are those of Horner's rule, in the smallest integers that hold them."""

import numpy as np
import pytest

from sparsetheory.numba_kernels.bandits.codes import agreements, polynomial_values, warmup


def _horner(prime, n, n_points):
    """Evaluate the polynomial whose coefficients are the digits of its number, from the leading one on."""
    values = np.zeros((n, n_points), dtype=np.int64)
    for a in range(n):
        digits, rest = [], a
        while rest:
            digits.append(rest % prime)
            rest //= prime
        for digit in reversed(digits):
            values[a] = (values[a] * np.arange(n_points) + digit) % prime
    return values


@pytest.mark.parametrize(
    ("prime", "n", "n_points", "dtype"),
    [
        (2, 4, 2, np.uint8),
        (2, 9, 2, np.uint8),  # more digits than points: rows repeat
        (7, 3, 5, np.uint8),  # fewer rows than constants
        (251, 700, 251, np.uint8),
        (257, 600, 20, np.uint16),
        (65_521, 65_600, 3, np.uint16),
    ],
)
def test_values_are_those_of_horners_rule(prime, n, n_points, dtype):
    values = np.full((n, n_points), 1, dtype=dtype)
    polynomial_values(prime, np.full((2, n_points), -1, dtype=np.int64), values)
    np.testing.assert_array_equal(values, _horner(prime, n, n_points))


def test_agreements_are_counted():
    values = np.random.default_rng(0).integers(3, size=(50, 7)).astype(np.uint8)
    counts = np.full(50, -1, dtype=np.int64)
    agreements(values, values[4], counts)
    np.testing.assert_array_equal(counts, (values == values[4]).sum(axis=1))


def test_warmup_compiles():
    warmup()
