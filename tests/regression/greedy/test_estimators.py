"""Greedy estimators against scikit-learn, against each other, and against what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from regression.subset_references import correlated_problem
from scipy import sparse
from sklearn.linear_model import orthogonal_mp, orthogonal_mp_gram
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsetheory.regression import OMP, ForwardBackward, omp_gram
from sparsetheory.regression.greedy import omp

seeds = st.integers(0, 10**6)


@parametrize_with_checks([OMP(), OMP(tol=0.5), ForwardBackward(), ForwardBackward(noise_std=0.5)])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def _unit(X):
    return X / np.linalg.norm(X, axis=0)


def _data(seed, n=40, d=60, k=4, noise=0.1):
    rng = np.random.default_rng(seed)
    X, w = rng.standard_normal((n, d)), np.zeros(d)
    w[rng.choice(d, k, replace=False)] = rng.choice([-1, 1], k) * rng.uniform(1, 2, k)
    return X, X @ w + noise * rng.standard_normal(n), w


# ---- one target ----


@given(seed=seeds, n_nonzero=st.integers(1, 12))
def test_pursuit_equals_scikit_learn(seed, n_nonzero):
    X, y, _ = _data(seed, noise=1.0)
    X = _unit(X)
    model = OMP(n_nonzero, fit_intercept=False).fit(X, y)
    assert model.coef_ == pytest.approx(orthogonal_mp(X, y, n_nonzero_coefs=n_nonzero), abs=1e-9)
    assert model.n_iter_ == n_nonzero == model.path_.indices.size
    assert model.support_.tolist() == sorted(model.path_.indices.tolist())


@given(seed=seeds, tol=st.floats(0.0, 40.0))
def test_pursuit_stops_at_a_tolerance_like_scikit_learn(seed, tol):
    X, y, _ = _data(seed, n=15, noise=1.0)
    X = _unit(X)
    model = OMP(tol=tol, fit_intercept=False).fit(X, y)
    residual = y - model.predict(X)
    assert residual @ residual <= tol + 1e-20 * (y @ y)
    if y @ y <= tol:
        # Nothing is left to do; scikit-learn takes one step all the same.
        assert model.n_iter_ == 0
    elif tol > 1e-6:
        assert model.coef_ == pytest.approx(orthogonal_mp(X, y, tol=tol), abs=1e-8)


def test_both_limits_hold():
    X, y, _ = _data(0, noise=1.0)
    assert OMP(3, tol=1e-9).fit(X, y).n_iter_ == 3
    assert OMP(9, tol=1e9).fit(X, y).n_iter_ == 0
    assert OMP().fit(X, y).n_iter_ == 6
    assert OMP().fit(X[:4], y[:4]).n_iter_ <= 4


@given(seed=seeds)
def test_pursuit_ignores_the_scale_of_features(seed):
    X, y, _ = _data(seed, noise=1.0)
    scales = 10.0 ** np.random.default_rng(seed).uniform(-8, 8, X.shape[1])
    plain, scaled = OMP(8).fit(X, y), OMP(8).fit(X * scales, y)
    assert scaled.coef_ * scales == pytest.approx(plain.coef_, abs=1e-9)


@pytest.mark.parametrize("model", [OMP(4), ForwardBackward(12, n_nonzero=4), ForwardBackward(12, noise_std=0.1)])
@given(seed=seeds)
def test_signals_are_found(model, seed):
    X, y, w = _data(seed, n=100)
    model.fit(X, y + 7)
    assert set(np.flatnonzero(w)) <= set(model.support_)
    assert model.coef_ == pytest.approx(w, abs=0.1)
    assert model.intercept_ == pytest.approx(7, abs=0.1)


MODELS = [
    OMP(5),
    OMP(tol=3.0),
    ForwardBackward(10),
    ForwardBackward(10, noise_std=0.2),
    ForwardBackward(10, n_nonzero=3),
]


@pytest.mark.parametrize("model", MODELS, ids=repr)
@given(seed=seeds)
def test_weights_repeat_rows(model, seed):
    X, y, _ = _data(seed, noise=0.3)
    weights = np.random.default_rng(seed).integers(0, 4, y.size)
    weighted = model.fit(X, y, weights)
    coef, intercept, sigma = weighted.coef_, weighted.intercept_, getattr(weighted, "noise_std_", None)
    repeated = model.fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    assert coef == pytest.approx(repeated.coef_, abs=1e-9)
    assert intercept == pytest.approx(repeated.intercept_, abs=1e-9)
    assert sigma == pytest.approx(getattr(repeated, "noise_std_", None))


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_storage_does_not_matter(rng, model, fit_intercept):
    X, y, _ = _data(5, noise=0.3)
    X = ((X + 3) * (rng.random(X.shape) < 0.4)).astype(np.float32).astype(np.float64)
    weights = rng.uniform(0, 2, y.size)
    model.set_params(fit_intercept=fit_intercept)
    expected = model.fit(X, y, weights)
    coef, intercept = expected.coef_, expected.intercept_
    for kind in (sparse.csr_array(X), sparse.csc_matrix(X), np.asfortranarray(X)):
        model.fit(kind, y, weights)
        assert model.coef_ == pytest.approx(coef, abs=1e-9)
        assert model.intercept_ == pytest.approx(intercept, abs=1e-9)
        assert model.predict(kind) == pytest.approx(X @ coef + intercept, abs=1e-8)


@pytest.mark.parametrize("model", MODELS, ids=repr)
@pytest.mark.parametrize("convert", [np.asfortranarray, np.ascontiguousarray, sparse.csc_array])
def test_single_precision(model, convert):
    X, y, _ = _data(1, noise=0.3)
    single = X.astype(np.float32)
    double = model.fit(single.astype(np.float64), y).coef_
    model.fit(convert(single), y)
    assert model.coef_.dtype == np.float32
    assert model.coef_ == pytest.approx(double, rel=1e-6)


@pytest.mark.parametrize(
    "model", [OMP(3), OMP(tol=1e-3), ForwardBackward(5), ForwardBackward(5, noise_std=1.0)], ids=repr
)
@pytest.mark.parametrize("value", [0.0, 5.0, 1e9])
def test_constant_responses(rng, model, value):
    model.fit(rng.standard_normal((30, 8)) + 100, np.full(30, value))
    assert not model.coef_.any()
    assert model.support_.size == 0
    assert model.intercept_ == pytest.approx(value)


@pytest.mark.parametrize("model", [OMP(3), ForwardBackward(5)])
def test_constant_features_are_left_to_the_intercept(rng, model):
    X = rng.standard_normal((30, 8))
    X[:, [0, 4]] = [1e6, 0.0]
    X[:, 5] = 0.1
    model.fit(X, rng.standard_normal(30))
    assert not model.coef_[[0, 4, 5]].any()


# ---- many targets ----


def _targets(rng, n_targets, n=30, d=20):
    X, Y = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-2, 2, d) + 1, rng.standard_normal((n, n_targets))
    X[:, 7] = 3.0
    return X, Y * np.linspace(1, 3, n_targets)


@pytest.mark.parametrize("limits", [{"n_nonzero": 5}, {"tol": 20.0}, {"n_nonzero": 4, "tol": 30.0}])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("convert", [np.asarray, sparse.csc_array])
def test_many_targets_equal_single_ones(rng, monkeypatch, limits, shared, convert):
    X, Y = _targets(rng, 6)
    weights = rng.uniform(0.5, 2, 30)
    monkeypatch.setattr(omp, "_LARGEST_GRAM", 100 if shared else 0)
    model = OMP(**limits).fit(convert(X), Y, weights)
    singles = [OMP(**limits).fit(X, y, weights) for y in Y.T]
    assert model.coef_ == pytest.approx(np.array([s.coef_ for s in singles]), abs=1e-9)
    assert model.intercept_ == pytest.approx([s.intercept_ for s in singles], abs=1e-9)
    assert model.n_iter_.tolist() == [s.n_iter_ for s in singles]
    assert model.path_ is None
    assert model.predict(X) == pytest.approx(np.column_stack([s.predict(X) for s in singles]), abs=1e-9)


@pytest.mark.parametrize("shared", [True, False])
def test_threads_do_not_change_results(rng, monkeypatch, shared):
    X, Y = _targets(rng, 700 if shared else 5)
    monkeypatch.setattr(omp, "_LARGEST_GRAM", 100 if shared else 0)
    one, two = (OMP(5, n_jobs=n_jobs).fit(X, Y) for n_jobs in (1, 2))
    assert np.array_equal(one.coef_, two.coef_)
    assert np.array_equal(one.n_iter_, two.n_iter_)


def test_one_column_of_targets_keeps_its_axis(rng):
    X, Y = _targets(rng, 1)
    model = OMP(4).fit(X, Y)
    assert model.coef_.shape == (1, 20)
    assert model.predict(X).shape == (30, 1)
    assert model.coef_[0] == pytest.approx(OMP(4).fit(X, Y[:, 0]).coef_, abs=1e-10)


@given(seed=seeds, n_nonzero=st.integers(1, 8))
def test_gram_pursuit_equals_scikit_learn(seed, n_nonzero):
    rng = np.random.default_rng(seed)
    X, Y = _unit(rng.standard_normal((30, 15))), rng.standard_normal((30, 4))
    coef = omp_gram(X.T @ X, Y.T @ X, n_nonzero=n_nonzero)
    assert coef == pytest.approx(orthogonal_mp_gram(X.T @ X, X.T @ Y, n_nonzero_coefs=n_nonzero).T, abs=1e-9)
    assert omp_gram(X.T @ X, Y[:, 0] @ X, n_nonzero=n_nonzero) == pytest.approx(coef[0], abs=1e-12)


def test_gram_pursuit_leaves_its_arguments_alone(rng):
    X, Y = rng.standard_normal((30, 15)), rng.standard_normal((30, 4))
    gram, correlations, squares = X.T @ X, Y.T @ X, np.sum(Y**2, axis=0)
    before = gram.copy(), correlations.copy(), squares.copy()
    for array in (gram, correlations, squares):
        array.flags.writeable = False
    coef = omp_gram(np.asfortranarray(gram), correlations, tol=26.0, squares=squares)
    assert (np.sum((Y - X @ coef.T) ** 2, axis=0) <= 26.0 + 1e-9).all()
    assert (np.count_nonzero(coef, axis=1) < 15).all()
    assert all(np.array_equal(a, b) for a, b in zip(before, (gram, correlations, squares), strict=True))
    assert np.count_nonzero(omp_gram(gram, correlations)) == 4


def test_gram_pursuit_keeps_single_precision(rng):
    X, Y = rng.standard_normal((30, 15)).astype(np.float32), rng.standard_normal((30, 4)).astype(np.float32)
    coef = omp_gram(X.T @ X, Y.T @ X, n_nonzero=3)
    assert coef.dtype == np.float32
    double = omp_gram(X.T.astype(float) @ X.astype(float), Y.T.astype(float) @ X.astype(float), n_nonzero=3)
    assert coef == pytest.approx(double, abs=1e-5)
    assert omp_gram(np.eye(3, dtype=int), [[1, 2, 3]], n_nonzero=2).tolist() == [[0.0, 2.0, 3.0]]


def test_gram_pursuit_without_targets():
    assert omp_gram(np.eye(3), np.empty((0, 3)), n_nonzero=2).shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gram": np.eye(3)[:2]}, r"gram must be a square matrix; got shape \(2, 3\)"),
        ({"gram": np.empty((0, 0))}, "gram must be a square matrix"),
        ({"gram": np.ones(3)}, "gram must be a square matrix"),
        ({"gram": np.diag([1.0, np.nan, 1.0])}, "gram must be finite"),
        ({"correlations": np.ones((2, 4))}, r"correlations must have 3 entries per target.*got shape \(2, 4\)"),
        ({"correlations": np.full(3, np.inf)}, "correlations must be finite"),
        ({"n_nonzero": 4}, "n_nonzero must be at most the number of columns of gram, 3; got 4"),
        ({"n_nonzero": 0}, "n_nonzero must be an integer from 1 to .*; got 0"),
        ({"n_nonzero": 1.0}, "n_nonzero must be an integer from 1 to .*; got 1.0"),
        ({"tol": 1.0}, "squares, the squared norms of the targets, are needed with tol"),
        ({"tol": -1.0, "squares": np.ones(2)}, "tol must be a finite non-negative number; got -1.0"),
        (
            {"tol": 1.0, "squares": np.ones(5)},
            r"squares must hold one number per target, shape \(2,\); got shape \(5,\)",
        ),
        ({"tol": 1.0, "squares": [1.0, np.nan]}, "squares must be finite"),
        ({"tol": 1.0, "squares": [1.0, -1.0]}, "squares must not be negative; got -1"),
        ({"gram": np.eye(3) + 2 * np.eye(3)[::-1]}, "gram must be positive semidefinite; the least eigenvalue"),
        ({"gram": np.eye(3) + np.tri(3)}, "gram must be symmetric"),
        ({"gram": np.diag([1.0, -1.0, 1.0])}, "gram must be positive semidefinite; its diagonal"),
    ],
)
def test_gram_pursuit_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        omp_gram(**({"gram": np.eye(3), "correlations": np.ones((2, 3)), "n_nonzero": 2} | arguments))


# ---- forward and backward ----


@given(seed=seeds)
def test_known_noise_sets_the_cost(seed):
    X, y, _ = _data(seed, n=80, noise=0.5)
    model = ForwardBackward(20, noise_std=0.5, prune=False).fit(X, y)
    cost = 2 * 0.25 * np.log(60)
    assert (model.path_.gains >= cost).all()
    assert model.noise_std_ == 0.5
    assert model.support_.size == model.n_iter_
    longer = ForwardBackward(model.n_iter_ + 1, noise_std=1e-6, prune=False).fit(X, y)
    assert longer.path_.gains[-1] < cost
    pruned = ForwardBackward(20, noise_std=0.5).fit(X, y)
    assert set(pruned.support_) <= set(model.support_)


def test_noise_level_is_estimated():
    X, y, w = _data(2, n=400, noise=0.7)
    model = ForwardBackward().fit(X, y)
    assert model.noise_std_ == pytest.approx(0.7, rel=0.12)
    assert set(np.flatnonzero(w)) <= set(model.support_)
    model = ForwardBackward(n_nonzero=4).fit(X, y)
    rss = np.sum((y - model.predict(X)) ** 2)
    assert model.noise_std_ == pytest.approx(np.sqrt(rss / (400 - 1 - 4)))
    assert ForwardBackward(n_nonzero=4, noise_std=2.0).fit(X, y).noise_std_ == 2.0


def test_deletion_removes_what_led_astray(rng):
    # The first column is the best single one and useless once the other two are in.
    a, b = np.linalg.qr(rng.standard_normal((100, 2)))[0].T * 10
    X = np.column_stack([a + b + 0.1 * rng.standard_normal(100), a, b, rng.standard_normal((100, 20))])
    y = a + b + 0.001 * rng.standard_normal(100)
    assert 0 in ForwardBackward(prune=False, fit_intercept=False).fit(X, y).support_
    found = ForwardBackward(fit_intercept=False).fit(X, y).support_
    assert found[:2].tolist() == [1, 2]
    assert 0 not in found
    assert ForwardBackward(n_nonzero=2, fit_intercept=False).fit(X, y).support_.tolist() == [1, 2]
    assert ForwardBackward(n_nonzero=2, prune=False, fit_intercept=False).fit(X, y).support_.tolist() != [1, 2]


def test_look_ahead_passes_steps_that_do_not_pay(rng):
    # Both columns are almost orthogonal to their difference: the first alone gains nothing.
    X = rng.standard_normal((200, 50))
    X[:, 1] = X[:, 0] + 1e-3 * rng.standard_normal(200)
    y = 1e3 * (X[:, 1] - X[:, 0])
    y += 0.1 * rng.standard_normal(200)
    model = ForwardBackward(30, fit_intercept=False).fit(X, y)
    assert {0, 1} <= set(model.support_)
    assert np.mean((model.predict(X) - 1e3 * (X[:, 1] - X[:, 0])) ** 2) < 0.01


@given(seed=seeds, n_nonzero=st.integers(1, 6), prune=st.booleans())
def test_number_of_features(seed, n_nonzero, prune):
    rng = np.random.default_rng(seed)
    X, y = correlated_problem(rng)[:2]
    model = ForwardBackward(10, n_nonzero=n_nonzero, prune=prune).fit(X, y)
    assert model.support_.size <= n_nonzero
    assert model.n_iter_ >= model.support_.size


def test_fewer_observations_than_steps(rng):
    X, y = rng.standard_normal((4, 10)), rng.standard_normal(4)
    assert ForwardBackward().fit(X, y).n_iter_ == 0
    assert ForwardBackward(n_nonzero=4).fit(X, y).support_.size == 3
    assert ForwardBackward(noise_std=1e-3, prune=False).fit(X, y).n_iter_ <= 3


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (OMP(0), "n_nonzero must be None or an integer from 1 to .*; got 0"),
        (OMP(31), "n_nonzero must be .* = 30; got 31"),
        (OMP(2.0), "n_nonzero must be .*; got 2.0"),
        (OMP(True), "n_nonzero must be .*; got True"),
        (OMP(tol=-1), "tol must be None or a finite non-negative number; got -1"),
        (OMP(tol="a"), "tol must be None or a finite non-negative number; got 'a'"),
        (ForwardBackward(0), "max_steps must be an integer from 1 to .*; got 0"),
        (ForwardBackward(2.5), "max_steps must be an integer from 1 to .*; got 2.5"),
        (ForwardBackward(noise_std=0), "noise_std must be None or a finite positive number; got 0"),
        (ForwardBackward(noise_std=np.nan), "noise_std must be None or a finite positive number; got nan"),
        (ForwardBackward(n_nonzero=0), "n_nonzero must be None or an integer from 1 to .*; got 0"),
        (ForwardBackward(n_nonzero=41), "n_nonzero must be an integer from 1 to .*; got 41"),
    ],
    ids=repr,
)
def test_bad_parameters(rng, model, message):
    with pytest.raises(ValueError, match=message):
        model.fit(rng.standard_normal((30, 40)), rng.standard_normal(30))


@pytest.mark.parametrize("model", [OMP(), ForwardBackward()])
@pytest.mark.parametrize("weights", [-np.ones(30), np.zeros(30), np.ones(29), np.full(30, np.nan)])
def test_bad_weights(rng, model, weights):
    with pytest.raises(ValueError, match="weight"):
        model.fit(rng.standard_normal((30, 5)), rng.standard_normal(30), weights)


def test_forward_backward_takes_one_target(rng):
    with pytest.raises(ValueError, match="1d array"):
        ForwardBackward().fit(rng.standard_normal((30, 5)), rng.standard_normal((30, 2)))
