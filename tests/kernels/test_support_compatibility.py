"""Signed sums of rows against all sign vectors."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.numba_kernels.support_compatibility import largest_signed_norm, warmup


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.integers(0, 8))
def test_against_all_signs(seed, k, p, decades):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((k, p)) * 10.0 ** rng.uniform(-decades, decades, (k, 1))
    signs = np.array(list(product([-1.0, 1.0], repeat=k)))
    expected = np.linalg.norm(signs @ rows, axis=1).max()
    # Every step adds one rounding of the largest row.
    assert largest_signed_norm(rows) == pytest.approx(expected, rel=2**k * k * np.finfo(float).eps)


def test_signs_matter():
    rows = np.array([[1.0, 0.0], [-1.0, 1.0], [0.0, 3.0]])
    # Signs (+, -, -) give (2, -4); all of one sign would give (0, 4).
    assert largest_signed_norm(rows) == pytest.approx(np.sqrt(20.0))


def test_aligned_rows_add_up():
    assert largest_signed_norm(np.array([[3.0], [-4.0], [5.0]])) == pytest.approx(12.0)
    assert largest_signed_norm(np.diag([3.0, 4.0])) == pytest.approx(5.0)


def test_one_row_and_none():
    assert largest_signed_norm(np.array([[-3.0, 4.0]])) == pytest.approx(5.0)
    assert largest_signed_norm(np.empty((0, 0))) == 0.0


def test_no_drift_over_many_steps(rng):
    # Fourteen rows are the largest case in use: 8192 steps.
    rows = rng.standard_normal((14, 14))
    signs = np.array(list(product([-1.0, 1.0], repeat=13)))
    expected = np.linalg.norm(np.hstack([signs, np.ones((2**13, 1))]) @ rows, axis=1).max()
    assert largest_signed_norm(rows) == pytest.approx(expected, rel=1e-12)


def test_input_is_not_changed(rng):
    rows = rng.standard_normal((4, 4))
    before = rows.copy()
    largest_signed_norm(rows)
    np.testing.assert_array_equal(rows, before)


def test_warmup_compiles():
    warmup()
    assert len(largest_signed_norm.signatures) == 1
