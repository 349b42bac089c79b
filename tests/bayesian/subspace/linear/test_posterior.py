"""The posterior on one subspace against its definition: dense covariances, and a search over factors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from sparsetheory.bayesian import subspace_posterior


def bound(F, y, kappa, prior_std, active, mean, variance):
    """The evidence lower bound of any independent normal factors, term by term."""
    columns = F[:, list(active)]
    left = y - columns @ mean
    fit = kappa * (left @ left + np.sum(columns**2, axis=0) @ variance)
    divergence = (variance + mean**2) / prior_std**2 - 1.0 - np.log(variance / prior_std**2)
    return 0.5 * (y.size * np.log(kappa / (2 * np.pi)) - fit - divergence.sum())


def _problem(seed, m=7, n=5):
    rng = np.random.default_rng(seed)
    F = rng.standard_normal((m, n)) * 10 ** rng.uniform(-2, 2, n)
    return F, rng.standard_normal(m), float(10 ** rng.uniform(-1, 2)), float(10 ** rng.uniform(-1, 1))


@given(seed=st.integers(0, 10**6), size=st.integers(0, 5), rows=st.integers(1, 9))
def test_bound_evidence_and_moments_are_those_of_their_definitions(seed, size, rows):
    F, y, kappa, prior_std = _problem(seed, rows)
    active = np.random.default_rng(seed).permutation(5)[:size]
    found = subspace_posterior(F, y, kappa, prior_std, active)
    columns = F[:, active]
    precision = kappa * columns.T @ columns + np.eye(size) / prior_std**2
    covariance = np.linalg.inv(precision)
    np.testing.assert_allclose(found.mean, kappa * covariance @ columns.T @ y, rtol=1e-6, atol=1e-9 * prior_std)
    np.testing.assert_allclose(found.variance, 1 / np.diagonal(precision), rtol=1e-10)
    np.testing.assert_allclose(found.exact_variance, np.diagonal(covariance), rtol=1e-6)
    assert np.all(found.exact_variance >= found.variance * (1 - 1e-9))
    again = bound(F, y, kappa, prior_std, active, found.mean, found.variance)
    assert found.elbo == pytest.approx(again, rel=1e-8, abs=1e-8)
    whole = prior_std**2 * columns @ columns.T + np.eye(rows) / kappa
    evidence = multivariate_normal(np.zeros(rows), whole).logpdf(y)
    assert found.log_evidence == pytest.approx(evidence, rel=1e-6, abs=1e-6)
    assert found.elbo <= found.log_evidence + 1e-9 * abs(found.log_evidence)


def test_no_other_factors_have_a_larger_bound():
    F, y, kappa, prior_std = _problem(3)
    found = subspace_posterior(F, y, kappa, prior_std, [0, 2, 3])

    def loss(x):
        return -bound(F, y, kappa, prior_std, [0, 2, 3], x[:3], np.exp(x[3:]))

    start = np.concatenate([found.mean + 0.1, np.log(found.variance) + 0.5])
    best = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-9, "fatol": 1e-12})
    assert loss(start) > -found.elbo + 1e-3
    assert -found.elbo <= best.fun + 1e-9


def test_columns_at_right_angles_leave_no_gap():
    F, y = np.diag([1.0, 2.0, 3.0]), np.ones(3)
    found = subspace_posterior(F, y, 2.0, 0.5, [True, False, True])
    assert found.active.tolist() == [0, 2]
    assert found.elbo == pytest.approx(found.log_evidence, rel=1e-13)
    np.testing.assert_allclose(found.variance, found.exact_variance, rtol=1e-13)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"kappa": 0.0}, "kappa must be a finite positive number; got 0.0"),
        ({"prior_std": -1.0}, "prior_std must be a finite positive number; got -1.0"),
        ({"y": [1.0, 2.0]}, "y must have one entry per row of F, 3; got 2"),
        ({"y": [1.0, np.nan, 2.0]}, "y must be finite"),
        ({"F": np.ones(3)}, "F must have 2 axes"),
        ({"active": [0, 3]}, "active must hold different indices from 0 to 2"),
        ({"active": [0, 0]}, "active must hold different indices"),
        ({"active": [0.5]}, "active must be a vector of indices"),
    ],
)
def test_bad_arguments_are_named(change, match):
    given = {"F": np.eye(3), "y": np.ones(3), "kappa": 1.0, "prior_std": 1.0, "active": [0]} | change
    with pytest.raises(ValueError, match=match):
        subspace_posterior(**given)
