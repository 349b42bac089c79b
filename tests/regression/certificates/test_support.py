"""Certificates of models with few features: right ones are valid, wrong ones are not, and the bounds are not loose."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.certificates import Status
from sparsetheory.regression import HTP, NIHT, OMP, CoSaMP, ForwardBackward, L0SwapRegressor, SplicingRegressor
from sparsetheory.regression.certificates.support_rules import Exchanges, Greedy, PenalisedCount, Size, Worthwhile

MODELS = [
    OMP(4),
    OMP(tol=8.0),
    OMP(4, fit_intercept=False),
    ForwardBackward(),
    ForwardBackward(noise_std=0.3),
    ForwardBackward(10, n_nonzero=4),
    NIHT(4),
    NIHT(4, refit=False),
    HTP(4),
    CoSaMP(4),
    SplicingRegressor(),
    SplicingRegressor(4),
    L0SwapRegressor(0.02),
    L0SwapRegressor(0.02, ridge=0.1),
    L0SwapRegressor(0.02, swaps="none"),
]


def _data(seed=0, n=60, d=30):
    rng = np.random.default_rng(seed)
    X, w = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-1, 1, d) + 1, np.zeros(d)
    w[[2, 9, 17, 28]] = np.array([1, -2, 1.5, 1]) / X[:, [2, 9, 17, 28]].std(axis=0)
    return X, X @ w + 3 + 0.3 * rng.standard_normal(n)


def _fit(model, X, y, sample_weight=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return clone(model).fit(X, y, sample_weight).certificate_


@pytest.fixture(scope="module", params=MODELS, ids=repr)
def fitted(request):
    X, y = _data()
    return X, y, _fit(request.param, X, y)


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_right_fits_are_valid(model):
    X, y = _data(1)
    weights = np.random.default_rng(0).uniform(0, 2, y.size)
    X[:, 3] = X[:, 2] + 1e-6 * X[:, 4]
    for design, weight in ((X, weights), (X.astype(np.float32), None), (sparse.csr_array(X), weights), (X + 1e3, None)):
        certificate = _fit(model, design, y, weight)
        checked = certificate.check(design, y, weight)
        assert certificate.valid, certificate.reason
        assert checked.valid, checked.reason
        assert checked.measured == pytest.approx(certificate.measured, abs=certificate.bound)


def test_check_takes_what_fit_takes():
    X, y = _data()
    X[np.abs(X) < 0.5] = 0.0
    certificate = OMP(4).fit(X, y).certificate_
    frozen = X.copy()
    frozen.flags.writeable = False
    kinds = [X.tolist(), pd.DataFrame(X), np.asfortranarray(X), frozen]
    kinds += [sparse.csc_array(X).asformat(name) for name in ("coo", "csr", "csc", "dok", "lil", "bsr", "dia")]
    for kind in kinds:
        assert certificate.check(kind, list(y)).valid
    assert not certificate.check(X, y, sample_weight=np.arange(1.0, 61)).valid


def test_one_certificate_for_many_targets():
    X, y = _data()
    Y = np.column_stack([y, y[::-1], 3 * y])
    certificate = OMP(4).fit(X, Y).certificate_
    assert certificate.valid
    assert certificate.check(X, Y).valid
    assert not certificate.check(X, Y[:, ::-1]).valid
    assert not replace(certificate, coef=certificate.coef[::-1]).check(X, Y).valid
    with pytest.raises(ValueError, match="y must have 3 targets, as in the fit; got 2"):
        certificate.check(X, Y[:, :2])


CORRUPTIONS = {
    "coefficient": lambda c, j, k: {"coef": _moved(c, j, 1.001)},
    "exchanged": lambda c, j, k: {"coef": _exchanged(c, j, k)},
    "dropped": lambda c, j, k: {"coef": _moved(c, j, 0.0)},
    "dropped with its support": lambda c, j, k: {"coef": _moved(c, j, 0.0), "support": c.support[c.support != j]},
    "zero": lambda c, j, k: {"coef": 0 * c.coef, "support": c.support[:0]},
    "NaN": lambda c, j, k: {"coef": _moved(c, j, np.nan)},
    "intercept": lambda c, j, k: {"intercept": c.intercept + 0.01},
    "NaN intercept": lambda c, j, k: {"intercept": np.nan},
    "support": lambda c, j, k: {"support": c.support[1:]},
    "tighter bound": lambda c, j, k: {"bound": c.bound / 2},
    "looser bound": lambda c, j, k: {"bound": c.bound * 2},
    "infinite bound": lambda c, j, k: {"bound": np.inf},
    "objective": lambda c, j, k: {"objective": c.objective * (1 + 1e-8)},
    "rounded": lambda c, j, k: {"coef": c.coef.astype(np.float32).astype(np.float64), "iteration": 0.0},
}


def _moved(certificate, j, factor):
    coef = certificate.coef.copy()
    coef[j] *= factor
    return coef


def _exchanged(certificate, j, k):
    coef = certificate.coef.copy()
    coef[[j, k]] = coef[[k, j]]
    return coef


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corrupted_certificates_are_invalid(fitted, name):
    X, y, certificate = fitted
    j, k = certificate.support[:2]
    spoiled = replace(certificate, **CORRUPTIONS[name](certificate, j, k)).check(X, y)
    assert spoiled.status is Status.INVALID
    assert spoiled.reason


def test_other_data_are_invalid(fitted):
    X, y, certificate = fitted
    rng = np.random.default_rng(5)
    assert not certificate.check(X, 2 * y).valid
    assert not certificate.check(X, y + 1e-3 * rng.standard_normal(y.size)).valid
    # What the columns of the model cannot see changes the objective.
    basis = np.linalg.qr(np.column_stack([np.ones(y.size), X[:, certificate.support]]))[0]
    outside = rng.standard_normal(y.size)
    assert not certificate.check(X, y + 0.1 * (outside - basis @ (basis.T @ outside))).valid
    assert not certificate.check(rng.standard_normal(X.shape), y).valid
    assert not certificate.check(2 * X, y).valid
    with pytest.raises(ValueError, match="X has 29 features, but SupportCertificate is expecting 30"):
        certificate.check(X[:, 1:], y)
    with pytest.raises(ValueError, match="NaN"):
        certificate.check(np.where(X > 1, np.nan, X), y)


@pytest.mark.parametrize("model", [OMP(4), HTP(4), SplicingRegressor(4), L0SwapRegressor(0.02)], ids=repr)
@pytest.mark.parametrize("factor", [1.5, -1.5])
def test_the_bound_is_what_decides(model, factor):
    X, y = _data()
    certificate = _fit(model, X, y)
    j = certificate.support[1]
    column = X[:, j] - X[:, j].mean()
    step = certificate.bound * np.linalg.norm(y) / np.linalg.norm(column)
    for share, valid in ((0.5, True), (factor, False)):
        moved = certificate.coef.copy()
        moved[j] += share * step
        # The constant is refitted: only the derivative by the coefficient is left.
        spoiled = replace(certificate, coef=moved, intercept=certificate.intercept - share * step * X[:, j].mean())
        checked = spoiled.check(X, y)
        assert checked.measured == pytest.approx(abs(share) * certificate.bound, rel=0.2)
        assert (checked.measured <= certificate.bound) == valid
        assert checked.valid == valid


def test_unsettled_fits_are_never_valid():
    X, y = _data()
    X[:, 5] = X[:, 2] + 0.1 * X[:, 5]
    for model in (NIHT(4, max_iter=1, refit=False), HTP(4, max_iter=1), L0SwapRegressor(1e-4, max_iter=1)):
        with pytest.warns(ConvergenceWarning):
            certificate = model.fit(X, y).certificate_
        assert not certificate.valid
        assert not certificate.check(X, y).valid
        assert "before it settled" in certificate.reason


# ---- promises ----


def test_a_smaller_support_is_refused_where_the_number_is_promised():
    X, y = _data()
    short = OMP(3).fit(X, y).certificate_
    full = OMP(4).fit(X, y).certificate_
    wrong = replace(short, rules=(Size(4),)).check(X, y)
    assert wrong.reason.startswith("3 of 4 features, and feature ")
    assert "at most 3" in replace(full, rules=(Size(3),)).check(X, y).reason
    noiseless = X[:, [2]] @ [1.0]
    assert OMP(4).fit(X, noiseless).certificate_.check(X, noiseless).valid


def test_a_tolerance_is_promised_too():
    X, y = _data()
    certificate = OMP(tol=8.0).fit(X, y).certificate_
    residual = y - X @ certificate.coef - certificate.intercept
    assert residual @ residual <= 8.0
    assert "would help" in replace(certificate, rules=(Size(30, 0.9 * (residual @ residual)),)).check(X, y).reason


def test_another_order_is_refused():
    X, y = _data()
    certificate = OMP(4).fit(X, y).certificate_
    order = certificate.rules[1].order
    for other in (order[[1, 0, 2, 3]], order[:3]):
        assert not replace(certificate, rules=(Greedy(other),)).check(X, y).valid


def test_costs_are_checked_from_both_sides():
    X, y = _data()
    certificate = ForwardBackward(noise_std=0.3).fit(X, y).certificate_
    design = np.column_stack([np.ones(y.size), X[:, certificate.support]])

    def rss(columns):
        return np.linalg.lstsq(columns, y)[1][0]

    cheapest = min(rss(np.delete(design, j + 1, axis=1)) - rss(design) for j in range(certificate.support.size))
    assert replace(certificate, rules=(Worthwhile(0.999 * cheapest),)).stated().check(X, y).valid
    assert "less than its cost" in replace(certificate, rules=(Worthwhile(1.001 * cheapest),)).check(X, y).reason


def test_exchanges_are_tried():
    X, y = _data()
    X[:, 5] = X[:, 2] + 0.3 * X[:, 6]
    certificate = OMP(4).fit(X[:, [5, 9, 17, 28]], y).certificate_
    coef, places = np.zeros(30), np.array([5, 9, 17, 28])
    coef[places] = certificate.coef
    worse = replace(certificate, coef=coef, support=places)
    saved = 1 - _fit(OMP(4), X[:, [2, 9, 17, 28]], y).objective / certificate.objective
    assert saved > 0.05
    assert "squared residual" in replace(worse, rules=(Exchanges(1, 0.99 * saved),)).check(X, y).reason
    assert replace(worse, rules=(Exchanges(1, 1.01 * saved),)).stated().check(X, y).valid


@pytest.mark.parametrize(("factor", "move"), [(60.0, "removal"), (0.01, "addition")])
def test_moves_are_compared_with_the_cost(factor, move):
    X, y = _data()
    certificate = L0SwapRegressor(0.02).fit(X, y).certificate_
    rule = certificate.rules[0]
    other = replace(rule, cost=rule.cost * factor)
    assert move in replace(certificate, rules=(other,)).check(X, y).reason
    assert not replace(certificate, alpha=certificate.alpha * factor).check(X, y).valid
    assert not replace(certificate, ridge=0.1).check(X, y).valid


def test_moves_may_gain_what_rounding_explains():
    X, y = _data()
    certificate = L0SwapRegressor(0.02).fit(X, y).certificate_
    norms = np.linalg.norm(X - X.mean(axis=0), axis=0)
    scores = np.abs((X - X.mean(axis=0)).T @ (y - X @ certificate.coef - certificate.intercept)) / norms
    gain = 0.5 * np.delete(scores, certificate.support).max() ** 2
    rounding = certificate.bound * np.linalg.norm(y)
    allowed = rounding * (2 * np.abs(certificate.coef * norms).max() + rounding)
    for share, reason in ((0.5, ""), (1.5, "addition lowers the objective by more than promised")):
        rule = replace(certificate.rules[0], cost=gain - share * allowed, allowed=0.0)
        assert replace(certificate, rules=(rule,)).stated().check(X, y).reason == reason


def test_swaps_are_compared():
    # The first column looks best alone and is worse than its copy without noise.
    rng = np.random.default_rng(0)
    clean, other = rng.standard_normal((2, 50))
    X = np.column_stack([clean + 0.3 * rng.standard_normal(50), clean, other])
    y = clean + 0.5 * other
    model = L0SwapRegressor(0.05, swaps="none", fit_intercept=False)
    certificate = model.fit(X[:, [0, 2]], y).certificate_
    coef = np.array([certificate.coef[0], 0.0, certificate.coef[1]])
    spoiled = replace(certificate, coef=coef, support=np.array([0, 2]))
    rule = certificate.rules[0]
    assert isinstance(rule, PenalisedCount)
    assert "swap" in replace(spoiled, rules=(replace(rule, swaps=True),)).check(X, y).reason


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bounds_follow_from_sizes(dtype):
    X, y = _data()
    X = X.astype(dtype)
    certificate = OMP(4).fit(X, y).certificate_
    raw, coef = X.astype(np.float64), np.abs(certificate.coef.astype(np.float64))
    terms = np.linalg.norm(y) + np.linalg.norm(raw - raw.mean(axis=0), axis=0) @ coef
    sizes = np.linalg.norm(y) + np.linalg.norm(raw, axis=0) @ coef + abs(certificate.intercept) * 60**0.5
    eps = np.finfo(np.float64).eps
    expected = (1e-11 + 2 * np.finfo(dtype).eps + 60 * eps) * terms + 6 * eps * sizes
    assert certificate.bound == pytest.approx(expected / np.linalg.norm(y), rel=1e-9)
    loose = NIHT(4, refit=False, tol=1e-3).fit(X, y).certificate_
    unit = loose.coef * np.linalg.norm(raw - raw.mean(axis=0), axis=0)
    assert loose.bound == pytest.approx(28e-3 * np.linalg.norm(unit) / np.linalg.norm(y), rel=1e-4)
    assert loose.measured > 1e-4 * loose.bound
    many = OMP(4).fit(X, np.column_stack([y, y])).certificate_
    assert many.bound == pytest.approx((eps**0.5 - 1e-11) * terms / np.linalg.norm(y) + certificate.bound, rel=1e-3)
