"""The error bound of anchored l1 fits: true, recomputed from the data, and refuted where anything in it is wrong."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sparsetheory.certificates import Status
from sparsetheory.regression import (
    RandomSupportRegressor,
    adversarial_coefficients,
    make_design,
    sample_support,
    select_anchors,
    theory,
)
from sparsetheory.regression.certificates.plain_support import PlainSupport
from sparsetheory.regression.least_squares import prepare
from sparsetheory.regression.random_supports.plain_anchored import PlainAnchored, understated

N, D, K, SIGMA = 150, 300, 4, 0.1


def _case(design="clusters", seed=0):
    X = make_design(design, N, D, random_state=seed)
    S = sample_support(X, n_nonzero=K, random_state=seed + 1)
    signal = X[:, S] @ adversarial_coefficients(X, S)
    return X, signal, signal + SIGMA * np.random.default_rng(seed + 1000).standard_normal(N)


def _model(**params):
    return RandomSupportRegressor(K, **{"solver": "lasso", "noise_std": SIGMA, "random_state": 0, **params})


@pytest.fixture(scope="module")
def fitted():
    X, _, y = _case()
    return X, y, _model().fit(X, y).certificate_


@pytest.mark.parametrize("design", ["clusters", "tree", "lowrank", "gaussian", "cauchy", "multiscale"])
@pytest.mark.parametrize("options", [{}, {"fit_intercept": False, "forced": [5]}], ids=repr)
def test_right_fits_are_valid_and_the_bound_holds(design, options):
    X, signal, y = _case(design, 3)
    model = _model(**options).fit(X, y)
    checked = model.certificate_.check(X, y)
    assert model.certificate_.valid, model.certificate_.reason
    assert checked.valid, checked.reason
    error = np.mean((model.predict(X) - signal) ** 2)
    assert error < checked.bound
    assert options or error < model.error_bound(signal_size=1.0) < checked.bound
    assert 0.9 * checked.bound < checked.measured <= checked.bound


def test_the_bound_is_that_of_the_theorem(fitted):
    X, y, certificate = fitted
    target = y - y.mean()
    basis = np.linalg.qr(np.column_stack([np.ones(N), X[:, certificate.anchors.indices]]))[0]
    loss = 0.5 * np.mean((target - basis @ (basis.T @ target)) ** 2)
    size = np.sqrt(np.mean(target**2)) + SIGMA * (1 + np.sqrt(6 / N))
    level = theory.universal_alpha(SIGMA, N, D, 0.1)
    assert certificate.anchor_rank == basis.shape[1]
    assert certificate.gap == pytest.approx(1e-6 * loss, rel=1e-6)
    assert certificate.signal_size == pytest.approx(size)
    assert certificate.alpha == pytest.approx(level)
    noise = SIGMA**2 / N * (certificate.anchor_rank + 2 * np.sqrt(3 * certificate.anchor_rank) + 6)
    expected = noise + (np.sqrt(2 * level * 2 * K * size) + np.sqrt(2e-6 * loss)) ** 2
    assert certificate.bound == pytest.approx(expected, rel=1e-6)
    assert certificate.error_bound(2.0, deviation=5.0) > certificate.error_bound(2.0) > certificate.error_bound(1.0)


def _moved(certificate, j, by):
    coef = certificate.coef.copy()
    coef[j] += by
    return coef


def _swapped(certificate):
    coef = certificate.coef.copy()
    i, j = np.argsort(-np.abs(coef))[:2]
    coef[[i, j]] = coef[[j, i]]
    return coef


CORRUPTIONS = {
    "junk": lambda c: {"bound": 1e-30, "gap": 0.0, "noise_std": 1e-9},
    "half bound": lambda c: {"bound": c.bound / 2},
    "double bound": lambda c: {"bound": c.bound * 2},
    "infinite bound": lambda c: {"bound": np.inf},
    "anchor": lambda c: {"coef": _moved(c, c.anchors.indices[0], 1e-4)},
    "other coefficient": lambda c: {"coef": _moved(c, np.argmin(c.anchors.weights), 0.01)},
    "new coefficient": lambda c: {"coef": _moved(c, np.argmax(c.anchors.weights), 0.05)},
    "exchanged": lambda c: {"coef": _swapped(c)},
    "zero": lambda c: {"coef": 0 * c.coef},
    "NaN": lambda c: {"coef": np.nan * c.coef},
    "intercept": lambda c: {"intercept": c.intercept + 1e-4},
    "noise_std": lambda c: {"noise_std": 2 * c.noise_std},
    "smaller noise_std": lambda c: {"noise_std": c.noise_std / 2},
    "alpha": lambda c: {"alpha": 2 * c.alpha},
    "gap": lambda c: {"gap": 2 * c.gap},
    "signal size": lambda c: {"signal_size": c.signal_size / 2},
    "rounding": lambda c: {"anchor_residual": 2 * c.anchor_residual},
    "rank": lambda c: {"anchor_rank": c.anchor_rank - 1},
    "compatibility": lambda c: {"max_compatibility": c.max_compatibility / 2},
    "k": lambda c: {"n_nonzero": c.n_nonzero + 1},
    "tolerance": lambda c: {"tol": 2 * c.tol},
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corrupted_certificates_are_invalid(fitted, name):
    X, y, certificate = fitted
    spoiled = replace(certificate, **CORRUPTIONS[name](certificate)).check(X, y)
    assert spoiled.status is Status.INVALID
    assert spoiled.reason


# The same with a bound that follows from the corrupted facts: what each comparison is for.
CONSISTENT = {
    "smaller noise_std": (lambda c: {"noise_std": c.noise_std / 2}, "residuals are too large for noise_std"),
    "smaller alpha": (lambda c: {"alpha": 0.99 * c.alpha}, "below the universal one|not within tol"),
    "smaller compatibility": (
        lambda c: {"max_compatibility": c.max_compatibility / 2},
        "not certified for such supports",
    ),
    "larger k": (lambda c: {"n_nonzero": c.n_nonzero + 1}, "not certified for such supports"),
    "uncertified": (lambda c: {"anchors": replace(c.anchors, certified=False)}, "not certified for such supports"),
    "rank": (lambda c: {"anchor_rank": c.anchor_rank - 1}, "dimensions, not"),
    "weights": (lambda c: {"anchors": replace(c.anchors, weights=c.anchors.weights[::-1])}, "not of this design"),
    "basis": (lambda c: {"anchors": replace(c.anchors, Q=c.anchors.Q[::-1])}, "not of this design"),
}


def _consistent(certificate, X, y):
    """Return a certificate with the signal and the bound that its other facts imply."""
    size = np.std(y) + certificate.noise_std * (1 + np.sqrt(6 / N))
    certificate = replace(certificate, signal_size=float(size))
    return replace(certificate, bound=certificate.error_bound())


@pytest.mark.parametrize("name", CONSISTENT)
def test_consistent_forgeries_are_refuted_too(fitted, name):
    X, y, certificate = fitted
    corruption, reason = CONSISTENT[name]
    assert _consistent(certificate, X, y).check(X, y).valid
    checked = _consistent(replace(certificate, **corruption(certificate)), X, y).check(X, y)
    assert not checked.valid
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(checked.reason)


def test_fresh_supports_are_drawn():
    # No anchors at all, with the word of a certificate that there need be none.
    X, _, y = _case()
    base = select_anchors(X, n_nonzero=K, method="random", n_anchors=0, random_state=0)
    model = _model(
        anchors=replace(base, certified=True, max_compatibility=2.0 * K, n_nonzero=K), fit_intercept=False
    ).fit(X, y)
    assert model.certificate_.status is not Status.NOT_APPLICABLE
    checked = model.certificate_.check(X, y)
    assert "fresh supports fail" in checked.reason or "noise_std" in checked.reason
    generous = replace(model.certificate_, anchors=replace(model.anchors_, delta=0.6))
    assert "fresh supports fail" not in generous.check(X, y).reason


def test_other_data_are_invalid(fitted):
    X, y, certificate = fitted
    rng = np.random.default_rng(0)
    assert not certificate.check(X, 1e6 * rng.standard_normal(N)).valid
    assert not certificate.check(X, y + 0.01 * rng.standard_normal(N)).valid
    assert not certificate.check(X, y + 1e-3).valid
    assert not certificate.check(X, 2 * y).valid
    assert not certificate.check(rng.standard_normal((N, D)), y).valid
    assert not certificate.check(X, y, np.arange(1.0, N + 1)).valid
    fewer = certificate.check(X[:-1], y[:-1])
    assert not fewer.valid
    assert fewer.reason == "the fit had 150 rows; got 149"
    with pytest.raises(ValueError, match="X has 299 features, but PredictionCertificate is expecting 300"):
        certificate.check(X[:, 1:], y)
    with pytest.raises(ValueError, match="random_state must be"):
        certificate.check(X, y, random_state="seed")


def test_the_tolerance_decides(fitted):
    X, y, certificate = fitted
    j = certificate.anchors.indices[0]
    column = X[:, j] - X[:, j].mean()
    step = certificate.anchor_residual * np.sqrt(N) / np.linalg.norm(column)
    for share, valid in ((0.5, True), (2.0, False)):
        moved = replace(
            certificate,
            coef=_moved(certificate, j, share * step),
            intercept=certificate.intercept - share * step * X[:, j].mean(),
        )
        assert moved.check(X, y).valid == valid


def test_the_gap_decides():
    X, _, y = _case("gaussian")
    certificate = _model().fit(X, y).certificate_
    # The fit at a larger level is so far from the minimum at this one.
    other = _model(alpha=1.05 * certificate.alpha, tol=1e-12).fit(X, y)
    residual, weights = y - other.predict(X), certificate.anchors.weights
    alive = weights > 0
    basis = np.linalg.qr(np.column_stack([np.ones(N), X[:, certificate.anchors.indices]]))[0]
    target = y - basis @ (basis.T @ y)
    feasible = 1 / np.max(np.abs(X.T @ residual)[alive] / (N * certificate.alpha * weights[alive]))
    point = residual * min(feasible, (residual @ target) / (residual @ residual))
    energy = 0.5 * np.mean(target**2)
    primal = 0.5 * np.mean(residual**2) + certificate.alpha * weights @ np.abs(other.coef_)
    gap = primal - (energy - 0.5 * np.mean((target - point) ** 2))
    assert gap > 1e-5 * energy
    for share, valid in ((0.9, False), (1.01, True)):
        looser = replace(certificate, coef=other.coef_, intercept=other.intercept_, tol=share * gap / energy)
        looser = replace(looser, anchor_residual=other.certificate_.anchor_residual)
        looser = replace(looser, gap=share * gap + N * np.finfo(float).eps * energy)
        looser = replace(looser, bound=looser.error_bound())
        assert looser.stated().check(X, y).valid == valid


@pytest.mark.parametrize("factor", [2, 10, 100])
def test_an_understated_noise_level_is_noticed(factor):
    X, _, y = _case(seed=2)
    certificate = _model(noise_std=SIGMA / factor).fit(X, y).certificate_
    assert not certificate.valid
    assert not certificate.check(X, y).valid
    assert certificate.reason == "the residuals are too large for noise_std"


def test_a_fit_that_interpolates_says_nothing_about_the_noise():
    X, _, y = _case("gaussian")
    data = prepare(X, y, fit_intercept=True)
    coef = np.zeros(D)
    coef[:145] = np.linalg.lstsq(X[:, :145], y)[0]
    model = PlainSupport(data, y, coef, 0.0, np.empty(0, np.intp))
    design = PlainAnchored(data, np.empty(0, np.intp))
    assert design.refitted(model)[1] < N / 5
    assert understated(design, model, SIGMA / 3, K)
    assert not understated(design, model, SIGMA, K)


def test_rounding_of_anchors_follows_from_sizes(fitted):
    X, y, certificate = fitted
    eps, coef = np.finfo(float).eps, np.abs(certificate.coef)
    terms = np.linalg.norm(y) + np.linalg.norm(X - X.mean(axis=0), axis=0) @ coef
    sizes = np.linalg.norm(y) + np.linalg.norm(X, axis=0) @ coef + abs(certificate.intercept) * np.sqrt(N)
    expected = (1e-11 + N * eps) * terms + (np.count_nonzero(coef) + 2) * eps * sizes
    assert certificate.anchor_residual == pytest.approx(expected / np.sqrt(N), rel=1e-9)


def test_check_takes_what_fit_takes(fitted):
    X, y, certificate = fitted
    frozen = X.copy()
    frozen.flags.writeable = False
    for kind in (X.tolist(), pd.DataFrame(X), sparse.coo_array(X), sparse.csr_matrix(X), frozen):
        assert certificate.check(kind, list(y)).valid
    weights = np.random.default_rng(0).uniform(0.5, 2, N)
    weighted = _model().fit(X, y, weights).certificate_
    assert weighted.check(X, y, weights).valid
    assert not weighted.check(X, y).valid
    single = _model().fit(X.astype(np.float32), y).certificate_
    assert single.coef.dtype == np.float32
    assert single.valid
    assert single.check(X.astype(np.float32), y).valid


def test_one_certificate_for_many_targets():
    X, signal, y = _case()
    Y = np.column_stack([y, 2 + 0.5 * signal + SIGMA * np.random.default_rng(7).standard_normal(N)])
    certificate = _model().fit(X, Y).certificate_
    assert certificate.check(X, Y).valid
    assert certificate.bound == certificate.error_bound().max()
    assert not certificate.check(X, Y[:, ::-1]).valid
    with pytest.raises(ValueError, match="y must have 2 targets"):
        certificate.check(X, Y[:, :1])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"solver": "foba"}, "no theorem bounds the error of solver='foba'"),
        ({"solver": "omp"}, "no theorem"),
        ({"solver": "lasso+prune"}, "no theorem"),
        ({"noise_std": None}, "estimated"),
        ({"alpha": 0.02}, "below the universal one"),
        ({"n_draws": 2}, "several draws"),
        ({"ensemble": "mean"}, "several draws"),
        ({"anchors": [1, 2]}, "not certified"),
    ],
)
def test_where_no_theorem_applies(options, reason):
    X, _, y = _case()
    model = _model(**options).fit(X, y)
    certificate = model.certificate_
    assert certificate.status is Status.NOT_APPLICABLE
    assert reason in certificate.reason
    assert np.isnan(certificate.bound)
    assert np.isnan(model.error_bound())
    assert certificate.check(X, y).status is Status.NOT_APPLICABLE
    with pytest.raises(ValueError, match="NaN"):
        certificate.check(np.nan * X, y)


@pytest.mark.parametrize("solver", ["foba", "omp", "lasso+prune"])
def test_greedy_solvers_certify_their_support(solver):
    X, _, y = _case()
    model = _model(solver=solver, forced=[7]).fit(X, y)
    certificate = model.support_certificate_
    assert certificate.check(X, y).valid
    assert not certificate.check(X, 2 * y).valid
    rule = certificate.rules[0]
    assert not replace(certificate, rules=(replace(rule, cost=100 * rule.cost),)).check(X, y).valid
    j = np.setdiff1d(model.support_, 7)[0]
    assert not replace(certificate, coef=_moved(certificate, j, 1e-6)).check(X, y).valid
    assert not replace(certificate, coef=_moved(certificate, 7, 1e-6)).check(X, y).valid
    assert _model().fit(X, y).support_certificate_ is None
    both = _model(solver=solver).fit(X, np.column_stack([y, y[::-1]])).support_certificate_
    assert both.check(X, np.column_stack([y, y[::-1]])).valid


def test_anchors_of_another_design_are_not_certified_in_silence():
    X, _, y = _case()
    anchors = select_anchors(X, n_nonzero=K, random_state=5)
    same = _model(anchors=anchors, fit_intercept=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same.fit(X, y).certificate_.check(X, y).valid
        assert same.fit(sparse.csc_array(X), y).anchors_.certified
    for other in (make_design("clusters", N, D, random_state=9), X * np.linspace(1, 2, D), X[:, ::-1]):
        with pytest.warns(UserWarning, match="anchors are of another design"):
            model = same.fit(other, y)
        assert not model.anchors_.certified
        assert model.certificate_.status is Status.NOT_APPLICABLE
