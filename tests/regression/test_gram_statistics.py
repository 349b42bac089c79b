"""Sufficient statistics that can be, and those that cannot."""

import numpy as np
import pytest

from sparsetheory.regression import gram_lasso_path
from sparsetheory.regression.gram_statistics import check_statistics


def _statistics(n=50, d=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = X[:, 0] - X[:, 3] + 0.1 * rng.standard_normal(n)
    return X.T @ X / n, X.T @ y / n, float(y @ y / n)


def _changed(place, value):
    G, b, e = _statistics()
    G = G.copy()
    G[place] = value
    return G, b, e


G, B, E = _statistics()
BAD = {
    "nan energy": ((G, B, np.nan), "energy must be a finite non-negative number"),
    "infinite energy": ((G, B, np.inf), "energy must be a finite non-negative number"),
    "negative energy": ((G, B, -1.0), "energy must be a finite non-negative number"),
    "text": ((G, B, "a"), "energy must be a finite non-negative number"),
    "huge energy": ((G, B, 1e305), "energy must not hold"),
    "too little energy": ((G, B, 0.99 * float(B @ np.linalg.solve(G, B))), "energy must be at least what"),
    "energy below one correlation": ((G, B, 0.5), "energy must be at least the largest"),
    "no energy": ((G, B, 0.0), "energy must be at least the largest"),
    "nan gram": (_changed((1, 1), np.nan), "gram contains NaN"),
    "nan correlations": ((G, np.where(B > 0.5, np.nan, B), E), "correlations contains NaN"),
    "asymmetric": (_changed((0, 1), 0.5), "gram must be symmetric"),
    "indefinite": (_changed(([0, 1], [1, 0]), 3.0), "gram must be positive semidefinite; the least eigenvalue"),
    "negative diagonal": (_changed((2, 2), -1.0), "gram must be positive semidefinite; its diagonal"),
    "zero diagonal": (_changed((2, 2), 0.0), "gram must be positive semidefinite: rows"),
    "vanishing diagonal": (_changed((2, 2), 1e-307), "gram must"),
    "wide": ((G[:, :4], B, E), "gram must be square"),
    "two axes": ((G, B[:, None], E), "gram must be square"),
}


@pytest.mark.parametrize(("statistics", "message"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("penalty", ["l1", "mcp"])
def test_statistics_of_no_data_are_refused_by_name(statistics, message, penalty):
    with pytest.raises(ValueError, match=message):
        gram_lasso_path(*statistics, alphas=[0.5, 0.1], penalty=penalty)


def test_correlations_of_a_feature_that_is_zero():
    G, b, e = _statistics()
    G, b = G.copy(), b.copy()
    G[2] = G[:, 2] = 0.0
    with pytest.raises(ValueError, match="correlations must be zero"):
        gram_lasso_path(G, b, e)
    b[2] = 0.0
    assert not gram_lasso_path(G, b, e, n_alphas=3).coefs[2].any()


@pytest.mark.parametrize(("n", "d"), [(50, 5), (30, 200), (200, 150)])
@pytest.mark.parametrize("unit", [1.0, 1e-8, 1e8])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_statistics_of_data_are_taken_in_any_unit(n, d, unit, dtype):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-8 if dtype == np.float64 else -2, 2, d)
    X[:, 1] = X[:, 0] + X[:, 2]
    for y in (unit * rng.standard_normal(n), unit * X[:, 0], np.zeros(n)):
        X_, y_ = X.astype(dtype), y.astype(dtype)
        gram, linear, _ = check_statistics(X_.T @ X_ / n, X_.T @ y_ / n, y_ @ y_ / n)
        assert gram.dtype == linear.dtype == np.float64
        np.testing.assert_array_equal(gram, gram.T)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_indefinite_matrix_too_large_to_factorise_is_found_by_the_solver(monkeypatch):
    monkeypatch.setattr("sparsetheory.regression.gram_statistics._LARGEST", 3)
    G, b, e = _statistics()
    G = G.copy()
    G[0, 1] = G[1, 0] = 3.0
    b = np.array([1.0, -1.0, 0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="positive semidefinite"):
        gram_lasso_path(G, b, e + 2, alphas=[0.5, 0.1])


def test_correlations_out_of_range_are_refused_by_name():
    G, b, e = _statistics()
    with pytest.raises(ValueError, match="correlations"):
        gram_lasso_path(G, 1e305 * b, e)
