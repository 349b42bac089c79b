"""What every estimator of this line owes: row weights that count, refusals, and zeros where nothing is to fit."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sparsetheory.regression import (
    HTP,
    NIHT,
    OMP,
    CoSaMP,
    ForwardBackward,
    L0SwapRegressor,
    OutlierPeelingLasso,
    PufferLasso,
    RandomSupportRegressor,
    SplicingRegressor,
    WorkingSetLasso,
    WorkingSetLassoCV,
)

N, D = 60, 40
_SUPPORTS = {
    f"anchored {solver} {sigma}": RandomSupportRegressor(3, solver=solver, sigma=sigma, tol=1e-10, random_state=0)
    for solver in ("foba", "omp", "lasso", "lasso+prune")
    for sigma in (None, 0.3)
}
ESTIMATORS = {
    "Lasso": WorkingSetLasso(0.05, tol=1e-12),
    "MCP": WorkingSetLasso(0.1, penalty="mcp", tol=1e-12),
    "weighted Lasso": WorkingSetLasso(0.05, weights=np.linspace(0, 2, D), unpenalised=[3], tol=1e-12),
    "OMP": OMP(4),
    "OMP to a residual": OMP(tol=4.0),
    "stepwise": ForwardBackward(),
    "stepwise of given noise": ForwardBackward(sigma=0.3),
    "stepwise of given size": ForwardBackward(n_nonzero=3),
    "NIHT": NIHT(3),
    "HTP": HTP(3),
    "CoSaMP": CoSaMP(3),
    "splicing": SplicingRegressor(),
    "splicing, BIC": SplicingRegressor(criterion="bic", max_n_nonzero=8),
    "l0": L0SwapRegressor(0.05),
    "l0, pairs": L0SwapRegressor(0.05, swaps="pairs"),
    "Puffer": PufferLasso(0.1, tol=1e-12),
    "peeling": OutlierPeelingLasso(0.05, tol=1e-12),
    **_SUPPORTS,
    "anchored, forced": RandomSupportRegressor(3, forced=[3], random_state=0),
}
every = pytest.mark.parametrize("model", ESTIMATORS.values(), ids=ESTIMATORS)
# Folds of weighted rows are not folds of repeated rows, so this one is compared only where that does not matter.
every_one = pytest.mark.parametrize("model", [*ESTIMATORS.values(), WorkingSetLassoCV()], ids=[*ESTIMATORS, "CV"])


def _problem(seed=3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, D)) * (rng.random((N, D)) < 0.5)
    return X, 2.0 + X[:, 1] - X[:, 5] + 0.3 * rng.standard_normal(N)


@every
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_row_weights_are_repetitions(model, fit_intercept):
    X, y = _problem()
    model = clone(model).set_params(fit_intercept=fit_intercept)
    if isinstance(model, RandomSupportRegressor):
        # Anchors are random, and depend on the rows.
        model.set_params(anchors=[0, 7])
    counts = np.random.default_rng(0).integers(0, 4, N)
    repeated = clone(model).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    for design in (X, sparse.csc_array(X), sparse.csr_matrix(X)):
        weighted = clone(model).fit(design, y, sample_weight=counts)
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-6)
        assert weighted.intercept_ == pytest.approx(repeated.intercept_, abs=1e-6)
        np.testing.assert_array_equal(weighted.support_, repeated.support_)


@every_one
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (-np.ones(N), "Negative values"),
        (np.zeros(N), "at least one non-zero"),
        (np.ones(N - 1), "shape"),
        (np.full(N, np.nan), "NaN"),
    ],
)
def test_bad_row_weights(model, weights, message):
    X, y = _problem()
    with pytest.raises(ValueError, match=message):
        clone(model).fit(X, y, sample_weight=weights)


@every_one
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X, y: (X.astype(np.float16), y), "half precision"),
        (lambda X, y: (sparse.csc_array(np.where(X > 2, np.inf, X)), y), "infinity"),
        (lambda X, y: (np.where(X > 2, np.nan, X), y), "NaN"),
        (lambda X, y: (X, np.where(y > 2, np.inf, y)), "infinity"),
        (lambda X, y: (X, y[1:]), "inconsistent numbers of samples"),
    ],
)
def test_bad_data(model, spoil, message):
    with pytest.raises(ValueError, match=message):
        clone(model).fit(*spoil(*_problem()))


@every_one
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_zero_columns_get_no_coefficient(model):
    X, y = _problem()
    X[:, [2, 3]] = 0.0
    assert not clone(model).fit(X, y).coef_[[2, 3]].any()


@every_one
def test_a_constant_response_needs_no_feature(model):
    X, _ = _problem()
    fitted = clone(model).fit(X, np.full(N, 3.3))
    assert fitted.support_.size == 0
    assert not fitted.coef_.any()
    assert fitted.intercept_ == pytest.approx(3.3, rel=1e-15)


@every_one
def test_predict_needs_a_fit_and_the_same_features(model):
    X, y = _problem()
    model = clone(model)
    with pytest.raises(NotFittedError):
        model.predict(X)
    with pytest.raises(ValueError, match=f"X has 5 features, but {type(model).__name__} is expecting {D}"):
        model.fit(X, y).predict(X[:, :5])


@every_one
def test_layouts_and_read_only_designs(model):
    X, y = _problem()
    expected = clone(model).fit(X, y).coef_
    for design in (np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2]):
        design.flags.writeable = False
        np.testing.assert_allclose(clone(model).fit(design, y).coef_, expected, atol=1e-9)
