"""What the certificate of a subspace refuses: other data, forged solutions, and exchanges that it must find itself."""

from dataclasses import replace

import numpy as np
import pytest

from sparsetheory.bayesian import SparseSubspaceVI, subspace_posterior
from sparsetheory.certificates import Status

KNOWN = {"prior_std": 1.0, "noise_variance": 0.1}


def _data(seed=0, m=30, n=9):
    rng = np.random.default_rng(seed)
    F = rng.standard_normal((m, n))
    return F, F[:, 2] - 2.0 * F[:, 5] + 0.3 * rng.standard_normal(m)


def _on(certificate, F, y, support):
    """Return the certificate of the posterior on other columns."""
    now = subspace_posterior(F, y, 1.0 / certificate.noise_variance, certificate.prior_std, support)
    coef, sigma = np.zeros(F.shape[1]), np.zeros(F.shape[1])
    coef[now.active], sigma[now.active] = now.mean, np.sqrt(now.variance)
    return replace(certificate, coef=coef, sigma=sigma, support=now.active, elbo=now.elbo)


@pytest.mark.parametrize("given", [{}, KNOWN])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_other_data_and_other_models_are_refused(given, fit_intercept):
    F, y = _data()
    certificate = SparseSubspaceVI(2, fit_intercept=fit_intercept, **given).fit(F, y).certificate_
    assert certificate.check(F, y).valid
    assert certificate.check(F, y) is not certificate
    for other in (_data(1), (F, -y), (F, 1.001 * y), (F + 1e-3 * F**2, y), (F[:-1], y[:-1]), (F[:, ::-1], y)):
        assert certificate.check(*other).status is Status.INVALID
    # A shift of the data is what an intercept takes up.
    moved = certificate.check(F, y + 1.0)
    assert not moved.valid
    if fit_intercept:
        assert moved.reason == "the intercept is not that of the means"


def test_data_that_cannot_be_read_raise():
    F, y = _data()
    certificate = SparseSubspaceVI(2).fit(F, y).certificate_
    with pytest.raises(ValueError, match="X must have 9 columns; got 8"):
        certificate.check(F[:, 1:], y)
    with pytest.raises(ValueError, match="NaN"):
        certificate.check(np.where(F > 2, np.nan, F), y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        certificate.check(F, y[1:])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"noise_variance": -0.1}, "must be positive"),
        ({"noise_variance": np.nan}, "must be positive"),
        ({"prior_std": 0.0}, "must be positive"),
        ({"elbo": np.nan}, "not finite"),
        ({"coef": np.full(9, np.nan)}, "not finite"),
        ({"sigma": np.full(9, np.inf)}, "not finite"),
        ({"support": np.array([2, 9])}, "no set of columns"),
        ({"support": np.array([-1, 2])}, "no set of columns"),
        ({"support": np.array([2, 2])}, "twice"),
    ],
)
def test_what_is_no_solution_of_any_data_is_invalid_and_does_not_raise(change, reason):
    F, y = _data()
    forged = replace(SparseSubspaceVI(2, **KNOWN).fit(F, y).certificate_, **change).check(F, y)
    assert forged.status is Status.INVALID
    assert reason in forged.reason


def test_every_part_of_a_solution_is_looked_at():
    F, y = _data()
    certificate = SparseSubspaceVI(2, fit_intercept=True, **KNOWN).fit(F, y).certificate_
    off = np.zeros(9)
    off[0] = 1e-6
    for change, reason in (
        ({"coef": certificate.coef * (1 + 1e-9)}, "not the posterior mean"),
        ({"coef": certificate.coef + off}, "not the posterior mean"),
        ({"sigma": certificate.sigma * (1 + 1e-7)}, "standard deviations"),
        ({"sigma": certificate.sigma + off}, "standard deviations"),
        ({"elbo": certificate.elbo + 1e-6}, "lower bound is another"),
        ({"intercept": certificate.intercept + 1e-9}, "intercept"),
        ({"tol": 1e9, "bound": 1e9}, ""),
    ):
        found = replace(certificate, **change).check(F, y)
        assert found.status is Status.INVALID, change
        assert reason in found.reason, change


def test_fewer_columns_than_promised_are_seen():
    F, y = _data()
    certificate = SparseSubspaceVI(2, **KNOWN).fit(F, y).certificate_
    fewer = _on(certificate, F, y, [5]).check(F, y)
    assert fewer.status is Status.INVALID
    assert fewer.reason == "the subspace has another number of columns"


def test_an_exchange_far_beyond_the_first_columns_is_found():
    rng = np.random.default_rng(2)
    F = rng.standard_normal((40, 700))
    y = 3.0 * F[:, 690] + 0.1 * rng.standard_normal(40)
    certificate = SparseSubspaceVI(1, **KNOWN).fit(F, y).certificate_
    assert certificate.support.tolist() == [690]
    # Of all others this one gains least by an exchange for the first 257.
    second = int(np.argmax([subspace_posterior(F[:, :300], y, 10.0, 1.0, [j]).elbo for j in range(300)]))
    found = _on(certificate, F, y, [second]).check(F, y)
    assert found.status is Status.INVALID
    after = subspace_posterior(F, y, 10.0, 1.0, [690]).elbo - subspace_posterior(F, y, 10.0, 1.0, [second]).elbo
    assert found.measured == pytest.approx(after, rel=1e-9)
