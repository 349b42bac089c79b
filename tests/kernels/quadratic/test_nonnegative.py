"""Weights that are not negative against all supports, and the factor that follows columns that come and go."""

from itertools import combinations

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.numba_kernels.quadratic.nonnegative import exchange_columns, fit_grams, fit_misses, reserve
from sparsetheory.numba_kernels.quadratic.updated_cholesky import append, remove, solve

seeds = st.integers(0, 10**6)
sums = pytest.mark.parametrize("sum_to_one", [False, True])


@numba.njit
def _without(matrix, left_out, right):
    """Factorise, take a row out, and solve."""
    n = right.size
    factor = np.zeros((n, n))
    for i in range(n):
        factor[i, : i + 1] = matrix[i, : i + 1]
        append(factor, i, 1e-15)
    remove(factor, n, left_out)
    kept = np.delete(right, left_out)
    solve(factor, n - 1, kept)
    return factor, kept


@numba.njit
def _appends(factor, size, least):
    return append(factor, size, least)


@given(seed=seeds, n=st.integers(2, 9))
def test_a_factor_without_a_row_is_that_of_what_is_left(seed, n):
    rng = np.random.default_rng(seed)
    A, right, out = rng.standard_normal((n + 5, n)), rng.standard_normal(n), int(rng.integers(n))
    matrix = A.T @ A
    factor, solution = _without(matrix, out, right)
    rest = np.delete(np.delete(matrix, out, 0), out, 1)
    np.testing.assert_allclose(np.tril(factor[: n - 1, : n - 1]), np.linalg.cholesky(rest), atol=1e-8)
    np.testing.assert_allclose(rest @ solution, np.delete(right, out), atol=1e-7)


def test_a_row_that_depends_on_the_others_is_told():
    assert not _appends(np.array([[2.0, 0.0], [2.0, 1.0]]), 1, 1e-12)
    assert _appends(np.array([[2.0, 0.0], [2.0, 1.1]]), 1, 1e-12)


def _value(G, b, x):
    return x @ G @ x / 2 - b @ x


def _least_on(G, b, support, sum_to_one):
    """Return the least objective over weights on a support that are not negative, from all supports inside."""
    least = np.inf if sum_to_one else 0.0
    for size in range(1, len(support) + 1):
        for inside in map(list, combinations(support, size)):
            block, right = G[np.ix_(inside, inside)], b[inside]
            if sum_to_one:
                edge = np.ones((size, 1))
                block = np.block([[block, edge], [edge.T, np.zeros((1, 1))]])
                right = np.append(right, 1.0)
            if np.linalg.cond(block) > 1e9:
                continue
            x = np.zeros(b.size)
            x[inside] = np.linalg.solve(block, right)[:size]
            if (x >= 0).all():
                least = min(least, _value(G, b, x))
    return least


def _problem(seed, n, kind):
    rng = np.random.default_rng(seed)
    A, y = rng.standard_normal((int(rng.integers(1, 7)), n)), rng.standard_normal(8)
    if kind == "twice":
        A[:, n // 2] = A[:, 0]
    elif kind == "zeros":
        A[:, n // 2] = 0.0
    elif kind == "exact":
        y[: len(A)] = A @ rng.dirichlet(np.full(n, 0.5))
    return A.T @ A, A.T @ y[: len(A)]


def _fit(G, b, n_nonzero, sum_to_one):
    minimum, few = np.empty((2, 1, b.size))
    room = reserve(b.size, n_nonzero)
    assert fit_grams(G[None], b[None], n_nonzero, sum_to_one, minimum, few, room) == 0
    swapped = few.copy()
    assert exchange_columns(G[None], b[None], swapped, n_nonzero, sum_to_one, room) == 0
    return minimum[0], few[0], swapped[0]


@sums
@pytest.mark.parametrize("kind", ["general", "twice", "zeros", "exact"])
@given(seed=seeds, n=st.integers(1, 5))
def test_minima_are_those_of_the_best_support(seed, n, kind, sum_to_one):
    G, b = _problem(seed, n, kind)
    x = _fit(G, b, n, sum_to_one)[0]
    assert (x >= 0).all()
    assert not sum_to_one or abs(x.sum() - 1) < 1e-12
    assert abs(_value(G, b, x) - _least_on(G, b, range(n), sum_to_one)) < 1e-7


@sums
@given(seed=seeds, n_nonzero=st.integers(1, 3))
def test_few_are_the_best_on_their_support_and_no_exchange_lowers_them_further(seed, n_nonzero, sum_to_one):
    n = 6
    G, b = _problem(seed, n, "general")
    _, few, swapped = _fit(G, b, n_nonzero, sum_to_one)
    for x in (few, swapped):
        support = np.flatnonzero(x)
        assert (x >= 0).all()
        assert support.size <= n_nonzero
        assert abs(_value(G, b, x) - _least_on(G, b, support, sum_to_one)) < 1e-7
    assert _value(G, b, swapped) <= _value(G, b, few) + 1e-12
    support = np.flatnonzero(swapped)
    spare = support.size < n_nonzero
    for others in [support] if spare else [np.delete(support, slot) for slot in range(support.size)]:
        for j in np.setdiff1d(np.arange(n), support):
            least = _least_on(G, b, [*others, j], sum_to_one)
            assert least >= _value(G, b, swapped) - 1e-7


@given(seed=seeds, exchanges=st.booleans())
def test_misses_are_fitted_as_from_their_gram_matrix(seed, exchanges):
    rng = np.random.default_rng(seed)
    misses = rng.standard_normal((2, 12, 9)) + 0.5
    minimum, few = np.empty((2, 2, 9))
    assert fit_misses(misses, 3, exchanges, minimum, few, reserve(9, 3)) == 0
    for t in range(2):
        G, b = misses[t].T @ misses[t], np.zeros(9)
        expected = _fit(G, b, 3, True)
        np.testing.assert_allclose(minimum[t], expected[0], atol=1e-9)
        assert abs(_value(G, b, few[t]) - _value(G, b, expected[2 if exchanges else 1])) < 1e-9
