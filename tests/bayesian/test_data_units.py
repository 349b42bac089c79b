"""Results do not depend on the units of the data; the examples are those that users met."""

import numpy as np
import pytest
from scipy import sparse

from sparsetheory.bayesian import (
    SBL,
    KroneckerSBL,
    PatternCoupledSBL,
    TurboCS,
    TurboVBI,
    irs_nmse,
    make_irs_mimo,
    make_kron_sparse,
)
from sparsetheory.bayesian.data_units import DataUnits, column_norms


def _relative(found, wanted):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


@pytest.fixture(scope="module")
def regression():
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((50, 120)), np.zeros(120)
    x[[3, 40, 41, 42, 90]] = 1, -2, 1.5, 1, 0.7
    return A, x, A @ x + 0.01 * rng.standard_normal(50)


@pytest.mark.parametrize("unit", [1e-8, 1e-3, 1.0, 1e3, 1e6])
def test_kronecker_models_follow_the_unit_of_y(unit):
    p = make_kron_sparse((8, 9), (15, 15), (2, 3), snr_db=30, random_state=0)
    model = KroneckerSBL().fit(p.dictionaries, unit * p.y)
    assert _relative(model.coef_ / unit, p.x) == pytest.approx(0.0101, abs=1e-4)
    assert model.log_evidence_ + p.y.size * np.log(unit) == pytest.approx(73.227343, abs=1e-5)
    assert model.certificate_.check(p.dictionaries, unit * p.y).valid


@pytest.mark.parametrize("unit", [1.0, 1e4])
def test_the_channel_problem_follows_its_unit(unit):
    q = make_irs_mimo(snr_db=20, random_state=0)
    model = KroneckerSBL(noise_variance=q.noise_variance * unit**2).fit(q.dictionaries, unit * q.y)
    assert irs_nmse(q, model.coef_ / unit) == pytest.approx(6.1e-4, rel=0.01)


@pytest.mark.parametrize("unit", [1.0, 10.0, 100.0, 1e4])
@pytest.mark.parametrize("update", ["em", "mm"])
def test_sbl_finds_coefficients_of_any_size(regression, update, unit):
    A, x, y = regression
    model = SBL(update, max_iter=3000).fit(A, unit * y)
    assert _relative(model.coef_ / unit, x) < 7.5e-4
    assert model.certificate_.check(A, unit * y).valid
    given = SBL(update, max_iter=3000, init=np.full(120, unit**2)).fit(A, unit * y)
    assert _relative(given.coef_ / unit, x) < 7.5e-4


@pytest.mark.parametrize("share", [1e-2, 1e-3, 0.0])
def test_one_feature_in_another_unit_keeps_its_coefficient(share):
    rng = np.random.default_rng(0)
    A, x, D = rng.standard_normal((50, 120)), np.zeros(120), np.ones(120)
    x[[3, 40, 90]] = 1, -2, 1.5
    y = A @ x + 0.01 * rng.standard_normal(50)
    D[40] = 100.0
    model = SBL("mm", max_iter=3000, relative_threshold=share).fit(A * D, y)
    np.testing.assert_allclose((model.coef_ * D)[[3, 40, 90]], [0.99, -2.0, 1.49], atol=0.015)


@pytest.mark.parametrize("make", [lambda **o: SBL("mm", max_iter=2000, **o), lambda **o: PatternCoupledSBL(**o)])
def test_an_intercept_where_it_is_asked_for(make):
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((50, 20)) + 1e3, np.zeros(20)
    x[[7, 8]] = 1, -2
    y = 5 + (A - 1e3) @ x + 0.01 * rng.standard_normal(50)
    model = make(fit_intercept=True).fit(A, y)
    assert np.linalg.norm(model.coef_ - x) < 0.02
    np.testing.assert_allclose(model.predict(A), y, atol=0.1)
    checked = model.certificate_.check(A, y)
    assert checked.status == model.certificate_.status
    assert model.certificate_.check(A, y).valid
    assert not model.certificate_.check(A, y + 1.0).valid
    with pytest.raises(ValueError, match="fit_intercept=True needs a single matrix"):
        make(fit_intercept=True).fit([np.eye(2), np.eye(3)], np.ones(6))
    with pytest.raises(ValueError, match="fit_intercept must be True or False"):
        make(fit_intercept="no").fit(A, y)


def test_noise_beside_an_intercept_is_that_of_contrasts():
    # One degree of freedom goes to the constant: with no column in use the variance is the unbiased one.
    y = np.random.default_rng(0).standard_normal(6)
    A = np.zeros((6, 2))
    assert SBL(fit_intercept=True).fit(A, y).noise_variance_ == pytest.approx(np.var(y, ddof=1))


def test_factors_go_to_the_units_of_the_user_and_back(rng):
    matrices = [rng.standard_normal((4, 3)) * 1e100, rng.standard_normal((5, 6)) * 1e-90]
    units = DataUnits.of(["A", "B"], matrices, np.full(20, 1e20), [True, True])
    gammas, everything = [rng.uniform(1, 2, 3), rng.uniform(1, 2, 6)], [np.arange(3), np.arange(6)]
    outside = units.variances_out(gammas, everything)
    np.testing.assert_allclose(np.outer(*outside), np.outer(*gammas) * units.coefficients() ** 2)
    np.testing.assert_allclose(np.outer(*units.variances_in(outside)), np.outer(*gammas))
    for A in units.matrices(matrices):
        np.testing.assert_allclose(np.linalg.norm(A, axis=0), 1.0)
    assert column_norms(np.array([[3.0, 0.0], [4.0, 0.0]])).tolist() == [5.0, 1.0]
    assert column_norms(np.array([[1.0, 7.0]]), each=False).tolist() == [5.0, 5.0]


@pytest.mark.parametrize("model", [SBL(), PatternCoupledSBL(), TurboVBI(), TurboCS()])
def test_units_too_far_apart_are_refused_by_name(rng, model):
    A, y = rng.standard_normal((6, 8)), rng.standard_normal(6)
    with pytest.raises(ValueError, match=r"y and . must have other units"):
        model.fit(1e100 * A, 1e-100 * y)
    with pytest.raises(ValueError, match="noise_variance must"):
        type(model)(noise_variance=-1.0).fit(A, y)
    with pytest.raises(TypeError, match="dense"):
        model.fit(sparse.csr_array(A), y)


def test_noise_far_from_the_data_is_refused(rng):
    A, y = rng.standard_normal((6, 8)), rng.standard_normal(6)
    for model in (SBL(noise_variance=1e-200), PatternCoupledSBL(noise_variance=1e200)):
        with pytest.raises(ValueError, match=r"noise_variance must not be 1e-?[0-9]+ times"):
            model.fit(A, y)
