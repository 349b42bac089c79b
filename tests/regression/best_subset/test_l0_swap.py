"""Local optima of the l0 penalty, checked move by move."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from regression.subset_references import best_move, correlated_problem, l0_objective, rss, subsets, unit_columns
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsetheory.regression import L0SwapRegressor

seeds = st.integers(0, 10**6)
costs = st.sampled_from([0.001, 0.01, 0.1, 1.0])
ridges = st.sampled_from([0.0, 0.05])


@parametrize_with_checks([L0SwapRegressor(), L0SwapRegressor(swaps="pairs", ridge=0.01)])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def _clustered_problem(seed, n=40, d=8):
    """Draw columns around three directions, and a response with cancelling coefficients."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))[:, rng.integers(3, size=d)] + 0.3 * rng.standard_normal((n, d))
    w = np.zeros(d)
    w[rng.choice(d, 4, replace=False)] = rng.choice([-2.0, -1.0, 1.0, 2.0], 4)
    return X, X @ w + 0.3 * rng.standard_normal(n)


def _in_units(model, X, y):
    """Return the problem and the model in the terms of the theory: unit columns and n times the objective."""
    U = unit_columns(X)
    norms = np.linalg.norm(X - X.mean(axis=0), axis=0)
    return U, y - y.mean(), model.coef_ * norms, y.size * model.alpha, model.ridge


@given(seeds, costs, ridges, st.sampled_from(["none", "single", "pairs"]), st.booleans())
def test_at_exit_no_move_of_its_kind_helps(seed, alpha, ridge, swaps, clustered):
    X, y = _clustered_problem(seed) if clustered else correlated_problem(seed, d=8)
    model = L0SwapRegressor(alpha, ridge=ridge, swaps=swaps).fit(X, y)
    U, centred, b, cost, ridge = _in_units(model, X, y)
    reached = l0_objective(U, centred, b, cost, ridge)
    assert model.objective_ * y.size == pytest.approx(reached, rel=1e-9)
    assert (np.diff(model.history_) < 0).all()
    # One coefficient set to zero or to its best value; one out and one in; two and two.
    slack = 1e-7 * (cost + reached)
    for j in range(8):
        rest = b.copy()
        rest[j] = 0.0
        assert l0_objective(U, centred, rest, cost, ridge) >= reached - slack
        rest[j] = U[:, j] @ (centred - U @ rest) / (1 + 2 * ridge)
        assert l0_objective(U, centred, rest, cost, ridge) >= reached - slack
    if swaps != "none":
        assert best_move(U, centred, b, cost, ridge, 1, 1) >= reached - slack
    if swaps == "pairs":
        assert best_move(U, centred, b, cost, ridge, 2, 2) >= reached - slack


def test_global_optimum_is_met_more_often_the_larger_the_moves():
    met = {"none": 0, "single": 0, "pairs": 0}
    for seed in range(30):
        X, y = _clustered_problem(seed)
        U, centred, cost = unit_columns(X), y - y.mean(), 0.05 * y.size
        best = min(0.5 * rss(U, centred, s) + cost * len(s) for s in subsets(range(8), 8)) / y.size
        for swaps in met:
            found = L0SwapRegressor(0.05, swaps=swaps).fit(X, y).objective_
            assert found >= best * (1 - 1e-9)
            met[swaps] += found <= best * (1 + 1e-9)
    assert met["none"] < met["single"] < met["pairs"] - 10


@given(seeds, costs, ridges)
def test_orthogonal_columns_are_thresholded(seed, alpha, ridge):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((20, 10)))[0]
    y = rng.standard_normal(20)
    u, h = Q.T @ y, 1 + 2 * ridge
    expected = np.where(np.abs(u) >= np.sqrt(2 * 20 * alpha * h), u / h, 0.0)
    model = L0SwapRegressor(alpha, ridge=ridge, fit_intercept=False).fit(Q, y)
    np.testing.assert_allclose(model.coef_, expected, atol=1e-12)


def _blocks(n):
    """Pairs of columns that nearly cancel; the response is the small difference of one pair."""
    angle = np.arcsin(n**-0.25)
    block = np.sqrt(n) * np.array([[np.cos(angle), -np.cos(angle)], [np.sin(angle), np.sin(angle)]])
    return np.kron(np.eye(n // 2), block)


@pytest.mark.parametrize("n", [64, 256])
def test_pairs_find_features_that_only_count_together(rng, n):
    X = _blocks(n)
    signal = X[:, 0] / 2 + X[:, 1] / 2
    y = signal + 0.3 * rng.standard_normal(n)
    arguments = {"alpha": 0.09 * 2 * np.log(n) / n, "fit_intercept": False}
    single = L0SwapRegressor(swaps="single", **arguments).fit(X, y)
    pairs = L0SwapRegressor(swaps="pairs", **arguments).fit(X, y)
    assert pairs.support_.tolist() == [0, 1]
    error = [np.mean((m.predict(X) - signal) ** 2) for m in (single, pairs)]
    # What single features reach is no better than zero, whose error is 1 / sqrt(n).
    assert error[0] >= 0.9 * n**-0.5
    assert error[1] <= 12 * 0.09 / n


def test_storage_scale_and_precision_do_not_matter(rng):
    X = rng.standard_normal((60, 40)) * (rng.random((60, 40)) < 0.4)
    y = X[:, 3] - X[:, 4] + 0.3 * rng.standard_normal(60) + 1
    for fit_intercept in (True, False):
        one = L0SwapRegressor(0.02, ridge=0.1, fit_intercept=fit_intercept).fit(X, y)
        assert one.support_.size > 1
        for other in (sparse.csr_array(X), np.asfortranarray(X)):
            two = L0SwapRegressor(0.02, ridge=0.1, fit_intercept=fit_intercept).fit(other, y)
            np.testing.assert_allclose(two.coef_, one.coef_, atol=1e-11)
        scales = 10.0 ** rng.uniform(-6, 6, 40)
        scaled = L0SwapRegressor(0.02, ridge=0.1, fit_intercept=fit_intercept).fit(X * scales, y)
        np.testing.assert_allclose(scaled.coef_ * scales, one.coef_, atol=1e-10)
        single = L0SwapRegressor(0.02, ridge=0.1, fit_intercept=fit_intercept).fit(X.astype(np.float32), y)
        assert single.coef_.dtype == np.float32
        np.testing.assert_allclose(single.coef_, one.coef_, atol=1e-5)


def test_weights_are_repetitions(rng):
    X, y = correlated_problem(8)
    counts = rng.integers(0, 4, y.size)
    weighted = L0SwapRegressor(0.05, ridge=0.01).fit(X, y, sample_weight=counts)
    repeated = L0SwapRegressor(0.05, ridge=0.01).fit(X.repeat(counts, axis=0), y.repeat(counts))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-9, atol=1e-12)
    assert weighted.objective_ == pytest.approx(repeated.objective_, rel=1e-9)


def test_dead_columns_duplicates_and_constant_responses(rng):
    X = rng.standard_normal((40, 10))
    X[:, 0], X[:, 1], X[:, 7] = 0.0, 5.0, X[:, 6]
    y = X[:, 5] + 2 * X[:, 6]
    for swaps in ("single", "pairs"):
        model = L0SwapRegressor(1e-3, swaps=swaps).fit(X, y)
        assert model.support_.size == 2
        assert model.score(X, y) == pytest.approx(1.0)
        assert not L0SwapRegressor(1e-3, swaps=swaps).fit(X, np.ones(40)).support_.size


def test_more_features_than_rows_of_the_first_batch(rng):
    X = rng.standard_normal((300, 80))
    y = X.sum(axis=1)
    model = L0SwapRegressor(1e-4).fit(X, y)
    np.testing.assert_allclose(model.coef_, np.ones(80), atol=1e-10)


def test_too_few_iterations_are_reported():
    X, y = correlated_problem(8)
    with pytest.warns(ConvergenceWarning, match="max_iter=1;"):
        assert L0SwapRegressor(0.001, max_iter=1).fit(X, y).n_iter_ == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 0.0}, "alpha must be a finite positive number; got 0"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": np.inf}, "alpha"),
        ({"alpha": True}, "alpha"),
        ({"ridge": -0.1}, "ridge must be a finite non-negative number; got -0.1"),
        ({"swaps": "triples"}, "swaps must be one of .* got 'triples'"),
        ({"swaps": True}, "swaps"),
        ({"max_iter": 0}, "max_iter must be an integer from 1 to"),
    ],
)
def test_bad_parameters(rng, arguments, message):
    with pytest.raises(ValueError, match=message):
        L0SwapRegressor(**arguments).fit(rng.standard_normal((20, 8)), np.ones(20))


def test_pairs_refuse_wide_designs():
    with pytest.raises(ValueError, match="swaps='pairs' needs at most 5000 features; X has 5001"):
        L0SwapRegressor(swaps="pairs").fit(np.eye(2, 5001), np.ones(2))
