"""Orthonormal bases that grow, against least squares and plain stacking."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.regression.orthonormal import (
    GrowingColumns,
    extend_basis,
    new_directions,
    orthonormal_basis,
    outside,
)


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(0, 3))
def test_basis_spans_what_it_kept(seed, m, copies):
    rng = np.random.default_rng(seed)
    XT = rng.standard_normal((15, m)) * 10.0 ** rng.uniform(-12, 12, m)
    XT = np.hstack([XT, XT[:, rng.integers(m, size=copies)] * 3.0])
    Q, kept = orthonormal_basis(XT)
    assert kept.size == m
    assert np.all(np.diff(kept) > 0)
    np.testing.assert_allclose(Q.T @ Q, np.eye(m), atol=1e-13)
    left = XT - Q @ (Q.T @ XT)
    assert np.all(np.linalg.norm(left, axis=0) <= 1e-13 * np.linalg.norm(XT, axis=0))


@pytest.mark.parametrize(("gap", "rank"), [(1e-9, 2), (1e-10, 2), (1e-12, 1), (0.0, 1)])
def test_tolerance_of_a_basis(rng, gap, rank):
    x, e = rng.standard_normal((2, 30))
    XT = np.column_stack([x, x + gap * e])
    assert orthonormal_basis(XT)[0].shape == (30, rank)
    assert orthonormal_basis(XT, rtol=1e-8)[0].shape == (30, 1)


def test_basis_of_nothing():
    assert orthonormal_basis(np.zeros((4, 2)))[0].shape == (4, 0)
    assert orthonormal_basis(np.zeros((4, 0)))[1].size == 0
    assert orthonormal_basis(np.eye(3)[:, [0, 1, 2, 0]])[0].shape == (3, 3)


@pytest.mark.parametrize("gap", [1.0, 1e-4, 1e-9])
def test_extension_stays_orthogonal_to_what_was_there(rng, gap):
    Q = np.linalg.qr(rng.standard_normal((40, 3)))[0]
    near = Q @ rng.standard_normal((3, 4)) + gap * rng.standard_normal((40, 4))
    inside = Q @ rng.standard_normal((3, 2))
    extended, kept = extend_basis(Q, np.hstack([inside, near]), 1e-11)
    assert kept.tolist() == [2, 3, 4, 5]
    np.testing.assert_allclose(extended.T @ extended, np.eye(7), atol=1e-14)
    np.testing.assert_allclose(extended @ (extended.T @ Q), Q, atol=1e-14)


@pytest.mark.parametrize("gap", [1.0, 1e-4, 1e-9])
def test_new_directions_are_orthogonal_to_the_old_ones_to_working_precision(rng, gap):
    Q = np.linalg.qr(rng.standard_normal((40, 3)))[0]
    near = Q @ rng.standard_normal((3, 4)) + gap * rng.standard_normal((40, 4))
    unit = near / np.linalg.norm(near, axis=0)
    directions, kept = new_directions(Q, unit, 1e-11)
    assert sorted(kept.tolist()) == [0, 1, 2, 3]
    np.testing.assert_allclose(directions.T @ directions, np.eye(4), atol=1e-14)
    assert np.abs(Q.T @ directions).max() < 1e-14
    left = outside(np.hstack([Q, directions]), unit)
    assert np.linalg.norm(left, axis=0).max() < 1e-13


def test_growing_columns_are_what_was_appended(rng):
    parts = [rng.standard_normal((7, count)) for count in (2, 0, 30, 1)]
    matrix = GrowingColumns(parts[0])
    for part in parts[1:]:
        matrix.append(part)
    matrix.append(parts[0][:, 1])
    expected = np.hstack([*parts, parts[0][:, [1]]])
    assert matrix.size == 34
    np.testing.assert_array_equal(matrix.filled, expected)
    matrix.keep(np.array([5, 0, 33]))
    matrix.append(parts[3])
    np.testing.assert_array_equal(matrix.filled, np.hstack([expected[:, [5, 0, 33]], parts[3]]))
