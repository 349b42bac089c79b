"""Forward selection, its length, and backward deletion, against definitions in extended precision and brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse, stats

from sparsetheory.regression.columns import Columns
from sparsetheory.regression.greedy.stepwise import (
    ForwardPath,
    backward,
    choose_length,
    feature_cost,
    forward_path,
    refit,
)

seeds = st.integers(0, 10**6)
EPS = np.finfo(np.float64).eps


def _path(X, y, Q=None, **arguments):
    columns = Columns(X, Q)
    squares = columns.squares()
    squares[squares <= 1e-22 * columns.raw_squares()] = 0.0
    return forward_path(columns, columns.project(y), squares, **arguments)


class _Exact:
    """What is left of all columns and of the response, in extended precision."""

    def __init__(self, X, y, Q=None):
        self.left, self.residual = X.astype(np.longdouble), y.astype(np.longdouble)
        for q in np.empty((0, y.size)) if Q is None else Q.T.astype(np.longdouble):
            self._remove(q)
        self.first = np.sum(self.left**2, axis=0)
        self.first[self.first <= 1e-22 * np.sum(X**2, axis=0)] = 0

    def _remove(self, q):
        for _ in range(2):
            q = q / np.sqrt(q @ q)
            self.left = self.left - np.outer(q, q @ self.left)
            self.residual = self.residual - q * (q @ self.residual)

    def gains(self, fixed_norms, limit=1e-12):
        squares = np.sum(self.left**2, axis=0)
        alive = (squares > 2 * limit * self.first) & (self.first > 0)
        shown = self.first if fixed_norms else squares
        return np.where(alive, (self.residual @ self.left) ** 2 / np.where(alive, shown, 1), 0).astype(float)

    def gain(self, index):
        column = self.left[:, index]
        return float((self.residual @ column) ** 2 / (column @ column))

    def rss(self):
        return float(self.residual @ self.residual)

    def select(self, index):
        self._remove(self.left[:, index].copy())


def _near_duplicates(rng, n, d, scale, groups=3):
    """Columns within `scale` of one of few heads; the first ones cover all heads."""
    heads = rng.standard_normal((n, groups))
    labels = np.append(np.arange(groups), rng.integers(0, groups, d - groups))
    return heads[:, labels] + scale * rng.standard_normal((n, d))


def _check_against_definition(path, X, y, Q, fixed_norms, rtol):
    """At every step the winner is the best one up to rounding, and its gain is what it really gains."""
    exact = _Exact(X, y, Q)
    for step, index in enumerate(path.indices):
        scores = exact.gains(fixed_norms)
        assert path.rss[step] == pytest.approx(exact.rss(), rel=rtol)
        assert path.gains[step] == pytest.approx(exact.gain(index), rel=rtol)
        assert scores[index] >= (1 - rtol) * scores.max()
        exact.select(index)
    assert path.rss[-1] == pytest.approx(exact.rss(), rel=rtol)


@pytest.mark.parametrize("fixed_norms", [False, True])
@given(seed=seeds, n=st.integers(3, 30), d=st.integers(1, 50), q=st.integers(0, 2))
def test_selects_what_the_definition_selects(fixed_norms, seed, n, d, q):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-3, 3, d), rng.standard_normal(n)
    Q = np.linalg.qr(rng.standard_normal((n, q)))[0]
    path = _path(X, y, Q, max_steps=min(8, (n - q) // 2), fixed_norms=fixed_norms)
    assert path.indices.size == min(8, (n - q) // 2, d)
    _check_against_definition(path, X, y, Q, fixed_norms, 1e-9)


@pytest.mark.parametrize("fixed_norms", [False, True])
@pytest.mark.parametrize("scale", [1e-1, 1e-3, 1e-5])
@given(seed=seeds)
def test_near_duplicates(fixed_norms, scale, seed):
    # What is left of most columns after three steps is scale^2 of their square: differences cancel, gains must not.
    # The distance of a column to its group is known to EPS / scale, and so is the cosine with the residual.
    rng = np.random.default_rng(seed)
    X, y = _near_duplicates(rng, 25, 40, scale), rng.standard_normal(25)
    path = _path(X, y, max_steps=8, fixed_norms=fixed_norms)
    assert path.indices.size == 8
    _check_against_definition(path, X, y, None, fixed_norms, 1e4 * EPS / scale)


@given(seed=seeds)
def test_near_duplicates_of_what_is_projected_out(seed):
    rng = np.random.default_rng(seed)
    X, y = _near_duplicates(rng, 25, 40, 1e-6), rng.standard_normal(25)
    Q = np.linalg.qr(X[:, :6])[0]
    path = _path(X, y, Q, max_steps=8)
    assert not np.isin(path.indices, np.arange(6)).any()
    # Columns as they are, up to EPS of their norm, have distances of 1e-6 to the span: EPS / 1e-6 relative each.
    _check_against_definition(path, X, y, Q, False, 1e5 * EPS / 1e-6)


@given(seed=seeds, fixed_norms=st.booleans())
def test_invariants_of_a_path(seed, fixed_norms):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((40, 60)), 1e3 * rng.standard_normal(40)
    path = _path(X, y, max_steps=25, fixed_norms=fixed_norms)
    steps = path.indices.size
    assert steps == np.unique(path.indices).size == 25
    assert path.basis.T @ path.basis == pytest.approx(np.eye(steps), abs=1e-13)
    chosen = X[:, path.indices]
    assert np.linalg.norm(chosen - path.basis @ (path.basis.T @ chosen)) < 1e-12 * np.linalg.norm(chosen)
    assert np.linalg.norm(np.tril(path.basis.T @ chosen, -1)) < 1e-12 * np.linalg.norm(chosen)
    residual = y - chosen @ refit(chosen, y)
    assert np.abs(chosen.T @ residual).max() < 1e-12 * np.linalg.norm(y) * np.linalg.norm(chosen, axis=0).max()
    assert path.rss[:-1] - path.rss[1:] == pytest.approx(path.gains, rel=1e-9, abs=1e-10)
    assert path.rss[-1] == pytest.approx(residual @ residual, rel=1e-9)


@given(seed=seeds, fixed_norms=st.booleans())
def test_gain_is_the_squared_correlation_over_what_is_left_of_the_column(seed, fixed_norms):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((30, 20)), rng.standard_normal(30)
    path = _path(X, y, max_steps=6, fixed_norms=fixed_norms)
    for step, index in enumerate(path.indices):
        chosen = X[:, path.indices[:step]]
        left = X[:, index] - chosen @ np.linalg.lstsq(chosen, X[:, index], rcond=None)[0]
        residual = y - chosen @ np.linalg.lstsq(chosen, y, rcond=None)[0]
        assert path.gains[step] == pytest.approx((X[:, index] @ residual) ** 2 / (left @ left), rel=1e-9)


def test_forward_stepwise_gains_at_least_as_much_as_fixed_norms_in_one_step(rng):
    X = _near_duplicates(rng, 30, 20, 0.3)
    y = rng.standard_normal(30)
    first = _path(X, y, max_steps=1)
    assert first.indices == _path(X, y, max_steps=1, fixed_norms=True).indices
    assert _path(X, y, max_steps=2).rss[2] <= _path(X, y, max_steps=2, fixed_norms=True).rss[2] * (1 + 1e-12)


@pytest.mark.parametrize("fixed_norms", [False, True])
@given(seed=seeds, d=st.integers(2, 8), data=st.data())
def test_incoherent_designs_are_recovered_without_noise(fixed_norms, seed, d, data):
    # Tropp (2004): any k < (1 + 1/mu) / 2 columns, whatever their coefficients.
    rng = np.random.default_rng(seed)
    X = np.hstack([np.eye(64), np.linalg.qr(rng.standard_normal((64, 64)))[0][:, :d]])
    coherence = np.abs(X.T @ X - np.eye(64 + d)).max()
    k = int(np.ceil((1 + 1 / coherence) / 2)) - 1
    support = rng.choice(64 + d, k, replace=False)
    y = X[:, support] @ (rng.choice([-1, 1], k) * 10.0 ** rng.uniform(-3, 3, k))
    path = _path(X, y, max_steps=10, fixed_norms=fixed_norms)
    assert np.sort(path.indices).tolist() == np.sort(support).tolist()
    assert path.rss[-1] <= 1e-24 * path.rss[0]


@pytest.mark.parametrize("fixed_norms", [False, True])
@given(seed=seeds, scale=st.sampled_from([1.0, 1e-2, 1e-4]))
def test_rates_of_greedy_approximation(fixed_norms, seed, scale):
    # DeVore and Temlyakov (1996); Barron, Cohen, Dahmen and DeVore (2008).
    rng = np.random.default_rng(seed)
    X = _near_duplicates(rng, 30, 40, scale)
    X /= np.linalg.norm(X, axis=0)
    z = np.zeros(40)
    z[rng.choice(40, 5, replace=False)] = rng.standard_normal(5)
    radius, steps = np.abs(z).sum(), np.arange(11)
    noiseless = _path(X, X @ z, max_steps=10, fixed_norms=fixed_norms).rss
    assert (np.sqrt(noiseless) <= radius / np.sqrt(steps[: noiseless.size] + 1) * (1 + 1e-9)).all()
    noise = rng.standard_normal(30)
    noisy = _path(X, X @ z + noise, max_steps=10, fixed_norms=fixed_norms).rss[1:]
    assert (noisy <= noise @ noise + 4 * radius**2 / steps[1 : noisy.size + 1]).all()


class _Counting(Columns):
    passes = 0

    def inner(self, vectors):
        self.passes += 1
        return super().inner(vectors)


@pytest.mark.parametrize(("fixed_norms", "passes"), [(False, 25 + 2), (True, 25)])
def test_one_pass_per_step_and_one_more_every_tenth(rng, fixed_norms, passes):
    columns = _Counting(rng.standard_normal((60, 90)))
    forward_path(columns, rng.standard_normal(60), columns.squares(), max_steps=25, fixed_norms=fixed_norms)
    assert columns.passes == passes


def test_selection_stops_where_asked(rng):
    X, y = rng.standard_normal((50, 80)), rng.standard_normal(50)
    full = _path(X, y, max_steps=12)
    assert _path(X, y, max_steps=0).indices.size == 0
    by_gain = _path(X, y, max_steps=12, stop_gain=(full.gains[4] + full.gains[5]) / 2)
    assert by_gain.indices.tolist() == full.indices[: np.argmax(full.gains < full.gains[4])].tolist()
    by_rss = _path(X, y, max_steps=12, stop_rss=full.rss[7])
    assert by_rss.indices.tolist() == full.indices[:7].tolist()


@pytest.mark.parametrize("fixed_norms", [False, True])
def test_selection_stops_where_nothing_is_left(rng, fixed_norms):
    X = rng.standard_normal((20, 6))
    doubled = np.hstack([X, 3 * X, np.zeros((20, 2))])
    assert _path(doubled, rng.standard_normal(20), max_steps=14, fixed_norms=fixed_norms).indices.size == 6
    assert _path(X, np.zeros(20), max_steps=6, fixed_norms=fixed_norms).indices.size == 0
    assert _path(X, X[:, 2] - X[:, 4], max_steps=6, fixed_norms=fixed_norms).indices.size <= 6
    assert sorted(_path(X, X[:, 2], max_steps=6, fixed_norms=fixed_norms).indices) == [2]
    wide = rng.standard_normal((5, 30))
    interpolating = _path(wide, rng.standard_normal(5), np.full((5, 1), 5**-0.5), max_steps=30, fixed_norms=fixed_norms)
    assert interpolating.indices.size == 4
    assert interpolating.rss[-1] < 1e-24


def test_everything_in_the_span_of_the_projection(rng):
    X = rng.standard_normal((20, 4))
    Q = np.linalg.qr(X)[0]
    assert _path(X @ rng.standard_normal((4, 50)), rng.standard_normal(20), Q, max_steps=5).indices.size == 0


@pytest.mark.parametrize("fixed_norms", [False, True])
def test_storage_does_not_matter(rng, fixed_norms):
    X = rng.standard_normal((40, 70)) * (rng.random((40, 70)) < 0.3)
    X = X.astype(np.float32).astype(np.float64)
    y, Q = rng.standard_normal(40), np.full((40, 1), 40**-0.5)
    expected = _path(np.asfortranarray(X), y, Q, max_steps=15, fixed_norms=fixed_norms)
    strided = np.zeros((80, 140), np.float32)[::2, ::2]
    strided[:] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    kinds = [np.ascontiguousarray(X), read_only, sparse.csc_array(X), sparse.csc_array(X.astype(np.float32)), strided]
    kinds += [np.asfortranarray(X, dtype=np.float32), np.ascontiguousarray(X, dtype=np.float32)]
    for kind in kinds:
        path = _path(kind, y, Q, max_steps=15, fixed_norms=fixed_norms)
        assert path.indices.tolist() == expected.indices.tolist()
        assert path.rss == pytest.approx(expected.rss, rel=1e-11)


def test_correlations_stay_accurate_while_the_residual_falls(rng):
    # Coefficients over fourteen orders of magnitude: errors of the first updates would hide the last features.
    X = rng.standard_normal((200, 400))
    w = 10.0 ** -np.arange(0, 12)
    path = _path(X, X[:, :12] @ w, max_steps=30)
    assert path.indices[:12].tolist() == list(range(12))


# ---- length ----


def _steps(rss, n=40):
    rss = np.asarray(rss, dtype=float)
    return ForwardPath(np.arange(rss.size - 1), -np.diff(rss), rss, np.empty((n, rss.size - 1)))


@given(
    st.lists(st.floats(0.05, 0.999), min_size=0, max_size=12),
    st.integers(1, 80),
    st.integers(1, 1000),
    st.sampled_from([1.0, 1e-8, 1e6]),
)
def test_length_minimises_the_criterion_in_any_unit(shares, n, d, unit):
    rss = unit * np.cumprod([7.0, *shares])
    length, noise_std = choose_length(_steps(rss), n, d)
    criteria = [
        sum((n - s - 1) * np.log(rss[s + 1] / rss[s]) + 2 * np.log(max(d, 2)) for s in range(t))
        for t in range(min(len(shares), n // 5) + 1)
    ]
    assert criteria[length] == pytest.approx(min(criteria), abs=1e-9)
    assert noise_std == pytest.approx(np.sqrt(rss[length] / (n - length)))


def test_length_looks_ahead():
    # The first step alone does not pay, both together do.
    assert choose_length(_steps([100.0, 99.0, 1.0]), 40, 500)[0] == 2
    assert choose_length(_steps([100.0, 99.0]), 40, 500)[0] == 0


def test_length_of_exact_fits_is_limited():
    length, noise_std = choose_length(_steps([100.0, 50.0, 0.0]), 40, 500)
    assert (length, noise_std) == (2, 0.0)
    assert choose_length(_steps([100.0, 0.0]), 4, 500) == (0, 5.0)
    assert choose_length(_steps([0.0]), 40, 500) == (0, 0.0)


@pytest.mark.parametrize(("n", "d"), [(50, 1000), (200, 200)])
def test_noise_is_rarely_taken_for_signal(n, d):
    # The squared cosine of noise with one column is Beta(1/2, (n-1)/2): the first step pays with probability at most
    # d times its tail. Later steps add to that, but less than as much again.
    rng = np.random.default_rng(3)
    trials, found = 200, 0
    for _ in range(trials):
        path = _path(rng.standard_normal((n, d)), rng.standard_normal(n), max_steps=n // 5)
        found += choose_length(path, n, d)[0] > 0
    bound = 2 * d * stats.beta.sf(1 - np.exp(-2 * np.log(d) / (n - 1)), 0.5, (n - 1) / 2)
    assert bound < 0.6
    assert stats.binom.sf(found - 1, trials, bound) > 1e-6


def test_cost_is_what_the_best_of_many_features_of_noise_gains(rng):
    gains = [np.max((rng.standard_normal(1000) * 0.3) ** 2) for _ in range(200)]
    assert 0.6 * feature_cost(0.3, 1000) < np.median(gains) < feature_cost(0.3, 1000)
    assert feature_cost(2.0, 1) == feature_cost(2.0, 2) > 0


# ---- deletion ----


def _rss(X, y, kept):
    return np.sum((y - X[:, kept] @ np.linalg.lstsq(X[:, kept], y, rcond=1e-12)[0]) ** 2)


def _brute_force(X, y, threshold, min_size=0):
    kept = list(range(X.shape[1]))
    while len(kept) > min_size:
        trials = [[k for k in kept if k != gone] for gone in kept]
        increases = [_rss(X, y, trial) - _rss(X, y, kept) for trial in trials]
        best = int(np.argmin(increases))
        if increases[best] >= threshold:
            break
        kept = trials[best]
    return kept


@given(seeds, st.integers(0, 8), st.floats(0, 12), st.integers(0, 4))
def test_deletes_what_brute_force_deletes(seed, c, threshold, min_size):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((25, c)) * 10.0 ** rng.uniform(-4, 4, c), 2 * rng.standard_normal(25)
    assert backward(X, y, threshold, min_size=min_size).tolist() == _brute_force(X, y, threshold, min_size)


@given(seed=seeds, scale=st.sampled_from([1e-2, 1e-4, 1e-6]))
def test_deletes_from_near_duplicates(seed, scale):
    rng = np.random.default_rng(seed)
    X = _near_duplicates(rng, 30, 9, scale, groups=2)
    y = 3 * (X[:, 0] - X[:, 1]) / np.linalg.norm(X[:, 0] - X[:, 1]) * 10 + rng.standard_normal(30)
    kept = backward(X, y, 4.0)
    # The greedy order may tie up to rounding: what is required is that every single deletion was, and now is, right.
    assert all(_rss(X, y, kept[kept != j]) - _rss(X, y, kept) > 4.0 * (1 - 1e-6) for j in kept)
    assert kept.tolist() == _brute_force(X, y, 4.0)


def test_what_is_left_of_near_duplicates_is_free_of_rounding(rng):
    # The dual of a column shrinks by 1e10 when its twin goes. With the rounding of the long one, the short one would
    # see 1e-6 of a response of 1e8 in columns that have no part in it.
    heads = rng.standard_normal((60, 12))
    X = np.hstack([heads, heads + 1e-10 * rng.standard_normal((60, 12))])
    kept = backward(X, 1e7 * heads[:, 5], 1e-3)
    assert kept.tolist() in ([5], [17])


def test_signals_of_cancelling_columns_are_kept(rng):
    heads = rng.standard_normal((60, 12))
    X = np.hstack([heads, heads + 1e-7 * rng.standard_normal((60, 12))])
    y = 1e8 * (X[:, 3] - X[:, 15]) + heads[:, 5] + 0.1 * rng.standard_normal(60)
    kept = backward(X, y, feature_cost(0.1, 24))
    assert kept.size == 3
    assert {3, 15} <= set(kept.tolist()) <= {3, 15, 5, 17}


def test_dependent_columns_go_first(rng):
    X = rng.standard_normal((20, 3))
    redundant = np.hstack([X, X @ rng.standard_normal((3, 4)), np.zeros((20, 1))])
    kept = backward(redundant, rng.standard_normal(20), 0.0)
    assert kept.size == 3
    assert np.linalg.matrix_rank(redundant[:, kept]) == 3
    assert backward(rng.standard_normal((4, 9)), rng.standard_normal(4), 0.0).size == 4


def test_extreme_thresholds(rng):
    X, y = rng.standard_normal((20, 5)), rng.standard_normal(20)
    assert backward(X, y, 0.0).tolist() == [0, 1, 2, 3, 4]
    assert backward(X, y, np.inf).size == 0
    assert backward(X, y, np.inf, min_size=2).tolist() == _brute_force(X, y, np.inf, 2)
    assert backward(X[:, :0], y, 1.0).size == 0
    assert backward(np.zeros((20, 2)), y, 1.0).size == 0


@given(seeds, st.integers(0, 6))
def test_refit_is_least_squares(seed, c):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((12, c)) * 10.0 ** rng.uniform(-6, 6, c), rng.standard_normal(12)
    scale = np.linalg.norm(X, axis=0)
    expected = np.linalg.lstsq(X / scale, y, rcond=None)[0]
    assert refit(X, y) * scale == pytest.approx(expected, rel=1e-8, abs=1e-10)


def test_refit_of_dependent_columns_predicts_the_same(rng):
    X, y = rng.standard_normal((12, 3)), rng.standard_normal(12)
    redundant = np.hstack([X, X[:, :2], np.zeros((12, 1))])
    coef = refit(redundant, y)
    assert np.count_nonzero(coef) == 3
    assert redundant @ coef == pytest.approx(X @ refit(X, y), abs=1e-12)
