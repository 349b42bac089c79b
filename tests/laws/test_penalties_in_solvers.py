"""Every penalty, with and without a sign constraint, in every solver; convex ones against other packages."""

import warnings

import numpy as np
import pytest
from penalties.penalty_table import EXAMPLES, each_example
from scipy.optimize import nnls
from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding import LqDictionaryLearning, alpha_max, criticality, duality_gap, encode, forward_backward
from sparsetheory.penalties import CEL0, L0, L1, MCP, SCAD, CappedL1, ElasticNet, LogSum, Lq
from sparsetheory.regression import WorkingSetLasso, WorkingSetLassoCV, gram_lasso_path, lasso_path
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.lasso.certificate import LassoCertificate
from sparsetheory.regression.lasso.quadratic import DataQuadratic
from sparsetheory.regression.lasso.working_set import WorkingSetSolver

CONVEX = [
    L1(1.0),
    ElasticNet(1.0, 1.0),
    ElasticNet(1.0, 0.9),
    ElasticNet(1.0, 0.5),
    ElasticNet(1.0, 0.05),
]
each_convex = pytest.mark.parametrize("penalty", CONVEX, ids=repr)
each_sign = pytest.mark.parametrize("positive", [False, True], ids=["free", "positive"])


def _regression(rng, n=60, d=150):
    X = np.asfortranarray(rng.standard_normal((n, d)) + rng.standard_normal((n, 1)))
    return X, X[:, :5] @ [1.0, -2.0, 3.0, 0.5, -0.1] + 0.3 * rng.standard_normal(n) + 1.0


def _coding(rng, dtype=np.float64, m=15, n=30, n_samples=12):
    D = np.ascontiguousarray((rng.standard_normal((m, n)) * rng.uniform(0.5, 1.0, n) / np.sqrt(m)).T)
    return rng.standard_normal((n_samples, m)).astype(dtype), D.astype(dtype)


def _objective(x, D, c, penalty):
    return 0.5 * np.sum((x - c @ D) ** 2) + penalty.value(c)


# Coding.


@each_example
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_codes_are_certified_and_have_the_right_sign(penalty, dtype, rng):
    X, D = _coding(rng, dtype)
    penalty, start = penalty.with_alpha(0.1), rng.standard_normal((12, 30))
    sharp = 1e-6
    if dtype == np.float32:
        # On the way from a start far away, single precision loses what a sharp tolerance asks for.
        sharp, start = 1e-4, (1 + 0.01 * start) * encode(X, D, penalty).codes
    start = start.astype(dtype)
    for tol in (1e-2, sharp):
        for found in (encode(X, D, penalty, tol=tol), encode(X, D, penalty, tol=tol, init=start)):
            assert found.codes.dtype == dtype
            assert found.converged.all()
            assert found.certificate.valid
            assert found.codes.any()
            assert not penalty.positive or found.codes.min() == 0.0
            assert (found.gap is not None) == penalty.convex
            if tol == sharp:
                assert criticality(X, D, found.codes, penalty).max() <= 100 * tol * np.abs(X @ D.T).max()


@pytest.mark.parametrize("positive", [False, True])
def test_loose_tolerances_are_kept_where_operators_jump_between_pieces(positive):
    # Short atoms bend less than the penalty: a pull within the tolerance may move an entry to the far side of a jump.
    penalty = SCAD(0.1, a=3.7, positive=positive)
    for seed in (0, 6, 40, 50, 56):
        X, D = _coding(np.random.default_rng(seed))
        assert penalty.weak_convexity() > (D**2).sum(axis=1).min()
        assert encode(X, D, penalty, tol=1e-2).certificate.valid


@each_example
@pytest.mark.parametrize("accelerated", [False, True])
def test_splitting_ends_at_its_own_fixed_points(penalty, accelerated, rng):
    X, D = _coding(rng)
    penalty, start = penalty.with_alpha(0.1), rng.standard_normal((12, 30))
    found = forward_backward(X, D, penalty, accelerated=accelerated, tol=1e-9, max_iter=100_000, init=start)
    assert found.converged.all()
    assert not penalty.positive or found.codes.min() == 0.0
    assert criticality(X, D, found.codes, penalty, step=found.step).max() <= 1e-5
    if penalty.convex:
        assert found.objective == pytest.approx(encode(X, D, penalty, tol=1e-12).objective, rel=1e-7)


@each_example
def test_zero_codes_end_at_the_largest_alpha(penalty, rng):
    X, D = _coding(rng)
    shape = {penalty._name: penalty.shape} if penalty._name else {}
    alpha = alpha_max(X, D, type(penalty), positive=penalty.positive, **shape)
    assert not encode(X, D, penalty.with_alpha(alpha)).codes.any()
    assert criticality(X, D, np.zeros((12, 30)), penalty.with_alpha(alpha * (1 - 1e-9))).max() > 0


@each_convex
@each_sign
def test_codes_are_those_of_scikit_learn(penalty, positive, rng):
    X, D = _coding(rng)
    alpha, m = 0.05, D.shape[1]
    penalty = type(penalty)(alpha, *([penalty.l1_part] if isinstance(penalty, ElasticNet) else []), positive=positive)
    found = encode(X, D, penalty, tol=1e-14)
    settings = {"positive": positive, "fit_intercept": False, "tol": 1e-14, "max_iter": 10**6}
    model = linear_model.ElasticNet(alpha / m, l1_ratio=penalty.l1_part, **settings)
    for x, code in zip(X, found.codes, strict=True):
        assert code == pytest.approx(model.fit(D.T, x).coef_, abs=1e-8)
    assert found.gap.max() <= 1e-12
    gaps = duality_gap(X, D, found.codes, alpha=alpha, l1_ratio=penalty.l1_part, positive=positive)
    assert gaps.tolist() == found.gap.tolist()


def test_positive_codes_without_a_penalty_are_nonnegative_least_squares(rng):
    X, D = _coding(rng, m=30, n=15)
    codes = encode(X, D, L1(0.0, positive=True)).codes
    assert codes == pytest.approx(np.array([nnls(D.T, x)[0] for x in X]), abs=1e-9)


@each_convex
@each_sign
def test_gaps_bound_what_codes_lose(penalty, positive, rng):
    X, D = _coding(rng)
    ratio = penalty.l1_part
    penalty = ElasticNet(0.1, ratio, positive=positive)
    best = encode(X, D, penalty, tol=1e-13).codes
    for size in (1e-6, 1e-3, 1.0):
        codes = best + size * rng.standard_normal(best.shape)
        codes = np.maximum(codes, 0.0) if positive else codes
        gaps = duality_gap(X, D, codes, alpha=0.1, l1_ratio=ratio, positive=positive)
        for x, c, b, gap in zip(X, codes, best, gaps, strict=True):
            lost = _objective(x, D, c, penalty) - _objective(x, D, b, penalty)
            assert lost <= gap * (1 + 1e-9) + 1e-12
            # The bound is of the order of the largest move; it does not blow up.
            assert gap <= 100 * size / ratio
    assert duality_gap(X, D, -best, alpha=0.1, positive=True).max() == np.inf


@pytest.mark.parametrize("solver", ["sbr", "greedy", "fss"])
def test_solvers_that_know_no_sign_say_so(solver, rng):
    X, D = _coding(rng)
    penalty = (L1 if solver == "fss" else L0)(0.1, positive=True)
    with pytest.raises(ValueError, match=rf"solver '{solver}' is for .* without a sign constraint; got L. ?"):
        encode(X, D, penalty, solver=solver)
    with pytest.raises(ValueError, match="polish is for l0 and CEL0 without a sign constraint"):
        encode(X, D, L0(0.1, positive=True), polish=True)


@pytest.mark.parametrize("name", ["l1", "elastic_net", "l0", "cel0", "mcp", "scad"])
def test_dictionaries_with_positive_codes(name, rng):
    parts = np.abs(rng.standard_normal((8, 10)))
    X = (np.abs(rng.standard_normal((300, 8))) * (rng.random((300, 8)) < 0.3)) @ parts
    X -= X.mean(axis=1, keepdims=True)
    model = LqDictionaryLearning(8, penalty=name, positive=True, alpha=0.05, n_batches=10, random_state=0).fit(X)
    assert model.certificate_.valid
    assert model.certificate_.penalty.positive
    assert model.transform(X).min() == 0.0
    assert model.transform(X).any()


# Regression.


@each_example
def test_paths_reach_their_tolerance_with_the_right_sign(penalty, rng):
    X, y = _regression(rng)
    path = lasso_path(X, y, penalty=penalty, n_alphas=12, min_ratio=0.05, fit_intercept=True)
    assert np.all(path.gaps <= path.gap_bound)
    assert not path.coefs[:, 0].any()
    assert path.coefs[:, -1].any()
    assert not penalty.positive or path.coefs.min() == 0.0
    model = WorkingSetLasso(path.alphas[-1], penalty=penalty).fit(X, y)
    assert model.certificate_.valid, model.certificate_.reason
    assert not penalty.positive or model.coef_.min() == 0.0
    assert lasso_path(X, y, penalty=penalty, n_alphas=2, min_ratio=0.99).coefs[:, 1].any()


@each_convex
@each_sign
@pytest.mark.parametrize("alpha", [0.02, 0.3])
def test_coefficients_are_those_of_scikit_learn(penalty, positive, alpha, rng):
    X, y = _regression(rng)
    model = WorkingSetLasso(alpha, penalty=penalty, positive=positive, tol=1e-13).fit(X, y)
    settings = {"positive": positive, "tol": 1e-15, "max_iter": 10**6}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        other = linear_model.ElasticNet(alpha, l1_ratio=penalty.l1_part, **settings).fit(X, y)
    assert model.coef_ == pytest.approx(other.coef_, abs=1e-8)
    assert model.intercept_ == pytest.approx(other.intercept_, abs=1e-8)
    gram = gram_lasso_path(
        *(_centred(X, y)), penalty=penalty, positive=positive, alphas=[alpha], tol=1e-12, max_iter=1000
    )
    assert gram.coefs[:, 0] == pytest.approx(other.coef_, abs=1e-5)


def _centred(X, y):
    X, y = X - X.mean(axis=0), y - y.mean()
    return X.T @ X / y.size, X.T @ y / y.size, y @ y / y.size


@each_convex
@each_sign
def test_weights_and_free_features_against_a_general_solver(penalty, positive, rng):
    cvxpy = pytest.importorskip("cvxpy")
    X, y = _regression(rng, n=40, d=25)
    weights, alpha, ratio = rng.uniform(0.5, 2.0, 25), 0.1, penalty.l1_part
    weights[3] = 0.0
    model = WorkingSetLasso(alpha, penalty=penalty, positive=positive, weights=weights, tol=1e-12).fit(X, y)
    w, b = cvxpy.Variable(25), cvxpy.Variable()
    cost = cvxpy.sum_squares(y - X @ w - b) / 80 + alpha * (
        ratio * (weights @ cvxpy.abs(w)) + (1 - ratio) / 2 * (weights @ cvxpy.square(w))
    )
    free = np.flatnonzero(weights == 0)
    signs = [w[j] >= 0 for j in range(25) if j not in free] if positive else []
    cvxpy.Problem(cvxpy.Minimize(cost), signs).solve(solver="CLARABEL")
    assert model.coef_ == pytest.approx(w.value, abs=1e-5)
    assert model.certificate_.check(X, y).valid


@each_convex
@each_sign
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gaps_are_recomputed_and_near_misses_found(penalty, positive, dtype, rng):
    X, y = _regression(rng)
    X, y = X.astype(dtype), y.astype(dtype)
    tol = 1e-4 if dtype == np.float32 else 1e-8
    model = WorkingSetLasso(0.1, penalty=penalty, positive=positive, tol=tol).fit(X, y)
    certificate = model.certificate_
    assert certificate.check(X, y).valid, certificate.reason
    terms = {"tol": certificate.tol, "fit_intercept": True, "bound": certificate.bound}
    j = model.support_[0]
    for share in (1.1, 0.9, 0.0):
        moved = certificate.coef.copy()
        moved[j] *= share
        other = LassoCertificate.of(
            certificate.penalty, certificate.feature_alphas, moved, certificate.intercept, **terms
        )
        assert not other.check(X, y).valid
    if positive:
        moved = certificate.coef.copy()
        moved[np.flatnonzero(moved == 0)[0]] = -1e-12
        other = LassoCertificate.of(
            certificate.penalty, certificate.feature_alphas, moved, certificate.intercept, **terms
        )
        assert "must not be negative" in other.check(X, y).reason


@each_sign
@pytest.mark.parametrize("ratio", [1.0, 0.7, 0.2])
def test_no_screened_feature_is_in_the_solution(positive, ratio, rng):
    X, y = _regression(rng, n=50, d=300)
    penalty = ElasticNet(1.0, ratio, positive=positive)
    path = lasso_path(X, y, penalty=penalty, n_alphas=12, min_ratio=0.05, tol=1e-12)
    # From a cold start the dual point is far from the solution, and the sphere around it has to be large.
    for alpha, coefs in zip(path.alphas, path.coefs.T, strict=True):
        solver = WorkingSetSolver(DataQuadratic(Columns(X), y), penalty, tol=1e-3)
        screened = solver.solve(np.full(300, alpha)).screened
        assert not coefs[screened].any()
    assert path.n_screened.max() > 100


@each_sign
def test_cross_validation_takes_every_convex_penalty(positive, rng):
    X, y = _regression(rng)
    model = WorkingSetLassoCV(penalty=ElasticNet(1.0, 0.8), positive=positive, n_alphas=15).fit(X, y)
    assert model.certificate_.valid
    assert model.certificate_.penalty == ElasticNet(model.alpha_, 0.8, positive=positive)
    assert model.path_.coefs.min() == 0.0 if positive else model.path_.coefs.min() < 0.0


def test_the_sign_may_come_from_the_object_or_the_estimator(rng):
    X, y = _regression(rng)
    one, other = (
        WorkingSetLasso(0.1, penalty=L1(1.0, positive=True)).fit(X, y),
        WorkingSetLasso(0.1, positive=True).fit(X, y),
    )
    assert one.coef_.tolist() == other.coef_.tolist()
    assert WorkingSetLasso(0.1, penalty=MCP(1.0), positive=True).fit(X, y).certificate_.penalty.positive
    with pytest.raises(ValueError, match="positive must be True or False; got 'yes'"):
        WorkingSetLasso(0.1, positive="yes").fit(X, y)


@pytest.mark.parametrize(
    ("name", "number"), [("lq", {"q": 0.5}), ("log_sum", {"eps": 0.2}), ("capped_l1", {"theta": 1.0})]
)
def test_names_that_need_a_number_say_so(name, number, rng):
    X, y = _regression(rng)
    with pytest.raises(ValueError, match=rf"penalty '{name}' needs {next(iter(number))}; pass an object"):
        lasso_path(X, y, penalty=name)
    X = rng.standard_normal((100, 6))
    with pytest.raises(TypeError, match=f"penalty '{name}' needs {next(iter(number))}"):
        LqDictionaryLearning(6, penalty=name, n_batches=2).fit(X)
    model = LqDictionaryLearning(6, penalty=name, **number, n_batches=2, random_state=0).fit(X)
    assert isinstance(model.certificate_.penalty, Lq | LogSum | CappedL1)


def test_every_family_and_sign_is_tried():
    assert {type(p) for p in EXAMPLES} >= {L1, ElasticNet, L0, Lq, CEL0, MCP, LogSum, CappedL1}
