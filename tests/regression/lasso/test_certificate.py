"""The certificate of a penalised fit: what it must accept, what it must refuse, and how sharp it is."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.penalties.separable import CappedL1, LogSum, Lq
from sparsetheory.regression import WorkingSetLasso, WorkingSetLassoCV

PENALTIES = {
    "l1": "l1",
    "mcp": "mcp",
    "scad": "scad",
    "l0": "l0",
    "cel0": "cel0",
    "lq": Lq(1.0, 0.5),
    "log-sum": LogSum(1.0, 0.5),
    "capped": CappedL1(1.0, 1.0),
}
every_penalty = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)


def _problem(n=60, d=20, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, X[:, 0] - 2 * X[:, 1] + 3 + 0.1 * rng.standard_normal(n)


@pytest.fixture(scope="module")
def fitted():
    X, y = _problem()
    return {
        name: (X, y, WorkingSetLasso(0.1, penalty=penalty, unpenalised=[5]).fit(X, y).certificate_)
        for name, penalty in PENALTIES.items()
    }


def _excess(X, y, w, b, levels, sharp):
    """How far the l1 objective of a model is above that of a fit of much higher accuracy."""

    def objective(w, b):
        return 0.5 * np.mean((y - X @ w - b) ** 2) + levels @ np.abs(w)

    return objective(w, b) - objective(sharp.coef_, sharp.intercept_)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_fit_is_valid_and_nothing_near_it(name, fitted):
    X, y, c = fitted[name]
    assert c.valid
    assert c.measured <= c.bound
    assert c.check(X, y) == replace(c, measured=c.check(X, y).measured)
    unpenalised, penalised = c.coef.copy(), c.coef.copy()
    unpenalised[5] += 0.01
    penalised[1] *= 0.99
    wrong = {
        "unpenalised": replace(c, coef=unpenalised),
        "penalised": replace(c, coef=penalised),
        "intercept": replace(c, intercept=c.intercept + 0.01),
        "level": replace(c, penalty=c.penalty.with_alpha(2 * c.alpha)),
        "tolerance": replace(c, tol=2 * c.tol),
        "bound / 2": replace(c, bound=c.bound / 2),
        "bound * 2": replace(c, bound=c.bound * 2),
        "no intercept": replace(c, fit_intercept=False),
        "nan": replace(c, coef=np.full(20, np.nan)),
    }
    for what, changed in wrong.items():
        verdict = changed.check(X, y)
        assert not verdict.valid, what
        assert verdict.reason, what
    assert not c.check(X, y + 1000).valid
    assert not c.check(X, 1000 * y).valid
    assert not c.check(X[:, ::-1], y).valid


@pytest.mark.parametrize("move", [0.7, 1.4])
@pytest.mark.parametrize("which", ["intercept", "free", "active", "zero"])
def test_the_bound_of_the_l1_norm_is_sharp(which, move, fitted):
    # Moved until the objective is `move` times the bound above its minimum: right below one, wrong above.
    X, y, c = fitted["l1"]
    place = {"intercept": None, "free": 5, "active": 1, "zero": 9}[which]
    sharp = WorkingSetLasso(0.1, unpenalised=[5], tol=1e-14).fit(X, y)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        w, b = sharp.coef_.copy(), sharp.intercept_
        if place is None:
            b += middle
        else:
            w[place] += middle
        below = _excess(X, y, w, b, c.feature_alphas, sharp) < move * c.bound
        low, high = (middle, high) if below else (low, middle)
    moved = replace(c, coef=w, intercept=b).check(X, y)
    assert moved.valid == (move < 1)
    if move > 1:
        assert moved.measured == pytest.approx(move * c.bound, rel=0.05)


@every_penalty
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_missed_tolerance_stays_missed(penalty):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 100)), rng.standard_normal(50)
    model = WorkingSetLasso(0.01, penalty=penalty, max_iter=1, tol=1e-12).fit(X, y)
    once, twice = model.certificate_, model.certificate_.check(X, y)
    assert once.status == twice.status
    assert once.valid == (once.measured <= 1.01 * once.bound)
    assert model.dual_gap_ == once.measured == pytest.approx(twice.measured, rel=1e-6, abs=1e-15)


@every_penalty
def test_check_takes_what_fit_takes(penalty):
    X, y = _problem()
    weights = np.random.default_rng(1).uniform(0.5, 2, y.size)
    c = WorkingSetLasso(0.1, penalty=penalty, unpenalised=[5]).fit(X, y, sample_weight=weights).certificate_
    pieces = sparse.csc_array(
        (np.repeat(X.T.ravel(), 2) / 2, np.tile(np.repeat(np.arange(60), 2), 20), 120 * np.arange(21))
    )
    for same in (X.tolist(), pd.DataFrame(X), sparse.coo_matrix(X), sparse.dia_array(X), np.asfortranarray(X), pieces):
        checked = c.check(same, y.tolist(), weights.tolist(), random_state=3)
        assert checked.valid
        assert checked.measured == pytest.approx(c.measured, rel=1e-6, abs=1e-12)
    assert not c.check(X, y).valid
    for wrong, message in (
        ((X[:, 1:], y, weights), "19 features"),
        ((X, y[1:], weights), "inconsistent numbers of samples"),
        ((X, y, weights[1:]), "sample_weight"),
        ((X, y, np.nan), "sample_weight"),
        ((np.where(X > 2, np.nan, X), y, weights), "X contains NaN"),
        ((X.astype(np.float16), y, weights), "half precision"),
        ((X, 1e200 * y, weights), "y must not hold"),
    ):
        with pytest.raises(ValueError, match=message):
            c.check(*wrong)


@pytest.mark.parametrize("mean", [1e3, 1e5, 1e7])
def test_single_precision_is_certified_as_it_predicts(mean):
    X, y = _problem()
    Z = (X + mean).astype(np.float32)
    model = WorkingSetLasso(0.1).fit(Z, y)
    sharp = WorkingSetLasso(0.1, tol=1e-13).fit(Z.astype(np.float64), y)
    wide = Z.astype(np.float64) - mean
    w, b = model.coef_.astype(np.float64), model.intercept_ + mean * model.coef_.astype(np.float64).sum()
    sharp.intercept_ += mean * sharp.coef_.sum()
    true = _excess(wide, y, w, b, np.full(20, 0.1), sharp)
    assert model.coef_.dtype == model.certificate_.coef.dtype == np.float32
    assert model.certificate_.valid
    assert true <= model.certificate_.bound


@pytest.mark.parametrize("layout", [np.asarray, sparse.csc_array])
@pytest.mark.parametrize("offset", [1e10, 1e11, 1e12])
def test_columns_with_large_means_are_right(offset, layout):
    X, y = _problem()
    Z = X + offset
    model = WorkingSetLasso(0.1).fit(layout(Z), y)
    plain = WorkingSetLasso(0.1).fit(Z - offset, y)
    assert model.support_.tolist() == [0, 1]
    np.testing.assert_allclose(model.coef_, plain.coef_, atol=1e-6)
    assert model.certificate_.valid
    assert model.certificate_.check(layout(Z), y).valid


@pytest.mark.parametrize(("X_mean", "y_mean"), [(1e14, 0.0), (0.0, 1e14), (0.0, 1e15)])
def test_what_no_intercept_can_hold_is_said_so(X_mean, y_mean):
    X, y = _problem()
    with pytest.warns(ConvergenceWarning, match="Take large means off"):
        model = WorkingSetLasso(0.1).fit(X + X_mean, y + y_mean)
    assert not model.certificate_.valid
    assert not model.certificate_.check(X + X_mean, y + y_mean).valid


@pytest.mark.parametrize("y_mean", [1e9, 1e12])
def test_responses_with_large_means_are_no_false_alarm(y_mean):
    X, y = _problem()
    model = WorkingSetLasso(0.1).fit(X, y + y_mean)
    assert model.certificate_.valid
    assert model.certificate_.check(X, y + y_mean).valid


@pytest.mark.parametrize("distance", 10.0 ** np.arange(-14, -8))
@pytest.mark.parametrize("mean", [0.0, 1e4])
def test_fit_and_check_agree_on_nearly_dependent_unpenalised_features(distance, mean):
    X, y = _problem(d=8)
    X[:, 6] = X[:, 5] + distance * X[:, 7]
    X[:, 4] = X[:, 2] + X[:, 3]
    X = X + mean
    model = WorkingSetLasso(0.1, unpenalised=[2, 3, 4, 5, 6]).fit(X, y)
    assert model.certificate_.valid, model.certificate_.reason
    assert model.certificate_.check(X, y).valid


def test_explained_responses_need_no_feature_and_are_certified():
    X, _ = _problem()
    for response, free in ((np.full(60, 3.3), None), (1.5 * X[:, 5] + 0.1, [5]), (np.zeros(60), None)):
        for dtype in (np.float32, np.float64):
            model = WorkingSetLasso(0.1, unpenalised=free).fit(X.astype(dtype), response.astype(dtype))
            assert set(model.support_) <= {5}
            assert model.certificate_.valid, model.certificate_.reason


def test_half_of_what_is_best_is_found_out(fitted):
    X, y, c = fitted["mcp"]
    half = np.where(np.arange(20) == 5, c.coef, 0.5 * c.coef)
    intercept = float(np.mean(y - X @ half))
    assert not replace(c, coef=half, intercept=intercept).check(X, y).valid


def test_a_column_without_information_must_not_be_used(fitted):
    X, y, _ = fitted["mcp"]
    Z = X.copy()
    Z[:, 7] = 1.0
    model = WorkingSetLasso(0.1, penalty="mcp").fit(Z, y)
    used = model.coef_.copy()
    used[7] = 1.0
    assert model.certificate_.check(Z, y).valid
    assert not replace(model.certificate_, coef=used, intercept=model.intercept_ - 1.0).check(Z, y).valid


def test_the_certificate_of_the_chosen_level():
    X, y = _problem()
    X, y = X.astype(np.float32), y.astype(np.float32)
    model = WorkingSetLassoCV(n_alphas=8, cv=3).fit(X, y)
    assert model.certificate_.alpha == model.alpha_
    assert model.certificate_.valid
    assert model.certificate_.check(X, y).valid
    assert model.path_.coefs.dtype == model.coef_.dtype == np.float32


@pytest.mark.parametrize("c", [1e-8, 1e8])
def test_units(c):
    # Gap and bound are in the unit of the square of the response, whatever the units of the features.
    X, y = _problem()
    units = 10.0 ** np.random.default_rng(1).uniform(-8, 8, 20)
    one = WorkingSetLasso(0.1, unpenalised=[5]).fit(X, y)
    other = WorkingSetLasso(0.1 * c, unpenalised=[5], weights=units).fit(X * units, c * y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked = other.certificate_.check(X * units, c * y)
    assert checked.valid
    assert checked.bound == pytest.approx(c**2 * one.certificate_.bound)
    np.testing.assert_array_equal(other.support_, one.support_)
    np.testing.assert_allclose(other.coef_ * units / c, one.coef_, rtol=1e-4, atol=1e-6)


def test_what_rounding_is_allowed_is_small():
    X, y = _problem()
    c = WorkingSetLasso(0.1, tol=1e-10).fit(X, y).certificate_
    assert c.valid
    assert not replace(c, intercept=c.intercept + (3 * c.bound) ** 0.5).check(X, y).valid
    other = WorkingSetLasso(0.1, penalty="mcp", tol=1e-10).fit(X, y).certificate_
    assert other.valid
    assert not replace(other, intercept=other.intercept + 2 * other.bound).check(X, y).valid
