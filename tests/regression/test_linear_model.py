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
    f"anchored {solver} {sigma}": RandomSupportRegressor(3, solver=solver, noise_std=sigma, tol=1e-10, random_state=0)
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
    "stepwise of given noise": ForwardBackward(noise_std=0.3),
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


def _repeated(X):
    """Every entry in two pieces, by columns."""
    rows = np.tile(np.repeat(np.arange(N), 2), D)
    return sparse.csc_array((np.repeat(X.T.ravel(), 2) * np.tile([0.25, 0.75], N * D), rows, 2 * N * np.arange(D + 1)))


@every
def test_repeated_entries_mean_their_sum(model):
    X, y = _problem()
    pieces = _repeated(X)
    stored = pieces.nnz, pieces.data.copy()
    weights = np.random.default_rng(0).uniform(0.5, 2, N)
    one, other = (clone(model).fit(Z, y, sample_weight=weights) for Z in (sparse.csc_array(X), pieces))
    np.testing.assert_allclose(other.coef_, one.coef_, atol=1e-9)
    np.testing.assert_allclose(other.predict(pieces), one.predict(X), atol=1e-9)
    assert pieces.nnz == stored[0]
    np.testing.assert_array_equal(pieces.data, stored[1])


# A clock in nanoseconds: 100 different values in double precision, of relative spread 6e-12.
_T = np.random.default_rng(4).standard_normal(100)
CLOCK = np.column_stack([1.7e18 + 1e7 * _T, np.random.default_rng(5).standard_normal((100, 5))])
TICKS = 3 * _T + 0.1 * np.random.default_rng(6).standard_normal(100)
CLOCK_MODELS = [
    OMP(1),
    ForwardBackward(),
    NIHT(1),
    HTP(1),
    CoSaMP(1),
    SplicingRegressor(1),
    L0SwapRegressor(0.05),
    PufferLasso(0.1),
    OutlierPeelingLasso(0.1),
    WorkingSetLasso(0.1, weights=[1e7, 1, 1, 1, 1, 1]),
    WorkingSetLasso(0.1, penalty="mcp", weights=[1e7, 1, 1, 1, 1, 1]),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("layout", [np.asarray, np.asfortranarray, sparse.csc_array, sparse.csr_array])
@pytest.mark.parametrize("model", CLOCK_MODELS, ids=lambda m: type(m).__name__)
def test_columns_with_large_means_carry_information(model, layout, weighted):
    weights = np.random.default_rng(0).uniform(0.5, 2, 100) if weighted else None
    fitted = clone(model).fit(layout(CLOCK), TICKS, sample_weight=weights)
    assert fitted.support_[0] == 0
    assert fitted.score(CLOCK, TICKS) > 0.99


@every
@pytest.mark.parametrize("weighted", [False, True])
def test_last_digits_carry_none(model, weighted):
    X, y = _problem()
    X[:, 2] = 0.3
    X[::2, 2] = 0.1 + 0.2
    weights = np.random.default_rng(0).uniform(0.5, 2, N) if weighted else None
    for design in (X, sparse.csc_array(X)):
        assert clone(model).set_params(fit_intercept=True).fit(design, y, sample_weight=weights).coef_[2] == 0


@every_one
@pytest.mark.parametrize("scale", [1e155, 1e-156])
def test_squares_out_of_range_are_refused_by_name(model, scale):
    X, y = _problem()
    with pytest.raises(ValueError, match="y must not"):
        clone(model).fit(X, scale * y)
    X[:, 7] *= scale
    with pytest.raises(ValueError, match="X must not"):
        clone(model).fit(X, y)
    with pytest.raises(ValueError, match="X must not"):
        clone(model).fit(sparse.csc_array(X), y)


@every_one
@pytest.mark.parametrize("weights", [np.nan, np.inf, -1.0, "a", [1.0] * (N - 1) + [np.inf], np.ones((N, 1))])
def test_no_row_weights(model, weights):
    with pytest.raises(ValueError, match="sample_weight must"):
        clone(model).fit(*_problem(), sample_weight=weights)


@pytest.mark.parametrize("name", ["Lasso", "MCP", "weighted Lasso", "OMP", "HTP", "l0", "Puffer", "peeling"])
def test_row_weights_of_any_size(name):
    X, y = _problem()
    weights = np.random.default_rng(0).uniform(0.5, 2, N)
    one = clone(ESTIMATORS[name]).fit(X, y, sample_weight=weights)
    for size in (1e-300, 1e300):
        same = clone(ESTIMATORS[name]).fit(X, y, sample_weight=size * weights)
        np.testing.assert_allclose(same.coef_, one.coef_, atol=1e-8)
    with pytest.raises(ValueError, match="sample_weight must have a finite sum"):
        clone(ESTIMATORS[name]).fit(X, y, sample_weight=8e307 * weights)


def test_predictions_keep_the_digits_of_large_means():
    X, y = _problem()
    Z = (X + 1e6).astype(np.float32)
    model = WorkingSetLasso(0.05).fit(Z, y)
    exact = Z.astype(np.float64) @ model.coef_.astype(np.float64) + model.intercept_
    predicted = model.predict(Z)
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, exact, atol=1e-6)


def test_coefficients_that_single_precision_cannot_hold_are_refused():
    X, y = _problem()
    with pytest.raises(ValueError, match=r"X must have columns .* float32"):
        OMP(1).fit((1e-30 * X).astype(np.float32), 1e20 * y)
