"""G-optimal designs: small, certified on all rows, and the same in any unit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import lstsq

from sparsetheory.bandits.design.amplification import leverage, ls_amplification, screen_optimal_support
from sparsetheory.bandits.design.optimal import core_set_bound, g_optimal_design
from sparsetheory.bandits.design.pivoting import pivoted_rows

FAMILIES = ("gaussian", "sphere", "clusters", "one-hot", "low rank", "duplicates")


def _rows(family, n, d, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, d))
    if family == "sphere":
        return A / np.linalg.norm(A, axis=1, keepdims=True)
    if family == "clusters":
        return rng.standard_normal((3, d))[rng.integers(3, size=n)] + 0.05 * A
    if family == "one-hot":
        return np.eye(d)[rng.integers(d, size=n)]
    if family == "low rank":
        return A[:, : max(1, d // 2)] @ rng.standard_normal((max(1, d // 2), d))
    return A[rng.integers(max(1, n // 2), size=n)] if family == "duplicates" else A


@st.composite
def _problems(draw):
    d = draw(st.integers(1, 12))
    return _rows(draw(st.sampled_from(FAMILIES)), draw(st.integers(1, 80)), d, draw(st.integers(0, 2**32 - 1)))


@given(_problems())
def test_designs_are_within_twice_the_optimum_of_all_rows(A):
    design = g_optimal_design(A)
    assert design.converged
    assert design.rank == np.linalg.matrix_rank(A, tol=1e-5 * np.abs(A).max())
    assert design.weights.sum() == pytest.approx(1, rel=1e-12)
    assert design.weights.min() > 0
    # Leverages by another route: the squared length of the shortest combination of weighted rows that gives a row.
    weighted = np.sqrt(design.weights)[:, None] * A[design.support]
    combinations = lstsq(weighted.T, A.T, cond=1e-9)[0]
    by_least_squares = np.sum(combinations**2, axis=0)
    np.testing.assert_allclose(leverage(A, design), by_least_squares, rtol=1e-6, atol=1e-9)
    assert design.max_leverage <= 2 * design.rank * (1 + 1e-12)
    assert design.max_leverage >= design.rank * (1 - 1e-9)
    assert design.weights @ leverage(A, design)[design.support] == pytest.approx(design.rank, rel=1e-9)
    assert len(design.support) <= core_set_bound(design.rank)


@given(_problems(), st.integers(0, 2**32 - 1))
def test_designs_do_not_depend_on_units(A, seed):
    # Powers of two, so that rounding and ties are the same.
    units = 2.0 ** np.random.default_rng(seed).integers(-20, 21, A.shape[1])
    first, second = g_optimal_design(A), g_optimal_design(A * units)
    np.testing.assert_array_equal(first.support, second.support)
    np.testing.assert_allclose(first.weights, second.weights, rtol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_column_generation_holds_for_all_rows(family):
    A = _rows(family, 20_000, 8, 1)
    some, full = g_optimal_design(A, method="column_generation"), g_optimal_design(A, method="full")
    assert some.converged
    assert some.rank == full.rank
    assert leverage(A, some).max() == pytest.approx(some.max_leverage, rel=1e-9)
    assert some.max_leverage <= 2 * some.rank


def test_single_precision_and_files_on_disk(tmp_path):
    A = _rows("gaussian", 70_000, 5, 2).astype(np.float32)
    file = np.memmap(tmp_path / "rows", dtype=np.float32, mode="w+", shape=A.shape)
    file[:] = A
    inside, outside = (g_optimal_design(rows, method="column_generation") for rows in (A, file))
    np.testing.assert_array_equal(inside.support, outside.support)
    assert inside.max_leverage <= 10


def test_near_optimal_designs_are_those_of_a_regular_polygon():
    """Every row of a regular polygon has the leverage 2 under the uniform design."""
    angles = 2 * np.pi * np.arange(7) / 7
    A = np.column_stack([np.cos(angles), np.sin(angles)])
    design = g_optimal_design(A, 1.0001)
    assert design.max_leverage <= 2.0002
    np.testing.assert_allclose(leverage(A, design)[design.support], 2.0, rtol=2e-4)


def test_what_is_dropped_is_reported():
    A = _rows("gaussian", 200, 6, 3)
    A[:, 5] = A[:, 4] + 1e-8 * A[:, 5]
    design = g_optimal_design(A)
    assert design.rank == 5
    assert 0 < design.rho_drop < 1e-6
    assert g_optimal_design(A[:, :5]).rho_drop == 0
    # A column of tiny numbers is a unit, and nothing is dropped.
    A[:, 5] = 1e-12 * _rows("gaussian", 200, 1, 4)[:, 0]
    assert (g_optimal_design(A).rank, g_optimal_design(A).rho_drop) == (6, 0)


@given(_problems(), st.integers(0, 30))
def test_screening_keeps_the_support_of_an_optimal_design(A, steps):
    optimal = g_optimal_design(A, 1 + 1e-6)
    early = g_optimal_design(A, 1 + 1e-6, max_iter=steps + 1)
    kept = screen_optimal_support(A, early)
    assert kept[optimal.support[optimal.weights > 1e-3]].all()


@given(_problems(), st.integers(0, 2**32 - 1))
def test_amplification_bounds_what_least_squares_does_with_errors_and_is_attained(A, seed):
    design = g_optimal_design(A)
    amplification = ls_amplification(A, design)
    assert amplification <= np.sqrt(design.max_leverage) * (1 + 1e-9)
    white = A @ design.whitening
    weighted = white[design.support] * design.weights[:, None]
    response = white @ weighted.T
    worst = int(np.argmax(np.abs(response).sum(axis=1)))
    assert response[worst] @ np.sign(response[worst]) == pytest.approx(amplification, rel=1e-9)
    errors = np.random.default_rng(seed).uniform(-1, 1, len(design.support))
    assert np.abs(response @ errors).max() <= amplification * (1 + 1e-9)


def test_pivots_span_the_rows():
    A = _rows("low rank", 50, 8, 5)
    pivots = pivoted_rows(A)
    assert len(pivots.indices) == 4
    np.testing.assert_allclose(pivots.basis @ pivots.basis.T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(A @ pivots.basis.T @ pivots.basis, A, atol=1e-12 * np.abs(A).max())


@pytest.mark.parametrize(
    ("A", "message"),
    [
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), "A must be finite; got NaN or infinity in row 1"),
        (np.array([[1.0, np.inf]]), "A must be finite; got NaN or infinity in row 0"),
        (np.zeros((3, 2)), "A must have a row that is not zero"),
        (np.ones(3), "A must be a matrix of real numbers"),
        (np.ones((2, 2), dtype=complex), "A must be a matrix of real numbers"),
    ],
)
def test_what_is_no_matrix_of_rows(A, message):
    with pytest.raises(ValueError, match=message):
        g_optimal_design(A)


@pytest.mark.parametrize("function", [leverage, ls_amplification])
def test_what_is_no_design_of_these_rows_is_refused(function):
    A = np.vstack([np.zeros((4, 3)), np.eye(3)])
    design = g_optimal_design(A)
    with pytest.raises(ValueError, match="design must be a Design; got array"):
        function(A, np.full(7, 1 / 7))
    with pytest.raises(ValueError, match="A must have 3 columns, those of the design"):
        function(A[:, :2], design)
    with pytest.raises(ValueError, match="A must be a matrix of real numbers; got rows of different lengths"):
        function([[1, 2, 3], [1]], design)
    with pytest.raises(ValueError, match="design must be one of the 4 rows of A"):
        ls_amplification(A[:4], design)
