"""Certificates of stationarity cannot be fooled, and their bounds are neither loose nor reached by luck."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from bayesian.kron_references import dense_posterior, kron
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bayesian import (
    SBL,
    KroneckerOMP,
    KroneckerSBL,
    OffGridTurboVBI,
    PatternCoupledSBL,
    TurboCS,
    TurboVBI,
    make_kron_sparse,
    make_off_grid_channel,
)

PROBLEM = make_kron_sparse((8, 9), (12, 12), (2, 3), snr_db=30, random_state=0)
_RNG = np.random.default_rng(7)
A = _RNG.standard_normal((40, 60))
TRUTH = np.zeros(60)
TRUTH[[3, 7, 20]] = 1.0, -2.0, 1.5
B = A @ TRUTH + 0.05 * _RNG.standard_normal(40)
CHANNEL = make_off_grid_channel(snr_db=15, random_state=1)
FITS = {
    "SBL": lambda: (SBL("mm", max_iter=999), (A, B)),
    "SBL known": lambda: (SBL("mm", noise_variance=0.0025, max_iter=999), (A, B)),
    "PatternCoupledSBL": lambda: (PatternCoupledSBL(max_iter=999), (A, B)),
    "KroneckerSBL": lambda: (KroneckerSBL(), (PROBLEM.dictionaries, PROBLEM.y)),
    "KroneckerSBL coupled": lambda: (KroneckerSBL(coupling=0.5, max_iter=5000), (PROBLEM.dictionaries, PROBLEM.y)),
    "TurboVBI": lambda: (TurboVBI(), (A, B)),
    "TurboCS": lambda: (TurboCS(), (A, B)),
    "OffGridTurboVBI": lambda: (OffGridTurboVBI(noise_variance=CHANNEL.noise_variance), (CHANNEL.F, CHANNEL.y)),
}


@pytest.fixture(scope="module")
def fitted():
    cache = {}

    def fit(name):
        if name not in cache:
            model, data = FITS[name]()
            cache[name] = model.fit(*data), data
        return cache[name]

    return fit


@pytest.mark.parametrize("name", FITS)
def test_the_bound_is_the_tolerance_and_no_multiple_of_it(name, fitted):
    model, data = fitted(name)
    certificate = model.certificate_
    assert certificate.bound == model.tol
    assert certificate.valid
    measured = certificate.check(*data).measured
    # Tolerances just above and just below what was reached decide.
    assert replace(certificate, bound=1.1 * measured, tol=1.1 * measured).stated().check(*data).valid
    below = replace(certificate, bound=measured / 1.5, tol=measured / 1.5).check(*data)
    assert not below.valid
    assert "exceeds the bound" in below.reason or "more than the bound" in below.reason


@pytest.mark.parametrize("name", FITS)
def test_a_fit_that_stopped_early_is_never_valid(name):
    model, data = FITS[name]()
    model.set_params(max_iter=1)
    if "OffGrid" in name:
        model.set_params(max_inner_rounds=1, anneal_grid=False)
    elif "TurboVBI" in name:
        model.set_params(init="sbl")
    with pytest.warns(ConvergenceWarning):
        model.fit(*data)
    assert not model.certificate_.valid
    assert not model.certificate_.check(*data).valid
    assert model.certificate_.bound == model.tol


@pytest.mark.parametrize("name", FITS)
def test_coefficients_that_the_model_predicts_with_are_certified(name, fitted):
    model, data = fitted(name)
    certificate = model.certificate_
    np.testing.assert_array_equal(certificate.coef, model.coef_)
    for index in (np.argmax(np.abs(certificate.coef)), np.argmin(np.abs(certificate.coef))):
        wrong = certificate.coef.copy()
        wrong[index] += 1e-5 * np.abs(wrong).max()
        assert not replace(certificate, coef=wrong).check(*data).valid


def test_pruning_loses_no_coefficient_that_the_data_ask_for():
    for settings in ({"noise_variance": 0.0025}, {}):
        model = SBL("mm", relative_threshold=0.9, max_iter=2000, **settings).fit(A, B)
        assert set(np.flatnonzero(TRUTH)) <= set(model.support_)
        assert model.certificate_.check(A, B).valid
        whole = KroneckerSBL(relative_threshold=0.5, **settings).fit(PROBLEM.dictionaries, PROBLEM.y)
        assert np.linalg.norm(whole.coef_ - PROBLEM.x) < 0.05 * np.linalg.norm(PROBLEM.x)
        assert whole.certificate_.check(PROBLEM.dictionaries, PROBLEM.y).valid


def _without(model, index):
    """Return the certificate of a fit that lost a column, at rest but for that."""
    kept = [k for k in model.kept_ if k != index]
    lost = SBL(
        "mm",
        noise_variance=0.0025,
        relative_threshold=0.0,
        max_iter=5000,
        init=np.isin(np.arange(60), kept).astype(float),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return lost.fit(A, B).certificate_


def test_a_lost_column_is_noticed_unless_the_user_held_it():
    model = SBL("mm", noise_variance=0.0025, max_iter=999).fit(A, B)
    certificate = _without(model, 7)
    assert certificate.check(A, B).valid
    free = replace(certificate, fixed_zeros=np.zeros(60, dtype=bool)).check(A, B)
    assert not free.valid
    assert "ask for a variance" in free.reason


@pytest.mark.parametrize("noise", [0.0025, "learn"])
def test_nothing_is_no_answer_where_there_is_something(noise):
    flat = SBL("mm", noise_variance=noise, max_iter=999).fit(A, B).certificate_
    assert not replace(flat, variances=0 * flat.variances, coef=0 * flat.coef).check(A, B).valid
    whole = KroneckerSBL(noise_variance=noise).fit(PROBLEM.dictionaries, PROBLEM.y).certificate_
    nothing = replace(whole, variances=[0 * g for g in whole.variances], coef=0 * whole.coef)
    assert not nothing.check(PROBLEM.dictionaries, PROBLEM.y).valid


@pytest.mark.parametrize(
    ("snapshots", "phase", "border"), [(1, 1.0, 5.472), (4, 1.0, 2.678), (1, 0.6 + 0.8j, 3.693), (4, 0.6 + 0.8j, 2.078)]
)
def test_the_price_of_a_column_is_the_logarithm_of_their_number(snapshots, phase, border):
    # Four orthonormal columns, noise of variance one: s - 1 - log s is log 4 over the snapshots, twice that if real.
    def data(first, rest):
        y = phase * np.repeat([[first], [rest], [rest], [rest]], snapshots, axis=1)
        return y if snapshots > 1 else y[:, 0]

    flat = SBL("mm", noise_variance=1.0).fit(np.eye(4), data(9.0, 0.0)).certificate_
    whole = KroneckerSBL(noise_variance=1.0).fit([np.eye(4)], data(9.0, 0.0)).certificate_
    for factor, stays in ((0.98, True), (1.02, False)):
        y = data(np.sqrt(factor * border), 0.1)
        empty = replace(flat, variances=np.zeros(4), coef=0 * flat.coef)
        assert empty.check(np.eye(4), y).valid is stays
        empty = replace(whole, variances=[np.zeros(4)], coef=0 * whole.coef)
        assert empty.check([np.eye(4)], y).valid is stays


@pytest.mark.parametrize("unit", [1e-100, 1e-60, 1e80, 1e140])
def test_extreme_units_are_certified_alike(unit):
    flat = SBL("mm", max_iter=999).fit(A, unit * B).certificate_
    assert flat.check(A, unit * B).valid
    assert not replace(flat, variances=1.5 * flat.variances).check(A, unit * B).valid
    assert not flat.check(A, unit * B[::-1]).valid
    whole = KroneckerSBL().fit(PROBLEM.dictionaries, unit * PROBLEM.y).certificate_
    assert whole.check(PROBLEM.dictionaries, unit * PROBLEM.y).valid
    wrong = replace(whole, variances=[1.5 * whole.variances[0], *whole.variances[1:]])
    assert not wrong.check(PROBLEM.dictionaries, unit * PROBLEM.y).valid


@pytest.mark.parametrize("name", ["SBL", "PatternCoupledSBL", "KroneckerSBL", "TurboCS"])
def test_the_noise_variance_is_part_of_the_certificate(name, fitted):
    model, data = fitted(name)
    certificate = model.certificate_
    for factor in (1.01, 0.99):
        assert not replace(certificate, noise_variance=factor * certificate.noise_variance).check(*data).valid


@pytest.mark.parametrize("share", [0.25, 4.0])
def test_a_noise_variance_must_neither_grow_nor_shrink(share):
    # Next to variances of nothing, the slope by the noise is 1 - mean(y^2) / noise, and all others are small.
    square = np.mean(np.abs(PROBLEM.y) ** 2)
    whole = KroneckerSBL().fit(PROBLEM.dictionaries, PROBLEM.y).certificate_
    factors = [1e-9 * gamma for gamma in whole.variances]
    checked = replace(whole, variances=factors, noise_variance=share * square).check(PROBLEM.dictionaries, PROBLEM.y)
    assert checked.measured == pytest.approx(abs(1 - 1 / share), rel=1e-6)
    flat = SBL("mm", max_iter=999).fit(A, B).certificate_
    forged = replace(flat, variances=1e-9 * flat.variances, noise_variance=share * np.mean(B**2))
    assert forged.check(A, B).measured == pytest.approx(abs(1 - 1 / share), rel=1e-6)


def test_a_learned_noise_variance_moves_by_its_own_update(fitted):
    model, _ = fitted("PatternCoupledSBL")
    noise = 3 * model.noise_variance_
    inverse = np.linalg.inv(noise * np.eye(40) + (A * model.variances_) @ A.T)
    slope = noise * (np.trace(inverse) - np.sum((inverse @ B) ** 2))
    checked = replace(model.certificate_, noise_variance=noise).check(A, B)
    assert checked.measured == pytest.approx(abs(slope) / 40, rel=1e-6)


def test_latents_must_make_the_factors(fitted):
    model, data = fitted("KroneckerSBL coupled")
    certificate = model.certificate_
    # At rest all derivatives are small, by whatever latents.
    other = replace(certificate, latents=[1.01 * latent for latent in certificate.latents]).check(*data)
    assert other.reason == "the factors are not made of the latents"


@pytest.mark.parametrize("columns", [30, 60])
@pytest.mark.parametrize("model", [SBL("mm", max_iter=999), PatternCoupledSBL(max_iter=999)], ids=repr)
def test_an_intercept_may_err_by_rounding_alone(model, columns):
    X = A[:, :columns]
    certificate = clone(model).set_params(fit_intercept=True).fit(X, B + 5).certificate_
    size = np.abs(B + 5).max() + np.abs(X).max() * np.abs(certificate.coef).sum()
    # The sums have as many terms as there are rows and columns.
    for share, valid in ((0.1, True), (30.0, False)):
        moved = certificate.intercept + share * np.finfo(float).eps * sum(X.shape) * size
        assert replace(certificate, intercept=moved).check(X, B + 5).valid is valid


def test_derivatives_are_those_of_the_cost():
    """Finite differences of the cost, with dense matrices."""
    model = SBL("mm", max_iter=20, tol=0.0, relative_threshold=0.0, noise_variance=0.01).fit(A, B)
    gamma, costs = model.variances_, []
    k = int(np.argmax(gamma))
    for step in (1e-4, -1e-4):
        moved = gamma.copy()
        moved[k] *= np.exp(step)
        costs.append(dense_posterior(A, B, moved, 0.01).cost)
    slope = abs(costs[0] - costs[1]) / 2e-4 / 40
    single = replace(model.certificate_, fixed_zeros=np.ones(60, dtype=bool)).check(A, B).measured
    assert single >= slope * (1 - 1e-3)
    dense = dense_posterior(A, B, gamma, 0.01)
    power = np.abs(dense.S[:, 0]) ** 2
    assert single == pytest.approx(np.abs(gamma * (dense.q - power)).max() / 40, rel=1e-6)


def test_kronecker_derivatives_are_those_of_the_cost():
    model = KroneckerSBL(max_iter=8, tol=0.0, noise_variance=0.01).fit(PROBLEM.dictionaries, PROBLEM.y)
    dense = dense_posterior(kron(PROBLEM.dictionaries), PROBLEM.y, kron(model.variances_), 0.01)
    slope = (kron(model.variances_) * (dense.q - np.abs(dense.S[:, 0]) ** 2)).reshape(12, 12)
    expected = max(np.abs(slope.sum(axis=1)).max(), np.abs(slope.sum(axis=0)).max()) / PROBLEM.y.size
    assert model.certificate_.check(PROBLEM.dictionaries, PROBLEM.y).measured == pytest.approx(expected, rel=1e-6)


def test_updates_that_do_not_descend_say_so():
    for settings in ({"update": "svd"}, {"update": "am", "coupling": 0.5, "coupling_update": "nnls"}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            certificate = KroneckerSBL(**settings).fit(PROBLEM.dictionaries, PROBLEM.y).certificate_
        checked = certificate.check(PROBLEM.dictionaries, PROBLEM.y)
        assert checked.status == certificate.status == "not applicable"
        assert "not stationary" in checked.reason
        assert (
            replace(certificate, coef=1.01 * certificate.coef).check(PROBLEM.dictionaries, PROBLEM.y).status
            == "invalid"
        )


def test_pursuit_is_certified_by_what_least_squares_leave():
    model = KroneckerOMP(noise_variance=PROBLEM.noise_variance).fit(PROBLEM.dictionaries, PROBLEM.y)
    certificate = model.certificate_
    assert certificate.check(PROBLEM.dictionaries, PROBLEM.y).valid
    wrong = certificate.coef.copy()
    wrong[model.support_[0]] += 100 * certificate.bound * np.abs(wrong).max()
    assert not replace(certificate, coef=wrong).check(PROBLEM.dictionaries, PROBLEM.y).valid
    for name, value in (("noise_variance", 1e-9), ("n_nonzero", (99, 99))):
        changed = replace(certificate, **{"noise_variance": 1e-9, name: value}).check(PROBLEM.dictionaries, PROBLEM.y)
        assert not changed.valid
        assert "could be added" in changed.reason
    full = KroneckerOMP(n_nonzero=(1, 1), tol=1e-6).fit(PROBLEM.dictionaries, PROBLEM.y).certificate_
    assert full.check(PROBLEM.dictionaries, PROBLEM.y).valid
    elsewhere = full.coef.copy()
    elsewhere[np.argmin(np.abs(elsewhere))] = 1e-3
    assert "outside" in replace(full, coef=elsewhere).check(PROBLEM.dictionaries, PROBLEM.y).reason
    with pytest.raises(ValueError, match="columns of the fit"):
        full.check([PROBLEM.dictionaries[0][:, :-1], PROBLEM.dictionaries[1]], PROBLEM.y)
