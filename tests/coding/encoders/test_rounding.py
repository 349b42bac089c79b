"""Coders where rounding errors are as large as tolerances, and in any unit."""

import warnings

import numpy as np
import pytest
from coding.coding_references import draw_problem, penalties
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding import encode, sbr
from sparsetheory.coding.proximal_gradient.forward_backward import forward_backward
from sparsetheory.penalties import CEL0, L0, L1, MCP


@pytest.mark.parametrize("family", range(10))
def test_guesses_that_cancel_themselves(family):
    # Every guess is in the null space but for rounding errors, which no step can remove.
    rng = np.random.default_rng(family)
    X, A, _ = draw_problem(1, m=5, n=12, n_samples=200, plain=True)
    warm = rng.standard_normal((200, 7)) @ np.linalg.svd(A)[2][5:] * 5
    found = encode(0 * X, A.T, penalties(0.1, A)[family], solver="cd", init=warm, max_iter=300)
    assert found.converged.all()
    assert (found.residual <= 1e-10).all()


def test_a_large_guess_leaves_no_rounding_errors_behind():
    X, A, _ = draw_problem(3, m=8, n=12, n_samples=5, plain=True)
    warm = 1e9 * np.random.default_rng(0).standard_normal((5, 12))
    found = encode(X, A.T, L1(0.3), solver="fss", init=warm, tol=1e-12)
    assert found.converged.all()
    assert (found.residual <= 1e-14).all()


def test_convergence_is_a_proved_gap():
    # Nearly dependent atoms and next to no weight: coefficients of 1e5, whose rounding errors a gap sees.
    rng, told = np.random.default_rng(0), []
    for _ in range(40):
        left, right = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
        A = left @ np.diag([1.0, 0.5, 10.0 ** -rng.uniform(5, 7)]) @ right
        X, alpha = rng.standard_normal((2, 3)), 10.0 ** -rng.uniform(6, 8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = encode(X, A.T, L1(alpha))
        good = found.gap <= 1e-6 * found.objective
        told += [*found.converged]
        assert (good | ~found.converged).all()
    assert np.mean(told) > 0.2


@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1e4, 1e8])
def test_units_of_signals(scale):
    X, A, _ = draw_problem(4, m=10, n=20, n_samples=8, plain=True)
    cases = [(L1(0.2), L1(0.2 * scale)), (L0(0.1), L0(0.1 * scale**2)), (MCP(0.2), MCP(0.2 * scale))]
    for penalty, scaled in [*cases, (CEL0(0.1), CEL0(0.1 * scale**2))]:
        expected, got = encode(X, A.T, penalty), encode(scale * X, A.T, scaled)
        np.testing.assert_allclose(got.codes / scale, expected.codes, atol=1e-5)
        np.testing.assert_array_equal(got.codes != 0, expected.codes != 0)
        np.testing.assert_array_equal(got.converged, expected.converged)
        plain = forward_backward(X, A.T, penalty, max_iter=20_000).codes
        moved = forward_backward(scale * X, A.T, scaled, max_iter=20_000).codes
        np.testing.assert_allclose(moved / scale, plain, atol=1e-5)


def test_units_of_atoms():
    X, A, _ = draw_problem(4, m=10, n=20, n_samples=8, plain=True)
    units = 10.0 ** np.linspace(-8, 8, 20)
    for solver in ("sbr", "greedy", "cd"):
        expected, got = encode(X, A.T, L0(0.1), solver=solver), encode(X, (A * units).T, L0(0.1), solver=solver)
        np.testing.assert_array_equal(got.codes != 0, expected.codes != 0)
        np.testing.assert_allclose(got.codes * units, expected.codes, atol=1e-4)
    np.testing.assert_allclose(sbr(X, (A * units).T, alpha=0.1).codes * units, sbr(X, A.T, alpha=0.1).codes, atol=1e-9)
