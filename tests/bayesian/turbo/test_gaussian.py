"""The Gaussian factor and its diagonal relative against dense inverses."""

import numpy as np
import pytest
from bayesian.turbo_references import draw_problem
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import null_space
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bayesian.turbo.gaussian import gaussian_factor
from sparsetheory.bayesian.turbo.gaussian_diagonal import diagonal_posterior
from sparsetheory.bayesian.turbo.problem import TurboProblem

sizes = st.integers(1, 30)


@given(st.integers(0, 2**32 - 1), sizes, sizes, st.integers(1, 3), st.booleans())
def test_equals_the_dense_inverse(seed, m, n, n_snapshots, complex_data):
    rng = np.random.default_rng(seed)
    problem = draw_problem(rng, m, n, n_snapshots, complex_data)
    precisions, kappa = 10.0 ** rng.uniform(-1, 2, n), 10.0 ** rng.uniform(-1, 1)
    x, F = gaussian_factor(problem, precisions, kappa), problem.F
    sigma = np.linalg.inv(np.diag(precisions) + kappa * F.conj().T @ F)
    # Condition numbers are below 1e6 here.
    close = {"rtol": 1e-9, "atol": 1e-10}
    np.testing.assert_allclose(x.mean, kappa * sigma @ F.conj().T @ problem.Y, **close)
    np.testing.assert_allclose(x.var, np.diagonal(sigma).real, **close)
    np.testing.assert_allclose(x.log_det, np.linalg.slogdet(sigma)[1], **close)
    np.testing.assert_allclose(x.spread, np.trace(F @ sigma @ F.conj().T).real, **close)
    np.testing.assert_allclose(x.residual, np.linalg.norm(problem.Y - F @ x.mean) ** 2, **close)
    indices = rng.permutation(n)[: (n + 1) // 2]
    np.testing.assert_allclose(x.columns(indices), sigma[:, indices], **close)
    rows = rng.standard_normal((4, n))
    np.testing.assert_allclose(x.variances_along(rows), np.einsum("ij,jk,ik->i", rows, sigma, rows).real, **close)


@pytest.mark.parametrize("decades", [6, 10, 14])
def test_little_noise_does_not_spoil_variances(rng, decades):
    # Orthonormal columns that are on, far above the noise: variances are 1 / (D + kappa) exactly.
    F = np.linalg.qr(rng.standard_normal((12, 12)))[0][:, :4]
    off = rng.standard_normal((12, 20))
    precisions = np.concatenate([np.ones(4), np.full(20, 1e5)])
    kappa = 10.0**decades
    # Columns that are off live where the others do not, so that they cannot mix.
    off = null_space(F.T) @ rng.standard_normal((8, 20))
    problem = TurboProblem(np.asfortranarray(np.hstack([F, off])), np.ones((12, 1)), 12.0, np.arange(24), 24)
    x = gaussian_factor(problem, precisions, kappa)
    # A subtraction may cost half of the digits; what is left of the noise stands beside columns that are off, rounded
    # at their size.
    rtol = 3e-8 + 10 * np.finfo(float).eps * kappa / 1e5 * np.linalg.norm(off, 2) ** 2
    np.testing.assert_allclose(x.var[:4], 1 / (1 + kappa), rtol=rtol)
    np.testing.assert_allclose(x.mean[:4, 0], kappa / (1 + kappa) * F.T @ np.ones(12), rtol=rtol)


@given(st.integers(0, 2**32 - 1), st.integers(1, 15), st.integers(1, 15), st.booleans())
def test_diagonal_has_the_same_mean_and_smaller_variances(seed, m, n, complex_data):
    rng = np.random.default_rng(seed)
    problem = draw_problem(rng, m, n, 1, complex_data)
    precisions, kappa = 10.0 ** rng.uniform(0, 1, n), 10.0 ** rng.uniform(-1, 0)
    full = gaussian_factor(problem, precisions, kappa)
    found = diagonal_posterior(problem.F, problem.Y[:, 0], precisions, noise_precision=kappa)
    # Steps shrink at a rate of at most 1 - 1 / 1000 here, so what is left is at most a thousand last steps.
    np.testing.assert_allclose(found.mean, full.mean[:, 0], atol=1e-6 * np.linalg.norm(full.mean))
    assert np.all(found.variance <= full.var * (1 + 1e-9))
    assert np.all(np.diff(found.objectives) <= 1e-12 * found.objectives[:-1])


def test_diagonal_recovers_from_a_blind_start():
    # The start of the power iteration is orthogonal to the eigenvector of the larger eigenvalue, 16 against 4.
    F = np.array([[3.0, 1.0], [1.0, 3.0]]) * np.array([[1.0, -1.0]])
    found = diagonal_posterior(F, [1.0, 0.0], [1.0, 1.0], noise_precision=1.0)
    expected = np.linalg.solve(np.eye(2) + F.T @ F, F.T @ [1.0, 0.0])
    np.testing.assert_allclose(found.mean, expected, atol=1e-8)


def test_diagonal_reports_what_is_not_finished(rng):
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        diagonal_posterior(rng.standard_normal((5, 5)), np.ones(5), np.ones(5), noise_precision=1.0, max_iter=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.ones(3)}, "F, y, precisions must be"),
        ({"precisions": np.ones(3)}, "F, y, precisions must be"),
        ({"precisions": [1.0, 0.0]}, "precisions must be positive"),
        ({"noise_precision": 0.0}, "noise_precision must be"),
        ({"max_iter": 0}, "max_iter must be"),
    ],
)
def test_diagonal_bad_input(change, message):
    good = {"F": np.eye(2), "y": np.ones(2), "precisions": np.ones(2), "noise_precision": 1.0}
    with pytest.raises(ValueError, match=message):
        diagonal_posterior(**(good | change))
