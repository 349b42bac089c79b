"""What every step of a design obeys, exactly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.bandits.design.amplification import leverage
from sparsetheory.bandits.design.optimal import g_optimal_design
from sparsetheory.numba_kernels.bandits.optimal_design import design_steps

_SHAPES = (st.integers(2, 8), st.integers(9, 40), st.integers(0, 2**32 - 1))


def _information(A, weights):
    return (A.T * weights) @ A


def _leverages(A, weights):
    return np.einsum("ij,ij->i", A @ np.linalg.inv(_information(A, weights)), A)


@given(*_SHAPES, st.booleans(), st.integers(1, 40))
def test_updates_are_what_a_new_start_gives(d, n, seed, away, steps):
    rng = np.random.default_rng(seed)
    A, weights = rng.standard_normal((n, d)), rng.dirichlet(np.ones(n))
    inverse, leverages = np.linalg.inv(_information(A, weights)), _leverages(A, weights)
    before = np.linalg.slogdet(_information(A, weights))[1]
    design_steps(A, weights, inverse, leverages, np.empty(d), 0.0, np.inf, away, steps)
    assert weights.sum() == pytest.approx(1.0, rel=1e-9)
    assert weights.min() >= 0
    np.testing.assert_allclose(inverse, np.linalg.inv(_information(A, weights)), rtol=1e-6, atol=1e-7 * inverse.max())
    np.testing.assert_allclose(leverages, _leverages(A, weights), rtol=1e-6, atol=1e-7 * leverages.max())
    assert weights @ leverages == pytest.approx(d, rel=1e-7)
    assert leverages.max() >= d * (1 - 1e-7)
    assert np.linalg.slogdet(_information(A, weights))[1] >= before - 1e-9


@given(*_SHAPES)
def test_the_determinant_grows_by_the_formula(d, n, seed):
    rng = np.random.default_rng(seed)
    A, weights = rng.standard_normal((n, d)), rng.dirichlet(np.ones(n))
    leverages = _leverages(A, weights)
    k = leverages.max()
    before = np.linalg.slogdet(_information(A, weights))[1]
    design_steps(A, weights, np.linalg.inv(_information(A, weights)), leverages, np.empty(d), 0.0, 0.0, False, 1)
    gain = np.log(k / d) + (d - 1) * np.log(k * (d - 1) / (d * (k - 1)))
    assert np.linalg.slogdet(_information(A, weights))[1] - before == pytest.approx(gain, rel=1e-6, abs=1e-9)


@given(*_SHAPES)
def test_coordinates_do_not_matter(d, n, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, d))
    T = np.linalg.qr(rng.standard_normal((d, d)))[0] * rng.uniform(0.2, 5.0, d)
    uniform = np.full(n, 1 / n)
    first, second = (g_optimal_design(rows, 1.3, away=False, init=uniform) for rows in (A, A @ T))
    assert first.n_iter == second.n_iter
    np.testing.assert_array_equal(first.support, second.support)
    np.testing.assert_allclose(first.weights, second.weights, rtol=1e-6)
    np.testing.assert_allclose(leverage(A, first), leverage(A @ T, second), rtol=1e-6)
