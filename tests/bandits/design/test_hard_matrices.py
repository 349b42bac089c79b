"""Matrices that are nearly singular, tiny, long, on disk, or of other types."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.bandits.design.amplification import leverage, ls_amplification, screen_optimal_support
from sparsetheory.bandits.design.optimal import g_optimal_design

_METHODS = ("full", "column_generation")


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("noise", [1e-2, 1e-3, 1e-4, 3e-5])
def test_nearly_dependent_columns(method, dtype, noise):
    """Two directions and noise: condition numbers of V up to 10^10, with certificates to nine digits."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3000, 2)) @ rng.standard_normal((2, 6)) + noise * rng.standard_normal((3000, 6))
    A = A.astype(dtype)
    design = g_optimal_design(A, method=method)
    assert (design.rank, design.converged, design.rho_drop) == (6, True, 0.0)
    assert design.weights @ leverage(A, design)[design.support] == pytest.approx(6, rel=1e-9)
    # A function along the weakest direction, of size one: least squares on the design finds it everywhere.
    weakest = np.linalg.svd(A.astype(float), full_matrices=False)[2][-1] / noise
    rewards = A.astype(float) @ weakest
    white = A.astype(float) @ design.whitening
    found = white @ (white[design.support].T @ (design.weights * rewards[design.support]))
    np.testing.assert_allclose(found, rewards, atol=1e-7 * np.abs(rewards).max())


def test_what_is_dropped_bounds_every_linear_function():
    """Also where columns have units: the drop is in the unit of the rows, for coefficients of norm one."""
    rng = np.random.default_rng(1)
    A = rng.standard_normal((400, 5))
    A[:, 4] = A[:, 3] + 1e-7 * A[:, 4]
    A *= [1.0, 1e-6, 10.0, 1e3, 1.0]
    for method in _METHODS:
        design = g_optimal_design(A, method=method)
        assert design.rank == 4
        # In units of the columns the kept part of a row is its projection to what the design whitens.
        scales = np.abs(A).max(axis=0)
        Q = np.linalg.qr(scales[:, None] * design.whitening)[0]
        dropped = (A / scales - A / scales @ Q @ Q.T) * scales
        norms = np.linalg.norm(dropped, axis=1)
        assert design.rho_drop == pytest.approx(norms.max(), rel=1e-5)
        assert 1e-9 < design.rho_drop < 1e-3
        # Coefficients along the worst row attain it.
        worst = dropped[norms.argmax()]
        assert np.abs(dropped @ worst).max() == pytest.approx(design.rho_drop * np.linalg.norm(worst), rel=1e-5)


def test_a_column_of_tiny_numbers_is_not_dropped():
    A = np.random.default_rng(2).standard_normal((300, 3)) * [1.0, 1.0, 1e-6]
    theta = np.array([0.0, 0.0, 1e6])
    design = g_optimal_design(A)
    assert (design.rank, design.rho_drop) == (3, 0.0)
    white = A @ design.whitening
    found = white @ (white[design.support].T @ (design.weights * (A @ theta)[design.support]))
    np.testing.assert_allclose(found, A @ theta, atol=1e-9)


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize(
    ("A", "rank"),
    [
        (np.array([[3.0]]), 1),
        (np.array([[0.0, 2.0, 0.0]]), 1),
        (np.array([[1.0], [-2.0], [2.0], [0.0]]), 1),
        (np.eye(3)[:2], 2),
        (np.vstack([np.eye(3), np.eye(3), np.zeros((2, 3))]), 3),
        (np.array([[200, 3], [100, 7], [255, 255]], dtype=np.uint8), 2),
        (np.array([[-128, 3], [100, 7]], dtype=np.int8), 2),
        (np.array([[True, False], [True, True]]), 2),
    ],
)
def test_small_matrices(method, A, rank):
    design = g_optimal_design(A, method=method)
    assert (design.rank, design.converged) == (rank, True)
    assert design.max_leverage <= 2 * rank
    assert design.weights @ leverage(A, design)[design.support] == pytest.approx(rank, rel=1e-9)
    assert ls_amplification(A, design) <= np.sqrt(design.max_leverage) * (1 + 1e-9)


def test_directions_of_few_rows_are_found_in_a_file_that_is_never_in_memory(tmp_path):
    """Rank 12, two of them from single rows late in the file: blocks are read, and never the whole."""
    rng = np.random.default_rng(3)
    A = np.memmap(tmp_path / "rows", dtype=np.float32, mode="w+", shape=(120_000, 20))
    A[:, :10] = rng.standard_normal((120_000, 10))
    A[90_000, 15], A[110_000, 17] = 1e-3, 5.0
    tracemalloc.start()
    design = g_optimal_design(A, method="column_generation", random_state=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (design.rank, design.converged) == (12, True)
    assert {90_000, 110_000} <= set(design.support)
    assert peak < A.nbytes / 2  # the file in double precision takes twice its size
    assert leverage(A, design, block=1000).max() == pytest.approx(design.max_leverage, rel=1e-9)
    assert ls_amplification(A, design) <= np.sqrt(design.max_leverage)


@given(st.integers(2, 6), st.integers(20, 60), st.sampled_from(_METHODS), st.integers(0, 2**32 - 1))
def test_warm_starts(d, n, method, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, d))
    design = g_optimal_design(A, 1.05, method=method)
    weights = np.zeros(n)
    weights[design.support] = 7.0 * design.weights
    again = g_optimal_design(A, 1.05, method=method, init=weights)
    # Column generation aims at half the distance from the optimum on its subset.
    assert again.n_iter == 0 or method == "column_generation"
    assert again.converged
    assert again.n_iter <= design.n_iter
    # Weights whose rows do not span are no start.
    weights[:] = 0.0
    weights[0] = 1.0
    assert g_optimal_design(A, method=method, init=weights).converged


def test_screening_by_weights_and_by_designs_agree():
    rng = np.random.default_rng(4)
    A = rng.standard_normal((200, 4))
    design = g_optimal_design(A, 1.01)
    weights = np.zeros(200)
    weights[design.support] = design.weights
    kept = screen_optimal_support(A, design)
    np.testing.assert_array_equal(kept, screen_optimal_support(A, weights))
    assert kept.sum() < 60
    assert kept[g_optimal_design(A, 1 + 1e-7).support].all()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(2), "design must be 3 finite non-negative weights"),
        (np.array([1.0, -1.0, 1.0]), "design must be 3 finite non-negative weights"),
        (np.zeros(3), "design must be 3 finite non-negative weights"),
        (np.array([1.0, 0.0, 1.0]), "design must have rows that span all others; its 2 rows span 1"),
    ],
)
def test_weights_that_are_no_design(weights, message):
    A = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    with pytest.raises(ValueError, match=message):
        screen_optimal_support(A, weights)


@pytest.mark.parametrize("init", [np.ones(2), [1.0, np.nan, 1.0], [0.0, 0.0, 0.0], [1.0, -1.0, 0.0]])
def test_starts_that_are_no_weights(init):
    with pytest.raises(ValueError, match="init must be 3 finite non-negative weights"):
        g_optimal_design(np.eye(3), init=init)
