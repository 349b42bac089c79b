"""The estimator: conventions, exhaustive optima, monotone bounds, learned noise and prior, certificates, edge cases."""

import warnings
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsetheory.bayesian import SparseSubspaceVI, subspace_posterior, swap_gains
from sparsetheory.bayesian.subspace.linear import search
from sparsetheory.certificates import Status


@parametrize_with_checks(
    [SparseSubspaceVI(1), SparseSubspaceVI(1, method="removal_addition", init="random", fit_intercept=True)]
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def _problem(seed, m=40, n=12, k=3, noise=0.3, spread=0.0):
    rng = np.random.default_rng(seed)
    F = rng.standard_normal((m, n)) * np.exp(spread * rng.standard_normal(n))
    x = np.zeros(n)
    x[rng.choice(n, k, replace=False)] = rng.choice([-1, 1], k) * rng.uniform(0.5, 1.5, k)
    return F, F @ x + noise * rng.standard_normal(m), x


def _gains(model, F, y):
    kappa = 1 / model.noise_variance_
    now = subspace_posterior(F, y, kappa, model.prior_std_, model.support_)
    return swap_gains(F, y, kappa, model.prior_std_, model.support_, now.mean, now.variance)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("init", ["greedy", "random"])
def test_the_end_is_the_posterior_on_its_subspace_and_no_exchange_gains(seed, init):
    F, y, _ = _problem(seed, spread=1.0)
    model = SparseSubspaceVI(4, prior_std=1.3, noise_variance=0.2, init=init, random_state=seed).fit(F, y)
    found = subspace_posterior(F, y, 5.0, 1.3, model.support_)
    np.testing.assert_allclose(model.coef_[model.support_], found.mean, rtol=1e-10)
    np.testing.assert_allclose(model.sigma_[model.support_] ** 2, found.variance, rtol=1e-10)
    assert not np.delete(model.coef_, model.support_).any()
    assert not np.delete(model.sigma_, model.support_).any()
    assert model.elbo_ == pytest.approx(found.elbo, rel=1e-12)
    assert model.history_["elbo"][-1] == model.elbo_
    assert np.all(np.diff(model.history_["elbo"]) > 0)
    assert model.history_["elbo"].size == model.n_iter_
    gain = _gains(model, F, y).gain.max()
    assert gain < 1e-9
    assert model.certificate_.measured == pytest.approx(gain, rel=1e-8)
    assert model.certificate_.check(F, y).measured == pytest.approx(gain, rel=1e-8)
    np.testing.assert_array_equal(model.predict(F), F @ model.coef_)


def test_the_best_of_all_subspaces_is_found():
    """All 220 subspaces of three of twelve columns, and the moves one by one: each takes the best exchange."""
    hits = 0
    for seed in range(10):
        F, y, _ = _problem(seed, spread=0.7)
        bounds = {A: subspace_posterior(F, y, 8.0, 1.0, A).elbo for A in combinations(range(12), 3)}
        model = SparseSubspaceVI(3, prior_std=1.0, noise_variance=0.125).fit(F, y)
        hits += tuple(model.support_.tolist()) == max(bounds, key=lambda A: bounds[A])
    assert hits >= 9


@pytest.mark.parametrize("seed", range(5))
def test_each_move_is_the_exchange_that_gains_most(seed):
    F, y, _ = _problem(seed, spread=0.5)
    rng = np.random.default_rng(seed)
    active = np.sort(rng.choice(12, 4, replace=False))
    model = SparseSubspaceVI(4, prior_std=1.0, noise_variance=0.1, init="random", random_state=seed).fit(F, y)
    path = []
    while True:
        now = subspace_posterior(F, y, 10.0, 1.0, active)
        path.append(now.elbo)
        found = swap_gains(F, y, 10.0, 1.0, active, now.mean, now.variance)
        i, j = np.unravel_index(np.argmax(found.gain), found.gain.shape)
        if found.gain[i, j] <= 1e-9:
            break
        active[i] = found.candidates[j]
        assert subspace_posterior(F, y, 10.0, 1.0, active).elbo >= now.elbo + found.gain[i, j] - 1e-9
    np.testing.assert_allclose(model.history_["elbo"], path, rtol=1e-9)
    assert model.support_.tolist() == np.sort(active).tolist()


def test_removal_and_addition_rests_where_its_moves_gain_nothing():
    gains = []
    for seed in range(20):
        F, y, _ = _problem(seed, m=30, n=60, k=8, spread=0.7)
        given = {"prior_std": 1.0, "noise_variance": 0.1, "init": "random", "random_state": seed}
        model = SparseSubspaceVI(8, method="removal_addition", rule="grad", **given).fit(F, y)
        again = model.certificate_.check(F, y)
        assert again.status is model.certificate_.status
        assert np.all(np.diff(model.history_["elbo"]) > 0)
        # The last move, which gains nothing, is taken back.
        assert model.history_["elbo"][-1] == model.elbo_
        assert model.converged_
        if again.status is Status.NOT_APPLICABLE:
            gains.append(_gains(model, F, y).gain.max())
            assert again.measured == pytest.approx(gains[-1], rel=1e-6)
        else:
            assert again.valid
    # Often an exchange would still gain: that is why this method promises nothing.
    assert len(gains) >= 5


@pytest.mark.parametrize("learned", ["noise", "prior", "both"])
@pytest.mark.parametrize("shape", [(40, 12), (8, 30)])
def test_learned_numbers_maximise_the_bound(learned, shape):
    F, y, _ = _problem(2, *shape)
    given = {"noise": {"prior_std": 0.8}, "prior": {"noise_variance": 0.15}, "both": {}}[learned]
    model = SparseSubspaceVI(4, **given).fit(F, y)

    def loss(logs):
        noise = model.noise_variance_ * np.exp(logs[0] * (learned != "prior"))
        prior = model.prior_std_ * np.exp(logs[1] * (learned != "noise"))
        return -subspace_posterior(F, y, 1 / noise, prior, model.support_).elbo

    assert -model.elbo_ == pytest.approx(loss([0.0, 0.0]), rel=1e-12)
    best = minimize(
        loss, [0.0, 0.0], method="Nelder-Mead", options={"initial_simplex": [[0.3, 0], [-0.3, 0.4], [0, -0.4]]}
    )
    assert best.fun >= -model.elbo_ - 1e-6
    if learned != "prior":
        assert loss([1e-3, 0.0]) > -model.elbo_ < loss([-1e-3, 0.0])
        wrong = replace(model.certificate_, noise_variance=1.01 * model.noise_variance_)
        assert not wrong.check(F, y).valid
    if learned != "noise":
        assert loss([0.0, 1e-3]) > -model.elbo_ < loss([0.0, -1e-3])


def test_a_certificate_knows_when_learned_numbers_are_not_at_their_best():
    F, y, _ = _problem(2)
    known = SparseSubspaceVI(3, prior_std=1.0, noise_variance=0.2).fit(F, y).certificate_
    assert known.check(F, y).valid
    for flag, reason in (("learn_noise", "noise variance"), ("learn_prior", "prior")):
        claimed = replace(known, **{flag: True}).stated().check(F, y)
        assert not claimed.valid
        assert f"another {reason} raises the bound" in claimed.reason


def test_more_starts_are_no_worse_and_rescue_a_trapped_one():
    """From this random start the exchanges end far from the support that made the data."""
    rng = np.random.default_rng(6)
    F = rng.standard_normal((60, 120))
    x = np.zeros(120)
    x[rng.choice(120, 10, replace=False)] = rng.choice([-1, 1], 10) * rng.uniform(0.5, 1.5, 10)
    y = F @ x + 0.3 * rng.standard_normal(60)
    given = {"prior_std": 2.0, "noise_variance": 0.09, "random_state": 1, "init": "random"}
    trapped = SparseSubspaceVI(12, **given).fit(F, y)
    rescued = SparseSubspaceVI(12, n_init=10, **given).fit(F, y)
    found = [np.count_nonzero(x[model.support_]) for model in (trapped, rescued)]
    assert found[0] <= 6
    assert found[1] == 10
    assert rescued.elbo_ > trapped.elbo_ + 100


def test_the_best_start_is_kept_wherever_it_comes():
    F, y, _ = _problem(4, m=20, n=60, k=8)
    given = {"prior_std": 1.0, "noise_variance": 0.1, "init": "random", "random_state": 5}
    # The first starts of more starts are the same.
    bounds = [SparseSubspaceVI(6, n_init=k, **given).fit(F, y).elbo_ for k in range(1, 9)]
    assert np.all(np.diff(bounds) >= 0)
    assert bounds[-1] > bounds[0]


def test_later_starts_are_random_ones_that_may_beat_the_greedy_one():
    rng = np.random.default_rng(32)
    F = rng.standard_normal((20, 30)) + 2 * rng.standard_normal((20, 1))
    y = F[:, :5] @ rng.standard_normal(5) + 0.3 * rng.standard_normal(20)
    given = {"prior_std": 1.0, "noise_variance": 0.1, "random_state": 0}
    greedy, best = (SparseSubspaceVI(5, n_init=n_init, **given).fit(F, y) for n_init in (1, 10))
    assert best.elbo_ > greedy.elbo_ + 5


@pytest.mark.parametrize("criterion", ["mean", "snr", "savage_dickey"])
def test_scores_see_the_units_of_the_user(criterion):
    F, y, _ = _problem(3, m=30, n=60, k=8, spread=0.7)
    fits = []
    for t in (1.0, 1e4):
        given = {"prior_std": t, "noise_variance": 0.1 * t**2, "init": "random", "random_state": 2}
        model = SparseSubspaceVI(8, method="removal_addition", rule="grad", criterion=criterion, **given)
        fits.append(model.fit(F, t * y))
    np.testing.assert_array_equal(fits[0].support_, fits[1].support_)
    np.testing.assert_allclose(fits[0].history_["elbo"], fits[1].history_["elbo"] + 30 * np.log(1e4), rtol=1e-9)
    assert fits[0].n_iter_ > 3


def test_of_equal_gains_the_first_column_wins_whatever_rounding_says():
    rng = np.random.default_rng(0)
    for _ in range(20):
        column = rng.standard_normal(40)
        # The same numbers in another order: inner products with constant data differ by rounding alone.
        F = np.column_stack([column + 2.0, rng.permutation(column) + 2.0, rng.permutation(column) + 2.0])
        assert SparseSubspaceVI(1, prior_std=1.0, noise_variance=0.5).fit(F, np.ones(40)).support_.tolist() == [0]


def test_an_intercept_is_a_flat_direction():
    F, y, _ = _problem(4)
    F, y = F + 100.0, y - 7.0
    model = SparseSubspaceVI(3, fit_intercept=True).fit(F, y)
    assert model.certificate_.check(F, y).valid
    centred = SparseSubspaceVI(3).fit(F - F.mean(axis=0), y - y.mean())
    np.testing.assert_array_equal(model.support_, centred.support_)
    np.testing.assert_allclose(model.predict(F).mean(), y.mean(), rtol=1e-9)
    # One degree of freedom goes with the mean.
    assert model.noise_variance_ == pytest.approx(centred.noise_variance_ * 40 / 39, rel=0.02)
    constant = np.column_stack([np.full(40, 3.0), F])
    assert 0 not in SparseSubspaceVI(12, fit_intercept=True).fit(constant, y).support_
    with pytest.raises(ValueError, match="at least two rows"):
        SparseSubspaceVI(1, fit_intercept=True).fit(F[:1], y[:1])


def test_of_repeated_columns_the_first_enters():
    F, y, x = _problem(5, k=3)
    repeated = np.concatenate([F, F], axis=1)
    model = SparseSubspaceVI(3, init="random", random_state=0, n_init=3).fit(repeated, y)
    assert SparseSubspaceVI(3).fit(repeated, y).support_.tolist() == np.flatnonzero(x).tolist()
    assert (model.support_ % 12).tolist() == np.flatnonzero(x).tolist()
    assert model.certificate_.check(repeated, y).valid


@pytest.mark.parametrize("method", ["best_swap", "removal_addition"])
@pytest.mark.parametrize("rule", ["grad", "gain"])
def test_columns_of_zeros_do_not_even_enter_where_all_others_cost(method, rule):
    """Every column that does not explain anything lowers the bound; a column of zeros would not."""
    rng = np.random.default_rng(0)
    F, y = rng.standard_normal((30, 20)), 0.01 * rng.standard_normal(30)
    F[:, ::2] = 0.0
    moves = 0
    for seed in range(5):
        given = {"prior_std": 3.0, "noise_variance": 1.0, "init": "random", "random_state": seed, "rule": rule}
        model = SparseSubspaceVI(4, method=method, **given).fit(F, y)
        assert np.all(model.support_ % 2 == 1)
        moves += model.n_iter_ - 1
    # Nor do they stand in the way of others.
    assert moves >= 2


def test_columns_of_zeros_never_enter():
    F, y, _ = _problem(6)
    F[:, [0, 3]] = 0.0
    model = SparseSubspaceVI(10).fit(F, y)
    assert not {0, 3} & set(model.support_.tolist())
    with pytest.warns(RuntimeWarning, match="X has 10 columns that are not zero, fewer than n_nonzero=11"):
        model = SparseSubspaceVI(11).fit(F, y)
    assert model.support_.size == 10
    assert model.certificate_.check(F, y).valid
    with pytest.warns(RuntimeWarning, match="0 columns"):
        empty = SparseSubspaceVI(2).fit(np.zeros((5, 3)), np.arange(5.0))
    assert empty.support_.size == 0
    assert empty.certificate_.check(np.zeros((5, 3)), np.arange(5.0)).valid


@pytest.mark.parametrize("given", [{}, {"prior_std": 1.0, "noise_variance": 0.1}])
@pytest.mark.parametrize("method", ["best_swap", "removal_addition"])
def test_small_and_degenerate_problems(given, method):
    F, y, _ = _problem(7)
    problems = {
        "all columns": (F, y, 12),
        "zero response": (F, np.zeros(40), 3),
        "one row": (F[:1], y[:1], 3),
        "one column": (F[:, :1], y, 1),
        "one number": (F[:1, :1], y[:1], 1),
        "more columns than rows": (F[:5], y[:5], 8),
        "no noise": (F, F[:, 0] + F[:, 4], 2),
    }
    for name, (X, target, size) in problems.items():
        model = SparseSubspaceVI(size, method=method, **given).fit(X, target)
        assert model.support_.size == size, name
        assert model.certificate_.check(X, target).status is model.certificate_.status is not Status.INVALID, name
        assert np.isfinite(model.elbo_), name
        if name == "zero response":
            assert not model.coef_.any()
        if name == "all columns":
            assert model.n_iter_ == 1


def test_more_columns_than_a_gram_matrix_would_hold():
    """The square Gram matrix of 20000 columns would take 3 GB; only rows of candidates are formed."""
    rng = np.random.default_rng(0)
    F = rng.standard_normal((60, 20000))
    y = F[:, 19999] - F[:, 7] + 0.1 * rng.standard_normal(60)
    model = SparseSubspaceVI(2, init="random", random_state=0).fit(F, y)
    assert model.support_.tolist() == [7, 19999]


@pytest.mark.parametrize("rows", [1, 3])
def test_rows_that_do_not_fit_are_forgotten_and_computed_again(monkeypatch, rows):
    F, y, _ = _problem(3, n=200, k=6, spread=0.5)
    given = {"init": "random", "n_init": 4, "random_state": 0}
    wanted = SparseSubspaceVI(6, **given).fit(F, y)
    monkeypatch.setattr(search, "_MEMORY", 8 * 200 * rows)
    computed = []
    learn = search.SubspaceSearch.learn
    monkeypatch.setattr(search.SubspaceSearch, "learn", lambda self, new: (computed.extend(new), learn(self, new))[1])
    found = SparseSubspaceVI(6, **given).fit(F, y)
    np.testing.assert_allclose(found.history_["elbo"], wanted.history_["elbo"], rtol=1e-9)
    np.testing.assert_array_equal(found.support_, wanted.support_)
    assert len(computed) > 100


@pytest.mark.parametrize("method", ["best_swap", "removal_addition"])
def test_columns_of_very_different_sizes_do_not_send_the_search_in_circles(method):
    """Gram matrices of such columns tell gains wrongly; moves that they promise were taken back for ever."""
    for seed in (63, 93, 129, 190, 201, 266):
        rng = np.random.default_rng(seed)
        F = rng.standard_normal((3, 8)) * np.exp(8 * rng.standard_normal(8))
        y = rng.standard_normal(3)
        model = SparseSubspaceVI(3, method=method, prior_std=1.0, noise_variance=1e-6).fit(F, y)
        assert model.converged_
        assert model.n_iter_ < 20
        assert np.all(np.diff(model.history_["elbo"]) > 0)
        found = model.certificate_.check(F, y)
        assert found.status is model.certificate_.status is not Status.INVALID
        if method == "best_swap":
            assert found.valid


def test_a_certificate_sees_coefficients_below_rounding():
    F, y = np.array([[1e-9, 2e-9]]), np.array([1e12])
    model = SparseSubspaceVI(2, prior_std=1e-3, noise_variance=1e24).fit(F, y)
    assert np.all(model.coef_ > 0)
    assert model.certificate_.check(F, y).valid


def test_a_certificate_sees_a_prior_beside_large_columns():
    F, y = np.array([[1e17, 0.0], [0.0, 1.0]]), np.ones(2)
    model = SparseSubspaceVI(2, prior_std=1.0, noise_variance=1.0).fit(F, y)
    np.testing.assert_allclose(model.coef_, [1e-17, 0.5], rtol=1e-9)
    assert model.certificate_.check(F, y).valid
    # What is forged is seen all the same.
    wrong = replace(model.certificate_, elbo=model.elbo_ + 1e-3)
    assert not wrong.check(F, y).valid


def test_too_few_moves_are_told():
    F, y, _ = _problem(1, n=60, spread=0.5)
    given = {"init": "random", "random_state": 3, "prior_std": 1.0, "noise_variance": 0.1}
    with pytest.warns(ConvergenceWarning, match="still moved after max_iter=1 moves"):
        model = SparseSubspaceVI(6, max_iter=1, **given).fit(F, y)
    assert model.n_iter_ == 1
    assert not model.converged_
    assert not model.certificate_.valid
    assert "an exchange gains" in model.certificate_.check(F, y).reason


def test_bad_arguments():
    F, y, _ = _problem(0)
    with pytest.raises(ValueError, match="n_nonzero must be at most the 12 columns of X; got 13"):
        SparseSubspaceVI(13).fit(F, y)
    with pytest.raises(ValueError, match=r"noise_variance must be a finite positive number .* got 0"):
        SparseSubspaceVI(2, noise_variance=0).fit(F, y)
    with pytest.raises(ValueError, match=r"prior_std must not be 1e\d+ times"):
        SparseSubspaceVI(2, prior_std=1e200).fit(F, y)
    with pytest.raises(ValueError, match=r"noise_variance must not be 1e-\d+ times"):
        SparseSubspaceVI(2, noise_variance=1e-200).fit(F, y)
    with pytest.raises(ValueError, match="Complex data not supported"):
        SparseSubspaceVI(2).fit(F + 1j, y)
    with pytest.raises(NotFittedError):
        SparseSubspaceVI(2).predict(F)


def test_starts_are_reproducible_and_parameters_are_kept():
    F, y, _ = _problem(8, n=60, k=8)
    model = SparseSubspaceVI(8, init="random", n_init=3, random_state=np.random.RandomState(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = clone(model).fit(F, y).history_["elbo"]
        np.testing.assert_array_equal(first, clone(model).fit(F, y).history_["elbo"])
    assert model.get_params()["n_init"] == 3


def test_noise_of_another_unit_is_found():
    F, y, _ = _problem(9, m=400, noise=0.3)
    model = SparseSubspaceVI(3).fit(F, y)
    assert model.noise_variance_ == pytest.approx(0.09, rel=0.25)
    scaled = SparseSubspaceVI(3).fit(100 * F, 1e-5 * y)
    assert scaled.noise_variance_ == pytest.approx(1e-10 * model.noise_variance_, rel=1e-6)
    assert scaled.prior_std_ == pytest.approx(1e-7 * model.prior_std_, rel=1e-6)
    assert scaled.elbo_ == pytest.approx(model.elbo_ + 400 * np.log(1e5), rel=1e-9)
