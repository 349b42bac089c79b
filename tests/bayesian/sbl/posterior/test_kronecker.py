"""The structured expectation step against explicit inverses."""

import numpy as np
import pytest
from bayesian.kron_references import dense_posterior, kron, random_problem

from sparsetheory.bayesian import kron_posterior, sbl_cost


@pytest.mark.parametrize("snapshots", [None, 3])
@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_equals_the_dense_formulas(rng, d, is_complex, snapshots):
    As, y, gammas, _ = random_problem(rng, d, is_complex, snapshots)
    p, dense = kron_posterior(As, y, gammas, noise_variance=0.3), dense_posterior(kron(As), y, kron(gammas), 0.3)
    np.testing.assert_allclose(p.S.reshape(dense.S.shape), dense.S, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(p.mean.reshape(dense.S.shape), dense.mean, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(p.var.ravel(), np.diag(dense.cov).real, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(p.q.ravel(), dense.q, rtol=1e-8)
    moments = np.diag(dense.cov).real + np.mean(np.abs(dense.mean) ** 2, axis=1)
    np.testing.assert_allclose(p.second_moment.ravel(), moments, rtol=1e-8)
    np.testing.assert_allclose(p.exact_var(), p.var, rtol=1e-8, atol=1e-12)
    assert p.cost == pytest.approx(dense.cost, rel=1e-9)
    assert p.noise_em == pytest.approx(dense.noise_em, rel=1e-8)
    assert p.noise_mm == pytest.approx(dense.noise_mm, rel=1e-8)
    assert sbl_cost(As, y, gammas, noise_variance=0.3) == p.cost


def test_orthonormal_dictionaries_with_repeated_eigenvalues(rng):
    """Rows of a Fourier matrix: B is a multiple of the identity only up to rounding."""
    F = np.fft.fft(np.eye(16)) / 4
    As, gammas = [F[:5], F[3:9]], [np.ones(16), np.ones(16)]
    y = rng.standard_normal(30) + 1j * rng.standard_normal(30)
    p, dense = kron_posterior(As, y, gammas, noise_variance=1e-6), dense_posterior(kron(As), y, kron(gammas), 1e-6)
    np.testing.assert_allclose(p.mean.ravel(), dense.mean[:, 0], atol=1e-9)
    np.testing.assert_allclose(p.var.ravel(), np.diag(dense.cov).real, atol=1e-9)


def test_gradient_is_the_derivative_of_the_cost(rng):
    As, y, gammas, _ = random_problem(rng, 3, True, 2)
    p, step = kron_posterior(As, y, gammas, noise_variance=0.3), 1e-5
    cost = [sbl_cost(As, y, gammas, noise_variance=0.3 * np.exp(s)) for s in (step, -step)]
    assert p.grad_log_noise == pytest.approx((cost[0] - cost[1]) / (2 * step), abs=1e-5)
    for k, gamma in enumerate(gammas):
        for i in range(gamma.size):
            pair = []
            for s in (step, -step):
                moved = [g.copy() for g in gammas]
                moved[k][i] *= np.exp(s)
                pair.append(sbl_cost(As, y, moved, noise_variance=0.3))
            assert p.grad_log(k)[i] == pytest.approx((pair[0] - pair[1]) / (2 * step), abs=1e-5)


@pytest.mark.parametrize("is_complex", [False, True])
def test_samples_have_the_moments_of_the_posterior(rng, is_complex):
    As, y, gammas, _ = random_problem(rng, 2, is_complex, low=2)
    p, dense = kron_posterior(As, y, gammas, noise_variance=0.5), dense_posterior(kron(As), y, kron(gammas), 0.5)
    n = 20_000
    draws = p.sample(n, random_state=0).reshape(n, -1)
    # Five standard errors of the mean; entries of a sample covariance have errors up to sqrt(2 / n) of their scale.
    deviation = np.abs(draws.mean(axis=0) - dense.mean[:, 0])
    assert np.all(deviation < 5 * np.sqrt(np.diag(dense.cov).real / n) + 1e-12)
    centred = draws - dense.mean[:, 0]
    error = np.abs(centred.T @ centred.conj() / n - dense.cov)
    scale = np.sqrt(np.outer(np.diag(dense.cov).real, np.diag(dense.cov).real))
    assert np.all(error < 5 * np.sqrt(2 / n) * scale + 1e-12)


def test_samples_of_snapshots_and_seeds(rng):
    As, y, gammas, _ = random_problem(rng, 2, False, 4)
    p = kron_posterior(As, y, gammas, noise_variance=0.5)
    assert p.sample(3, random_state=1).shape == (3, *p.S.shape)
    np.testing.assert_array_equal(p.sample(2, random_state=1), p.sample(2, random_state=1))
    with pytest.raises(ValueError, match="n_draws must be an integer from 1 to"):
        p.sample(0)


@pytest.mark.parametrize("is_complex", [False, True])
def test_exact_variances_at_tiny_noise(rng, is_complex):
    """With independent columns the variances tend to those of least squares, far below rounding of the prior."""
    As = [rng.standard_normal((5, 3)) + 1j * is_complex * rng.standard_normal((5, 3)) for _ in range(2)]
    As = As if is_complex else [A.real for A in As]
    A = kron(As)
    p = kron_posterior(As, np.ones(25), [np.ones(3), np.ones(3)], noise_variance=1e-20)
    expected = 1e-20 * np.diag(np.linalg.inv(A.conj().T @ A)).real
    np.testing.assert_allclose(p.exact_var().ravel(), expected, rtol=1e-9)
    # Without them, directions that A does not see keep their prior.
    wide = [rng.standard_normal((2, 4)) for _ in range(2)]
    null = np.eye(16) - np.linalg.pinv(kron(wide)) @ kron(wide)
    p = kron_posterior(wide, np.ones(4), [np.ones(4), np.ones(4)], noise_variance=1e-20)
    np.testing.assert_allclose(p.exact_var().ravel(), np.diag(null), rtol=1e-9)


def test_zero_factors_are_legal(rng):
    As, y, gammas, _ = random_problem(rng, 2, False, low=3)
    gammas[0][1] = 0.0
    p = kron_posterior(As, y, gammas, noise_variance=0.5)
    assert not p.mean[1].any()
    assert p.grad_log(0)[1] == 0.0


def test_the_input_is_not_changed(rng):
    As, y, gammas, _ = random_problem(rng, 2, False)
    copies = [A.copy() for A in As], y.copy(), [g.copy() for g in gammas]
    for array in (*As, y, *gammas):
        array.setflags(write=False)
    kron_posterior(As, y, gammas, noise_variance=0.5)
    for before, after in zip([*copies[0], copies[1], *copies[2]], [*As, y, *gammas], strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variances": [np.ones(3)]}, r"one vector per mode \(2\); got 1"),
        ({"variances": [np.ones(3), np.ones(4)]}, r"variances\[1\] must be a real vector of shape \(5,\)"),
        ({"variances": [np.ones(3), -np.ones(5)]}, r"variances\[1\] must not be negative or all zero"),
        ({"variances": [np.zeros(3), np.ones(5)]}, r"variances\[0\] must not be negative or all zero"),
        ({"variances": [1j * np.ones(3), np.ones(5)]}, r"variances\[0\] must be a real vector"),
        ({"noise_variance": 0.0}, "noise_variance must be a finite positive number.*1e-10"),
        ({"noise_variance": np.nan}, "noise_variance must be a finite positive number"),
        ({"y": np.ones(7)}, r"y must have 2 \* 4 = 8 entries"),
        ({"y": np.full(8, np.nan)}, "y must be finite"),
    ],
)
def test_bad_input(change, message):
    good = {"dictionaries": [np.ones((2, 3)), np.ones((4, 5))], "y": np.ones(8), "variances": [np.ones(3), np.ones(5)]}
    with pytest.raises(ValueError, match=message):
        kron_posterior(**({**good, "noise_variance": 1.0} | change))
