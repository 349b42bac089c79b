"""Models with few features in any unit, on any kind of array, and on data that leave little to choose."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.regression import (
    HTP,
    NIHT,
    OMP,
    CoSaMP,
    ForwardBackward,
    L0SwapRegressor,
    RandomSupportRegressor,
    SplicingRegressor,
)


def _anchored(solver, c, **params):
    return RandomSupportRegressor(3, solver=solver, noise_std=0.3 * c, random_state=0, **params)


# Strengths follow the unit c of the response.
MODELS = {
    "OMP": lambda c: OMP(4),
    "OMP to a tolerance": lambda c: OMP(tol=8.0 * c**2),
    "ForwardBackward": lambda c: ForwardBackward(),
    "ForwardBackward, sigma": lambda c: ForwardBackward(noise_std=0.3 * c),
    "ForwardBackward, n_nonzero": lambda c: ForwardBackward(n_nonzero=4),
    "NIHT": lambda c: NIHT(4, max_iter=200),
    "NIHT, not refitted": lambda c: NIHT(4, refit=False, max_iter=200),
    "HTP": lambda c: HTP(4),
    "CoSaMP": lambda c: CoSaMP(4),
    "Splicing": lambda c: SplicingRegressor(),
    "Splicing, n_nonzero": lambda c: SplicingRegressor(4),
    "L0Swap": lambda c: L0SwapRegressor(0.02 * c**2),
    "L0Swap, ridge and pairs": lambda c: L0SwapRegressor(0.02 * c**2, ridge=0.1, swaps="pairs"),
    "anchored foba": lambda c: _anchored("foba", c),
    "anchored omp": lambda c: RandomSupportRegressor(3, solver="omp", random_state=0),
    "anchored lasso": lambda c: _anchored("lasso", c),
    "anchored lasso, alpha": lambda c: _anchored("lasso", c, alpha=0.1 * c),
    "anchored lasso+prune": lambda c: _anchored("lasso+prune", c),
}


def _data(n=60, d=30):
    rng = np.random.default_rng(3)
    X, w = rng.standard_normal((n, d)), np.zeros(d)
    X[:, 1] = X[:, 0] + 1e-3 * X[:, 1]
    w[[0, 7, 12, 20]] = [1, -1, 1, 1]
    return X, X @ w + 3 + 0.3 * rng.standard_normal(n)


def _fit(model, X, y):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(X, y)
    return model, any(issubclass(w.category, ConvergenceWarning) for w in caught)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("c", "spread"), [(1e-8, 0), (1e-4, 8), (1e4, 8), (1e8, 0), (1.0, 8)])
def test_results_follow_the_units(name, c, spread):
    X, y = _data()
    units = 10.0 ** np.random.default_rng(0).uniform(-spread, spread, X.shape[1])
    plain, unsettled = _fit(MODELS[name](1.0), X, y)
    other, also_unsettled = _fit(MODELS[name](c), X * units, c * y)
    assert plain.support_.size > 0
    np.testing.assert_array_equal(other.support_, plain.support_)
    np.testing.assert_allclose(other.coef_ * units / c, plain.coef_, atol=1e-6)
    assert other.intercept_ / c == pytest.approx(plain.intercept_, rel=1e-6)
    assert unsettled == also_unsettled
    assert other.certificate_.status is plain.certificate_.status
    assert other.certificate_.check(X * units, c * y).status is plain.certificate_.check(X, y).status


DEGENERATE = {
    "zero response": lambda X, y: (X, 0 * y),
    "constant response": lambda X, y: (X, 0 * y + 5),
    "copies": lambda X, y: (np.repeat(X[:, :4], 3, axis=1), y),
    "copies, exact response": lambda X, y: (np.repeat(X[:, :4], 3, axis=1), X[:, 0]),
    "constant columns": lambda X, y: (np.where(np.arange(X.shape[1]) % 2, X, 7.0), y),
    "nothing but constants": lambda X, y: (0 * X + 1, y),
    "low rank": lambda X, y: (X[:, :3] @ X[:3, :12], y),
    "low rank, exact response": lambda X, y: (X[:, :3] @ X[:3, :12], X[:, 0]),
    "far from one": lambda X, y: (1e-150 * X, 1e-150 * y),
    "far above one": lambda X, y: (1e145 * X, 1e145 * y),
    "few digits": lambda X, y: (X.astype(np.float32), y.astype(np.float32)),
}


@pytest.mark.parametrize("name", [name for name in MODELS if "tolerance" not in name and "lasso" not in name])
@pytest.mark.parametrize("kind", DEGENERATE)
def test_little_to_choose_from(name, kind):
    X, y = DEGENERATE[kind](*_data())
    model, unsettled = _fit(MODELS[name](1.0), X, y)
    assert np.isfinite(model.coef_).all()
    certificate = model.certificate_ if "anchored" not in name else model.support_certificate_
    assert certificate.valid or unsettled
    assert certificate.check(X, y).status is certificate.status


@pytest.mark.parametrize("name", [name for name in MODELS if "tolerance" not in name])
@pytest.mark.parametrize("factors", [(1e-160, 1), (1e155, 1), (1, 1e155), (1, 1e-160), (1, 1e-310)])
def test_squares_out_of_range_are_refused_by_name(name, factors):
    X, y = _data()
    model = MODELS[name](1.0)
    with pytest.raises(ValueError, match="X must" if factors[1] == 1 else "y must"):
        model.fit(factors[0] * X, factors[1] * y)


@pytest.mark.parametrize("name", MODELS)
def test_repeated_entries_mean_their_sum(name):
    X, y = _data()
    X[np.abs(X) < 0.3] = 0.0
    rows, columns = np.nonzero(X)
    parts = np.concatenate([0.25 * X[rows, columns], 0.75 * X[rows, columns]])
    places = (np.tile(rows, 2), np.tile(columns, 2))
    repeated = sparse.coo_array((parts, places), shape=X.shape)
    kinds = [repeated, _unsummed(repeated)]
    dense = MODELS[name](1.0).fit(X, y)
    for kind in kinds:
        stored = kind.nnz
        other = MODELS[name](1.0).fit(kind, y)
        assert kind.nnz == stored
        np.testing.assert_allclose(other.coef_, dense.coef_, atol=1e-8)
        assert other.certificate_.check(kind, y).status is dense.certificate_.status


def _unsummed(repeated):
    """Return compressed columns that hold every entry of a matrix as it is stored."""
    rows, columns = repeated.coords
    order = np.argsort(columns, kind="stable")
    starts = np.searchsorted(columns[order], np.arange(repeated.shape[1] + 1))
    return sparse.csc_array((repeated.data[order], rows[order], starts), shape=repeated.shape)


@pytest.mark.parametrize("name", [name for name in MODELS if "anchored lasso" not in name])
def test_a_clock_in_nanoseconds_is_a_feature(name):
    rng = np.random.default_rng(0)
    t = rng.standard_normal(100)
    X = np.column_stack([1.7e18 + 1e7 * t, rng.standard_normal((100, 5))])
    y = 3 * t + 0.1 * rng.standard_normal(100)
    model = MODELS[name](1.0)
    if "n_nonzero" in model.get_params():
        model.set_params(n_nonzero=1)
    model = clone(model).fit(X, y)
    assert 0 in model.support_
    assert model.score(X, y) > 0.95
    assert model.certificate_.check(X, y).status is model.certificate_.status
