"""Sparse points below any point, and the local minima of small noiseless problems."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.bayesian import (
    SBL,
    kron_local_minima,
    sbl_cost,
    sbl_local_minima,
    sbl_sparsify,
)
from sparsetheory.bayesian.sbl.local_minima import _independent, mode_sparsify

seeds = st.integers(0, 2**32 - 1)


def _problem(seed, is_complex):
    rng = np.random.default_rng(seed)
    m, n = int(rng.integers(1, 6)), int(rng.integers(2, 16))

    def normal(*shape):
        return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if is_complex else 0.0)

    gamma = rng.uniform(0.01, 2, n) * (rng.random(n) < 0.8)
    gamma[0] = 1.0
    return normal(m, n), normal(m), gamma, float(10 ** rng.uniform(-3, 1))


@given(seeds, st.booleans())
def test_sparsifying_never_raises_the_cost(seed, is_complex):
    A, y, gamma, s2 = _problem(seed, is_complex)
    sparse = sbl_sparsify(A, y, gamma, noise_variance=s2)
    before = sbl_cost([A], y, [gamma], noise_variance=s2)
    assert sbl_cost([A], y, [sparse], noise_variance=s2) <= before + 1e-9 * (1 + abs(before))
    assert np.count_nonzero(sparse) <= (2 if is_complex else 1) * A.shape[0]
    assert (sparse >= 0).all()


@given(seeds, st.booleans())
def test_sparsified_modes_keep_the_covariance(seed, is_complex):
    A, _, gamma, _ = _problem(seed, is_complex)
    m = A.shape[0]
    sparse = mode_sparsify(A, gamma)
    expected = (A * gamma) @ A.conj().T
    np.testing.assert_allclose((A * sparse) @ A.conj().T, expected, atol=1e-9 * np.abs(expected).max())
    assert np.count_nonzero(sparse) <= (m * m if is_complex else m * (m + 1) // 2)


def _naive_minima(A, y):
    m, n = A.shape
    found = []
    for S in combinations(range(n), m):
        inverse = np.linalg.inv(A[:, S])
        x = inverse @ y
        others = [inverse @ A[:, j] / x for j in range(n) if j not in S]
        if all(w @ w > w.sum() ** 2 for w in others):
            found.append(S)
    return found


def test_minima_equal_the_definition_in_any_chunks(rng):
    A, y = rng.standard_normal((3, 8)), rng.standard_normal(3)
    expected = _naive_minima(A, y)
    assert expected
    for chunk in (1, 7, 20_000):
        assert sbl_local_minima(A, y, chunk_size=chunk) == expected


def test_minima_attract_and_others_do_not(rng):
    """Start next to every vertex: the descent comes back to those that are counted, and leaves the others."""
    A, y = rng.standard_normal((2, 5)), rng.standard_normal(2)
    minima = sbl_local_minima(A, y)
    for S in combinations(range(5), 2):
        x = np.linalg.solve(A[:, S], y)
        init = np.full(5, 1e-4)
        init[list(S)] = 2 * x**2 / 2
        model = SBL("mm", noise_variance=1e-9, relative_threshold=1e-9, max_iter=3000, tol=1e-10, init=init).fit(A, y)
        assert (tuple(model.support_) == S) is (S in minima)


def test_structured_minima_are_products_and_minima_without_structure(rng):
    As, ys = (
        [rng.standard_normal((2, 4)), rng.standard_normal((3, 4))],
        [rng.standard_normal(2), rng.standard_normal(3)],
    )
    structured = kron_local_minima(As, ys)
    first, second = sbl_local_minima(As[0], ys[0]), sbl_local_minima(As[1], ys[1])
    assert structured == [(a, b) for a in first for b in second]
    flat = set(sbl_local_minima(np.kron(*As), np.kron(*ys)))
    assert len(flat) > len(structured)
    for a, b in structured:
        assert tuple(4 * i + j for i in a for j in b) in flat


def test_degenerate_dictionaries():
    assert sbl_local_minima(np.ones((3, 2)), np.ones(3)) == []
    assert sbl_local_minima(np.ones((2, 3)), np.array([1.0, 2.0])) == []
    # A zero coefficient: the support has fewer than M columns, which is left out.
    assert sbl_local_minima(np.eye(2), np.array([1.0, 0.0])) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sbl_local_minima(np.ones((1, 3)), [1.0]), "at least two rows"),
        (lambda: sbl_local_minima(1j * np.ones((2, 3)), [1.0, 2.0]), "must be real"),
        (lambda: sbl_local_minima(np.ones((2, 3)), np.ones((2, 2))), "single vector"),
        (lambda: sbl_local_minima(np.ones((10, 40)), np.ones(10)), "subsets of 10 columns; at most 200000"),
        (lambda: sbl_local_minima(np.ones((2, 3)), np.ones(2), chunk_size=0), "chunk_size must be"),
        (lambda: kron_local_minima([np.ones((2, 3))], []), "one entry per mode; got 1 and 0"),
        (lambda: sbl_sparsify(np.ones((2, 3)), np.ones(3), np.ones(3), noise_variance=1.0), "y must have"),
        (lambda: sbl_sparsify(np.ones((2, 3)), np.ones((2, 2)), np.ones(3), noise_variance=1.0), "single vector"),
        (
            lambda: sbl_sparsify(np.ones((2, 3)), np.ones(2), -np.ones(3), noise_variance=1.0),
            r"variances\[0\] must not be negative",
        ),
        (lambda: sbl_sparsify(np.ones((2, 3)), np.ones(2), np.ones(3), noise_variance=0.0), "noise_variance must be"),
        (lambda: mode_sparsify(np.ones((2, 3)), np.ones(2)), r"variances\[0\] must be a real vector of shape \(3,\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("cost", "left"), [([1.0, 3.0], [0]), ([3.0, 1.0], [1]), ([1.0, 1.0], [0, 1])])
def test_dependent_columns_are_left_in_the_direction_that_costs_nothing(cost, left):
    """Two copies of a column: the dearer one goes, whichever sign the singular vector has."""
    for sign in (1.0, -1.0):
        equations = sign * np.array([[1.0, 1.0], [2.0, 2.0], [0.5, 0.5]])
        basis = _independent(equations, np.array([0.5, 0.25]), np.array(cost))
        assert basis.size == 1
        assert basis[0] in left
