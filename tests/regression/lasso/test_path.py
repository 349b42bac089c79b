"""Paths against scikit-learn, cvxpy and the optimality conditions themselves."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import sparse
from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.penalties.separable import CEL0, L0, L1, MCP, SCAD, Lq
from sparsetheory.proofs_checks.random_supports.instances import draw_problem
from sparsetheory.regression import gram_lasso_path, lasso_path
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.lasso.quadratic import DataQuadratic
from sparsetheory.regression.lasso.working_set import WorkingSetSolver, duality_gap, solve_lasso


def _problem(rng, n=40, d=90, correlated=0.0):
    X = rng.standard_normal((n, d))
    X += correlated * rng.standard_normal((n, 1))
    w = np.zeros(d)
    w[:5] = rng.standard_normal(5)
    return np.asfortranarray(X), X @ w + 0.3 * rng.standard_normal(n)


def _gap(X, y, w, alpha):
    r = y - X @ w
    n = y.size
    theta = r * min(alpha / (np.abs(X.T @ r).max() / n), (y @ r) / (r @ r))
    primal = r @ r / (2 * n) + alpha * np.abs(w).sum()
    return primal - (y @ y - (y - theta) @ (y - theta)) / (2 * n)


@pytest.mark.parametrize("correlated", [0.0, 3.0])
def test_gaps_recomputed_from_data_meet_the_tolerance(rng, correlated):
    X, y = _problem(rng, correlated=correlated)
    path = lasso_path(X, y, n_alphas=30, min_ratio=1e-3, tol=1e-9)
    for alpha, w in zip(path.alphas, path.coefs.T, strict=True):
        assert _gap(X, y, w, alpha) <= 1.01 * path.gap_bound
    assert path.gap_bound == pytest.approx(1e-9 * (y @ y) / (2 * y.size), rel=1e-9, abs=0)


def test_a_residual_that_points_away_from_the_response_is_no_proof():
    # y'r < 0: the best dual point along r is bounded on both sides.
    assert duality_gap(fit=-1e-4, square=1e-6, penalty=0.1, largest_ratio=10.0)[0] > 0.09


def test_path_equals_scikit_learn(rng):
    X, y = _problem(rng)
    path = lasso_path(X, y, n_alphas=20, min_ratio=1e-2, tol=1e-12)
    _, coefs, _ = linear_model.lasso_path(X, y, alphas=path.alphas, tol=1e-13, max_iter=10**6)
    np.testing.assert_allclose(path.coefs, coefs, atol=1e-5)


def test_the_largest_level_is_the_first_with_a_zero_solution(rng):
    X, y = _problem(rng)
    path = lasso_path(X, y, n_alphas=2, min_ratio=0.999)
    assert not path.coefs[:, 0].any()
    assert path.coefs[:, 1].any()


# Found by search: the active columns become linearly dependent on the way.
@example(seed=429, n=26, d=45, share=0.015625)
@example(seed=1041, n=4, d=38, share=0.01050052470037013)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(3, 30), d=st.integers(1, 60), share=st.floats(0.01, 1.0))
def test_optimality_conditions(seed, n, d, share):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    X[:, rng.integers(d)] = X[:, rng.integers(d)]  # sometimes a duplicate
    alpha = share * np.abs(X.T @ y).max() / n
    path = lasso_path(X, y, alphas=[alpha], tol=1e-10)
    w = path.coefs[:, 0]
    g = X.T @ (y - X @ w) / n
    # A gap of e allows a violation of sqrt(2 e) times the norm of a column.
    slack = np.sqrt(2 * path.gap_bound) * np.linalg.norm(X, axis=0) / np.sqrt(n) + 1e-12
    assert np.all(np.abs(g) <= alpha + 2 * slack)
    assert np.all(np.abs(g - alpha * np.sign(w))[w != 0] <= np.maximum(2 * slack, 1e-4 * alpha)[w != 0])


# Found by ten thousand examples of the claim on invariances: of the square of an active column, 1e-12 is left.
@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_nearly_dependent_columns_of_any_scale_converge(spread):
    problem = draw_problem("tree", 40, 59, 3, 0, 28559837, "min")
    X, y = problem.X, problem.y
    level = 0.3 * float(np.abs(X.T @ y).max()) / len(y)
    scale = 10 ** problem.rng().uniform(-spread, spread, X.shape[1])
    solution = solve_lasso(Columns(np.asfortranarray(X * scale)), y, level * scale, tol=1e-13)
    assert solution.gap <= solution.tolerance


def test_weighted_and_unpenalised_features(rng):
    cvxpy = pytest.importorskip("cvxpy")
    X, y = _problem(rng, n=30, d=20)
    u = rng.uniform(0.5, 2, 20)
    u[[2, 11]] = 0
    alpha = 0.2
    path = lasso_path(X, y, weights=u, alphas=[alpha], fit_intercept=True, tol=1e-12)
    w, b = cvxpy.Variable(20), cvxpy.Variable()
    loss = cvxpy.sum_squares(y - X @ w - b) / 60 + alpha * u @ cvxpy.abs(w)
    cvxpy.Problem(cvxpy.Minimize(loss)).solve(solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    np.testing.assert_allclose(path.coefs[:, 0], w.value, atol=1e-6)
    assert path.intercepts[0] == pytest.approx(b.value, abs=1e-6)
    same = lasso_path(
        X, y, weights=np.where(u == 0, 1, u), unpenalised=[11, 2], alphas=[alpha], fit_intercept=True, tol=1e-12
    )
    np.testing.assert_allclose(same.coefs, path.coefs, atol=1e-12)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_sparse_equals_dense(rng, fit_intercept, weighted):
    X = sparse.random_array((60, 100), density=0.1, rng=rng, format="csc")
    X.data = rng.standard_normal(X.data.size) + 1
    y = X @ rng.standard_normal(100) + 5
    s = rng.uniform(0, 2, 60) if weighted else None
    options = {"n_alphas": 15, "min_ratio": 1e-2, "sample_weight": s, "fit_intercept": fit_intercept, "tol": 1e-12}
    thin, full = lasso_path(X, y, **options), lasso_path(X.toarray(), y, **options)
    np.testing.assert_allclose(thin.coefs, full.coefs, atol=1e-7)
    np.testing.assert_allclose(thin.intercepts, full.intercepts, atol=1e-7)


def test_row_weights_equal_repeated_rows(rng):
    X, y = _problem(rng, n=30, d=50)
    s = rng.integers(0, 4, 30)
    repeated = np.repeat(np.arange(30), s)
    options = {"alphas": [0.3, 0.1], "fit_intercept": True, "tol": 1e-12}
    once, many = lasso_path(X, y, sample_weight=s, **options), lasso_path(X[repeated], y[repeated], **options)
    np.testing.assert_allclose(once.coefs, many.coefs, atol=1e-8)
    np.testing.assert_allclose(once.intercepts, many.intercepts, atol=1e-8)


@pytest.mark.parametrize("penalty", ["l1", MCP(1.0, gamma=3.0)])
def test_sufficient_statistics_give_the_same_path(rng, penalty):
    X, y = _problem(rng, n=120, d=40)
    path = lasso_path(X, y, n_alphas=20, min_ratio=1e-2, penalty=penalty, tol=1e-10)
    gram = gram_lasso_path(X.T @ X / 120, X.T @ y / 120, y @ y / 120, alphas=path.alphas, penalty=penalty, tol=1e-10)
    np.testing.assert_allclose(gram.coefs, path.coefs, atol=1e-7)
    np.testing.assert_allclose(gram.objectives, path.objectives, rtol=1e-9)


@pytest.mark.parametrize(
    "penalty", [MCP(1.0), SCAD(1.0), Lq(1.0, 0.5), L0(1.0), CEL0(1.0)], ids=lambda p: type(p).__name__
)
def test_other_penalties_end_where_no_coordinate_can_improve(rng, penalty):
    X, y = _problem(rng)
    n, d = X.shape
    path = lasso_path(X, y, penalty=penalty, n_alphas=8, min_ratio=0.05, tol=1e-8)
    assert np.any(path.coefs[:, -1])
    for alpha, w in zip(path.alphas, path.coefs.T, strict=True):
        at = penalty.with_alpha(alpha)
        r = y - X @ w
        for j in range(d):
            h = X[:, j] @ X[:, j] / n
            u = w[j] + X[:, j] @ r / (n * h)
            t = np.concatenate([np.linspace(-1.5 * abs(u), 1.5 * abs(u), 301), [0.0, u]])
            costs = 0.5 * h * (t - u) ** 2 + [at.value(v) for v in t]
            here = 0.5 * h * (w[j] - u) ** 2 + at.value(w[[j]])
            assert here <= costs.min() + 1e-6 * (y @ y) / n


def test_no_screened_feature_is_in_the_solution(rng):
    X, y = _problem(rng, n=50, d=400)
    solver = WorkingSetSolver(DataQuadratic(Columns(X), y), L1(1.0), tol=1e-3)
    levels = np.abs(X.T @ y).max() / 50 * np.geomspace(0.9, 0.05, 10)
    sharp = lasso_path(X, y, alphas=levels, tol=1e-13)
    for level, coefs in zip(levels, sharp.coefs.T, strict=True):
        screened = solver.solve(np.full(400, level)).screened
        assert screened.sum() > 100
        assert np.abs(coefs[screened]).max() < 1e-8


def test_work_is_proportional_to_what_bounds_cannot_settle(rng):
    X, y = _problem(rng, n=50, d=2000)
    solver = WorkingSetSolver(DataQuadratic(Columns(X), y), L1(1.0), tol=1e-8)
    top = np.abs(X.T @ y).max() / 50
    for level in top * np.geomspace(1, 0.3, 10):
        solver.solve(np.full(2000, level))
    assert solver.n_evaluations < 10 * 2000


def test_order_of_features_does_not_matter(rng):
    X, y = _problem(rng)
    order = rng.permutation(90)
    a, b = (lasso_path(Z, y, alphas=[0.2, 0.05], tol=1e-13).coefs for Z in (X, X[:, order]))
    np.testing.assert_allclose(a[order], b, atol=1e-9)


@pytest.mark.parametrize("layout", ["C", "F"])
def test_single_precision_and_read_only_input(rng, layout):
    X, y = _problem(rng)
    X32 = np.array(X, dtype=np.float32, order=layout)
    X32.setflags(write=False)
    path = lasso_path(X32, y, alphas=[0.2])
    assert path.coefs.dtype == np.float32
    np.testing.assert_allclose(path.coefs, lasso_path(X, y, alphas=[0.2]).coefs, atol=1e-4)


def test_zero_columns_and_constant_response(rng):
    X, _ = _problem(rng)
    X[:, 4] = 0
    path = lasso_path(X, np.full(40, 3.0), fit_intercept=True, n_alphas=3)
    assert not path.coefs.any()
    np.testing.assert_allclose(path.intercepts, 3.0)


def test_a_missed_tolerance_is_reported_with_numbers(rng):
    X, y = _problem(rng, correlated=1.0)
    with pytest.warns(ConvergenceWarning, match=r"reached .* instead of .*max_iter"):
        lasso_path(X, y, alphas=[1e-3], max_iter=1, tol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphas": [-1.0]}, "alphas must be positive"),
        ({"alphas": []}, "alphas must be positive"),
        ({"n_alphas": 0}, "n_alphas must be an integer from 1 to"),
        ({"min_ratio": 1.5}, r"min_ratio must be a number in \(0, 1\); got"),
        ({"tol": 0.0}, "tol must be a finite positive number"),
        ({"weights": np.ones(3)}, "weights must be 90"),
        ({"weights": -np.ones(90)}, "weights must be 90"),
        ({"unpenalised": [90]}, "unpenalised must hold indices"),
        ({"sample_weight": np.zeros(40)}, "at least one non-zero"),
        ({"sample_weight": -np.ones(40)}, "sample_weight"),
        ({"penalty": "l3"}, "l3"),
    ],
)
def test_bad_input(rng, options, message):
    X, y = _problem(rng)
    with pytest.raises(ValueError, match=message):
        lasso_path(X, y, **options)


def test_penalty_of_a_wrong_type(rng):
    X, y = _problem(rng)
    with pytest.raises(TypeError, match="penalty must be a name"):
        lasso_path(X, y, penalty=3)


@pytest.mark.parametrize(
    ("gram", "linear", "message"),
    [
        (np.eye(3), np.ones(2), "as many rows"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), np.ones(2), "symmetric"),
    ],
)
def test_bad_statistics(gram, linear, message):
    with pytest.raises(ValueError, match=message):
        gram_lasso_path(gram, linear, 1.0)


def test_predictions_of_a_path_are_checked_like_those_of_an_estimator(rng):
    X, y = _problem(rng)
    path = lasso_path(X, y, n_alphas=4, fit_intercept=True)
    expected = X @ path.coefs + path.intercepts
    for same in (X.tolist(), pd.DataFrame(X, columns=[f"x{j}" for j in range(90)]), sparse.coo_array(X), X.copy()):
        np.testing.assert_allclose(path.predict(same), expected, rtol=1e-12, atol=1e-12)
    for wrong, message in (
        (np.c_[X, X], "180 features"),
        (X[:, :5], "5 features"),
        (np.where(X > 2, np.nan, X), "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            path.predict(wrong)
    single = lasso_path(X.astype(np.float32), y, n_alphas=4)
    assert single.coefs.dtype == single.predict(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("penalty", ["l1", "mcp", "scad"])
def test_paths_follow_the_unit_of_the_response(rng, scale, penalty):
    X, y = _problem(rng)
    one, other = (lasso_path(X, c * y, penalty=penalty, n_alphas=10, min_ratio=0.05, tol=1e-9) for c in (1.0, scale))
    np.testing.assert_allclose(other.alphas, scale * one.alphas, rtol=1e-9)
    np.testing.assert_allclose(other.coefs / scale, one.coefs, atol=1e-6)
    np.testing.assert_array_equal(other.coefs != 0, one.coefs != 0)


def test_paths_follow_the_units_of_the_features(rng):
    X, y = _problem(rng)
    units = 10.0 ** rng.uniform(-8, 8, 90)
    one = lasso_path(X, y, n_alphas=10, min_ratio=0.05, fit_intercept=True)
    other = lasso_path(X * units, y, weights=units, n_alphas=10, min_ratio=0.05, fit_intercept=True)
    np.testing.assert_allclose(other.alphas, one.alphas, rtol=1e-9)
    np.testing.assert_allclose(other.coefs * units[:, None], one.coefs, atol=1e-3)
    assert np.all(other.gaps <= other.gap_bound)


@pytest.mark.parametrize("unit", [1e-140, 1e-20, 1.0, 1e20, 1e140])
def test_the_largest_level_of_a_penalty_that_is_not_convex_is_found_in_any_unit(rng, unit):
    X, y = _problem(rng)
    for penalty in ("mcp", "l0"):
        path = lasso_path(X, unit * y, penalty=penalty, n_alphas=2, min_ratio=0.99)
        assert not path.coefs[:, 0].any()
        assert path.coefs[:, 1].any()
