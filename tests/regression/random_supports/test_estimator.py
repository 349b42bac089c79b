"""The random-support estimator: accuracy where others fail, invariances, interfaces, bad input."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsetheory.regression import (
    RandomSupportRegressor,
    WorkingSetLasso,
    adversarial_coefficients,
    certify_anchors,
    make_design,
    sample_support,
    select_anchors,
    theory,
)

N, D, K, SIGMA = 150, 300, 4, 0.1


def _case(design="clusters", seed=0, **params):
    X = make_design(design, N, D, random_state=seed, **params)
    S = sample_support(X, n_nonzero=K, random_state=seed + 1)
    signal = X[:, S] @ adversarial_coefficients(X, S)
    return X, signal, signal + SIGMA * np.random.default_rng(seed + 1000).standard_normal(N)


def _error(model, X, signal, y):
    return np.mean((model.fit(X, y).predict(X) - signal) ** 2) / SIGMA**2


@parametrize_with_checks(
    [
        RandomSupportRegressor(1),
        RandomSupportRegressor(1, noise_std=0.5, solver="lasso", tol=1e-10),
        RandomSupportRegressor(1, anchors="random", solver="omp"),
    ],
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


@pytest.mark.parametrize("solver", ["foba", "omp", "lasso", "lasso+prune"])
@pytest.mark.parametrize("design", ["clusters", "tree", "lowrank", "gaussian"])
def test_errors_do_not_explode(solver, design):
    bound = 0.3 if solver != "lasso" else 1.5
    errors = [
        _error(RandomSupportRegressor(K, solver=solver, noise_std=SIGMA, random_state=0), *_case(design, seed))
        for seed in range(5)
    ]
    assert np.median(errors) < bound


def test_the_lasso_fails_where_anchors_do_not():
    X, signal, y = _case("tree")
    lasso = WorkingSetLasso(theory.universal_alpha(SIGMA, N, D, 0.1))
    assert _error(lasso, X, signal, y) > 20 * _error(
        RandomSupportRegressor(K, noise_std=SIGMA, random_state=0), X, signal, y
    )


def test_unknown_noise_level_is_estimated():
    for seed in range(3):
        X, signal, y = _case(seed=seed)
        model = RandomSupportRegressor(K, random_state=0)
        assert _error(model, X, signal, y) < 0.4
        assert model.noise_std_ == pytest.approx(SIGMA, rel=0.25)


def test_level_by_cross_validation():
    X, signal, y = _case()
    model = RandomSupportRegressor(K, solver="lasso", alpha="cv", noise_std=SIGMA, random_state=0)
    assert _error(model, X, signal, y) < 1.0
    assert np.isfinite(model.alpha_)


def test_noiseless_response_is_recovered_without_noise():
    X, signal, _ = _case("lowrank", perturbation=1e-2)
    model = RandomSupportRegressor(K, noise_std=0.0, tol=1e-7, random_state=0).fit(X, signal)
    assert np.mean((model.predict(X) - signal) ** 2) < 1e-12


def test_anchors_do_not_look_at_the_response():
    X, _, y = _case()
    a, b = (RandomSupportRegressor(K, random_state=3).fit(X, target).anchors_ for target in (y, y[::-1]))
    np.testing.assert_array_equal(a.indices, b.indices)


def test_anchors_can_be_given():
    X, _, y = _case()
    anchors = select_anchors(X, n_nonzero=K, random_state=5)
    a = RandomSupportRegressor(K, anchors=anchors, noise_std=SIGMA).fit(X, y)
    b = RandomSupportRegressor(K, anchors=anchors.indices, noise_std=SIGMA).fit(X, y)
    np.testing.assert_array_equal(a.coef_, b.coef_)
    # What holds for the design alone need not hold once an intercept is projected out.
    plain = RandomSupportRegressor(K, anchors=anchors, noise_std=SIGMA, fit_intercept=False)
    assert plain.fit(X, y).anchors_.certified
    assert not plain.fit(X, y, sample_weight=np.arange(1.0, N + 1)).anchors_.certified
    assert not a.anchors_.certified
    assert not b.anchors_.certified
    again = RandomSupportRegressor(K, anchors=RandomSupportRegressor(K, random_state=0).fit(X, y).anchors_)
    assert again.fit(X, y).anchors_.certified


def test_given_anchors_are_certified_for_no_more_than_they_were():
    X, _, y = _case()
    anchors = select_anchors(X, n_nonzero=K, random_state=5)

    def certified(k, **options):
        model = RandomSupportRegressor(k, anchors=anchors, noise_std=SIGMA, fit_intercept=False, **options)
        return model.fit(X, y).anchors_.certified

    assert certified(K - 1, max_compatibility=2.0 * K)
    # A smaller support has a smaller compatibility, but less than 2K was not tested.
    assert not certified(K - 1)
    assert not certified(K, max_compatibility=2.0 * K - 1)
    assert not certified(K + 1)


def test_ill_conditioned_samples_are_reported():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, 20))
    X = np.hstack([X, X + 3e-13 * rng.standard_normal((N, 20))])
    model = RandomSupportRegressor(K, noise_std=SIGMA, random_state=0).fit(X, X[:, 0])
    assert model.n_ill_conditioned_ == model.anchors_.n_ill_conditioned > 0
    assert RandomSupportRegressor(K, noise_std=SIGMA, random_state=0).fit(X[:, :20], X[:, 0]).n_ill_conditioned_ == 0


@pytest.mark.parametrize("solver", ["foba", "omp", "lasso", "lasso+prune"])
@pytest.mark.parametrize("layout", [np.asarray, sparse.csc_array])
def test_single_precision_near_its_rounding(solver, layout):
    X, _, y = _case()
    close = make_design("clusters", N, D, n_clusters=15, min_scale=1e-8, max_scale=1e-6, random_state=0)
    model = RandomSupportRegressor(K, solver=solver, noise_std=SIGMA, random_state=0)
    with pytest.warns(UserWarning, match="columns in single precision are closer to the anchors than 1e-06"):
        model.fit(layout(close.astype(np.float32)), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(layout(X.astype(np.float32)), y)
        model.fit(layout(close), y)


def test_uncertified_anchors_are_said_to_be():
    X, _, y = _case()
    with pytest.warns(RuntimeWarning, match=r"at the limit of 3 anchors, \d+ of \d+ needed supports in a row passed"):
        model = RandomSupportRegressor(K, solver="lasso", noise_std=SIGMA, max_anchors=3, random_state=0).fit(X, y)
    assert not model.anchors_.certified
    assert np.isnan(model.error_bound())


def test_given_anchors_are_checked_beside_what_is_always_in_the_model():
    # All columns are nearly constant: once a constant is fitted there is nothing hard about them.
    X = 1e4 + np.random.default_rng(0).standard_normal((N, 40))
    model = RandomSupportRegressor(K, anchors=[], noise_std=SIGMA).fit(X, X[:, 0])
    np.testing.assert_allclose(np.abs(model.anchors_.fixed_basis), np.sqrt(1 / N))
    assert certify_anchors(X, n_nonzero=K, anchors=model.anchors_).measured < 0.05
    without = RandomSupportRegressor(K, anchors=[], noise_std=SIGMA, fit_intercept=False).fit(X, X[:, 0])
    assert certify_anchors(X, n_nonzero=K, anchors=without.anchors_).measured > 0.9


def test_without_anchors_it_is_stepwise_regression():
    X, _, y = _case("gaussian")
    model = RandomSupportRegressor(K, anchors="none", noise_std=SIGMA).fit(X, y)
    assert model.anchors_.indices.size == 0
    assert set(model.path_.indices) >= set(model.support_)


def test_several_targets_share_anchors():
    X, _, y = _case()
    Y = np.column_stack([y, 2 * y + 1])
    model = RandomSupportRegressor(K, noise_std=SIGMA, random_state=0)
    both = model.fit(X, Y)
    coef, intercept, predicted = both.coef_.copy(), both.intercept_.copy(), both.predict(X)
    assert coef.shape == (2, D)
    assert predicted.shape == (N, 2)
    single = model.fit(X, y)
    np.testing.assert_allclose(coef[0], single.coef_, atol=1e-9 * np.abs(coef).max())
    assert intercept[0] == pytest.approx(single.intercept_)


def test_sparse_designs_are_never_densified(monkeypatch):
    X = sparse.random_array((N, D), density=0.1, rng=np.random.default_rng(0), format="csc")
    y = X[:, [3, 8]] @ np.array([1.0, -2.0]) + 0.01 * np.random.default_rng(1).standard_normal(N)
    dense = RandomSupportRegressor(K, random_state=0).fit(X.toarray(), y)
    widest = []
    original = sparse.csc_array.toarray

    def spy(self, *args, **kwargs):
        widest.append(self.shape[1])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(sparse.csc_array, "toarray", spy)
    thin = RandomSupportRegressor(K, random_state=0).fit(X, y)
    np.testing.assert_allclose(thin.coef_, dense.coef_, atol=1e-8)
    assert max(widest) < D


def test_memory_maps_in_single_precision(tmp_path):
    X, signal, y = _case("clusters", min_scale=1e-3, max_scale=1e-1)
    stored = np.memmap(tmp_path / "X.f32", dtype=np.float32, mode="w+", shape=(N, D), order="F")
    stored[:] = X
    model = RandomSupportRegressor(K, noise_std=SIGMA, random_state=0).fit(stored, y)
    assert model.coef_.dtype == np.float32
    assert np.mean((stored.astype(float) @ model.coef_.astype(float) + model.intercept_ - signal) ** 2) < SIGMA**2


def test_intercept_and_forced_features_are_always_in_the_model():
    X, _, y = _case()
    model = RandomSupportRegressor(K, forced=[7], noise_std=SIGMA, random_state=0).fit(X, y + 100)
    assert 7 in model.support_
    # Forced features cost nothing, however little they explain.
    assert model.support_certificate_.check(X, y + 100).valid
    plain = RandomSupportRegressor(K, forced=[7], noise_std=SIGMA, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.coef_, plain.coef_, atol=1e-7 * np.abs(plain.coef_).max())
    assert model.intercept_ == pytest.approx(plain.intercept_ + 100, abs=1e-6)


def test_row_weights_drop_rows():
    X, _, y = _case()
    s = np.ones(N)
    s[:20] = 0
    weighted = RandomSupportRegressor(K, noise_std=SIGMA, anchors=[1, 5, 9], random_state=0).fit(X, y, sample_weight=s)
    dropped = RandomSupportRegressor(K, noise_std=SIGMA, anchors=[1, 5, 9], random_state=0).fit(X[20:], y[20:])
    np.testing.assert_array_equal(weighted.support_, dropped.support_)


@pytest.mark.parametrize("solver", ["foba", "lasso"])
@pytest.mark.parametrize("noise_std", [None, SIGMA])
def test_row_weights_count_repetitions(solver, noise_std):
    X, _, y = _case()
    counts = np.random.default_rng(0).integers(1, 4, N)
    model = RandomSupportRegressor(K, solver=solver, noise_std=noise_std, anchors=[1, 5, 9], tol=1e-8)
    weighted = model.fit(X, y, sample_weight=counts)
    coef, level, anchors = weighted.coef_.copy(), weighted.noise_std_, weighted.anchors_
    repeated = model.fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    scale = np.abs(coef).max()
    np.testing.assert_allclose(coef, repeated.coef_, atol=1e-5 * scale)
    assert level == pytest.approx(repeated.noise_std_, rel=1e-6)
    scaled = X * np.sqrt(counts / counts.mean())[:, None]
    assert certify_anchors(scaled, n_nonzero=K, anchors=anchors).measured == pytest.approx(
        certify_anchors(np.repeat(X, counts, axis=0), n_nonzero=K, anchors=repeated.anchors_).measured, abs=0.15
    )


def test_draws():
    X, signal, y = _case()
    one = RandomSupportRegressor(K, anchors="random", delta=0.5, n_draws=1, noise_std=SIGMA, random_state=0)
    many = RandomSupportRegressor(K, anchors="random", delta=0.5, n_draws=5, noise_std=SIGMA, random_state=0)
    assert _error(many, X, signal, y) <= _error(one, X, signal, y) + 1e-9
    mean = RandomSupportRegressor(
        K, anchors="random", delta=0.5, n_draws=5, ensemble="mean", noise_std=SIGMA, random_state=0
    )
    assert _error(mean, X, signal, y) < 100


# The case of too many forced features has no room for anchors.
@pytest.mark.filterwarnings("ignore:anchors are not certified")
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_nonzero": 0}, "n_nonzero must be an integer from 1"),
        ({"n_nonzero": N + 1}, "n_nonzero must be an integer from 1"),
        ({"n_nonzero": 2.5}, "n_nonzero must be an integer from 1"),
        ({"delta": 0.0}, "delta"),
        ({"delta": 1.0}, "delta"),
        ({"confidence": 1.5}, "confidence"),
        ({"max_compatibility": 0.0}, "max_compatibility"),
        ({"noise_std": -1.0}, "noise_std"),
        ({"noise_std": 0.0, "solver": "lasso"}, "noise_std"),
        ({"solver": "ridge"}, "solver must be one of"),
        ({"anchors": "best"}, "anchors must be one of"),
        ({"anchors": [D]}, "anchors must hold indices"),
        ({"forced": [-1]}, "forced must hold indices"),
        ({"anchors": range(N - 3)}, "anchors span almost the whole sample space: 148 of 150"),
        ({"forced": range(N - 3)}, "anchors span almost the whole sample space"),
        ({"anchors": "none", "forced": range(N)}, "anchors span almost the whole sample space"),
        ({"ensemble": "sum"}, "ensemble must be one of"),
        ({"ensemble": None}, "ensemble must be one of"),
        ({"solver": None}, "solver must be one of"),
        ({"n_draws": 0}, "n_draws"),
        ({"max_steps": 0}, "max_steps"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": "best"}, "alpha must be one of 'universal', 'cv' or a finite positive number"),
        ({"alpha": np.ones(2)}, "alpha must be one of 'universal', 'cv' or a finite positive number"),
        ({"tol": 0.0}, "tol"),
        ({"support_prior": np.ones(3)}, "support_prior"),
    ],
)
def test_bad_parameters(params, message):
    X, _, y = _case()
    with pytest.raises(ValueError, match=message):
        RandomSupportRegressor(**{"n_nonzero": K, **params}).fit(X, y)


def test_anchors_of_another_design():
    X, _, y = _case()
    anchors = select_anchors(X, n_nonzero=K, random_state=5)
    with pytest.raises(ValueError, match="anchors must hold indices"):
        RandomSupportRegressor(K, anchors=anchors).fit(X[:, : anchors.indices.max()], y)


def test_error_bound_before_fit():
    with pytest.raises(NotFittedError):
        RandomSupportRegressor(K).error_bound()


@pytest.mark.parametrize("solver", ["foba", "lasso"])
@pytest.mark.parametrize("signal_size", [-1.0, np.nan, "1"])
def test_bad_signal_sizes(solver, signal_size):
    X, _, y = _case()
    model = RandomSupportRegressor(K, solver=solver, noise_std=SIGMA, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="signal_size must be a finite non-negative number"):
        model.error_bound(signal_size)


def test_counts_that_would_run_without_end_are_refused():
    X, y = np.eye(6), np.arange(6.0)
    with pytest.raises(ValueError, match="n_draws"):
        RandomSupportRegressor(1, n_draws=10**30).fit(X, y)
    with pytest.raises(ValueError, match="n_supports"):
        certify_anchors(X, n_nonzero=1, anchors=select_anchors(X, n_nonzero=1, random_state=0), n_supports=10**30)
