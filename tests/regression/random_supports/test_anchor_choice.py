"""Options of the choice of anchors: random ones, limits, forced ones, priors, what is in every model."""

import numpy as np
import pytest
from regression.anchor_references import all_distances, clustered, many_compatibilities
from scipy import stats

from sparsetheory.regression import select_anchors, theory
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.random_supports.anchor_choice import find_anchors

N, D, K = 80, 200, 4


def _clusters(seed=0, scale=1e-3, groups=12):
    return clustered(np.random.default_rng(seed), N, D, groups, scale)


def test_the_search_reads_only_what_it_draws():
    class Counting(Columns):
        read = 0

        def raw(self, indices):
            Counting.read += len(indices)
            return super().raw(indices)

    X = np.random.default_rng(0).standard_normal((50, 5000))
    anchors = find_anchors(Counting(X), n_nonzero=5, random_state=0)
    assert Counting.read == 5 * anchors.n_tests
    assert Counting.read < 5000


def test_zero_columns_are_never_drawn():
    X = _clusters()
    X[:, ::2] = 0.0
    for method in ("adaptive", "random"):
        anchors = select_anchors(
            X, n_nonzero=K, method=method, n_anchors=15 if method == "random" else None, random_state=0
        )
        assert np.all(anchors.indices % 2 == 1)
        assert anchors.n_usable == D // 2
        assert np.all(anchors.weights[::2] == 0)
        assert anchors.indices.size > 0


def test_few_usable_columns():
    X = np.zeros((N, 6))
    assert select_anchors(X, n_nonzero=3, random_state=0).certified
    X[:, :2] = np.random.default_rng(0).standard_normal((N, 2))
    anchors = select_anchors(X, n_nonzero=3, random_state=0)
    assert anchors.certified
    assert anchors.n_usable == 2
    assert select_anchors(X, n_nonzero=3, method="random", random_state=0).indices.tolist() == [0, 1]


def test_duplicates_are_harmless():
    base = np.random.default_rng(0).standard_normal((N, 20))
    X = np.repeat(base, 5, axis=1)
    anchors = select_anchors(X, n_nonzero=K, random_state=0)
    assert anchors.certified
    assert anchors.n_ill_conditioned == 0
    assert anchors.indices.size == 0


def test_one_coefficient_needs_no_anchors():
    X = _clusters(scale=1e-12)
    for method in ("adaptive", "random"):
        anchors = select_anchors(X, n_nonzero=1, method=method, random_state=0)
        assert anchors.indices.size == anchors.n_tests == 0
        assert anchors.certified
        assert anchors.delta_implied == 0.0


@pytest.mark.parametrize("forced", [[150, 3, 3], np.isin(np.arange(D), [3, 150])])
@pytest.mark.parametrize("options", [{}, {"method": "random", "n_anchors": 9}, {"max_anchors": 50}])
def test_forced_anchors(forced, options):
    X = _clusters()
    anchors = select_anchors(X, n_nonzero=K, forced=forced, random_state=0, **options)
    assert anchors.indices[:2].tolist() == [3, 150]
    assert np.all(anchors.weights[[3, 150]] == 0)
    assert anchors.indices.size > 2
    assert np.unique(anchors.indices).size == anchors.indices.size


def test_forced_anchors_do_not_count_against_the_limit():
    X = _clusters()
    anchors = select_anchors(X, n_nonzero=K, forced=range(20), max_anchors=15, delta=0.3, random_state=0)
    assert anchors.certified
    assert anchors.indices[:20].tolist() == list(range(20))


def test_what_is_always_in_the_model():
    X = _clusters() + 100.0
    ones = np.full((N, 1), N**-0.5)
    anchors = find_anchors(Columns(X, ones), n_nonzero=K, random_state=0)
    centred = find_anchors(Columns(X - X.mean(axis=0)), n_nonzero=K, random_state=0)
    np.testing.assert_array_equal(anchors.indices, centred.indices)
    assert anchors.fixed_basis is not None
    assert anchors.weights.size == 0
    np.testing.assert_allclose(anchors.Q @ (anchors.Q.T @ ones), ones)
    assert anchors.Q.shape[1] == 1 + anchors.indices.size


def test_columns_inside_what_is_always_in_the_model_are_never_drawn():
    X = _clusters()
    X[:, :50] = np.arange(1.0, 51.0)
    anchors = find_anchors(
        Columns(X, np.full((N, 1), N**-0.5)), n_nonzero=K, method="random", n_anchors=19, random_state=0
    )
    assert anchors.n_usable == D - 50
    assert anchors.indices.min() >= 50


def test_support_prior():
    X = np.hstack([np.random.default_rng(0).standard_normal((N, 150)), _clusters(groups=5)[:, :50]])
    prior = np.r_[np.full(150, 1e-3), np.ones(50)]
    blind, informed = (select_anchors(X, n_nonzero=K, support_prior=p, random_state=0) for p in (None, prior))
    assert informed.certified
    assert np.mean(informed.indices >= 150) > 0.9
    supports = np.random.default_rng(1).permuted(np.tile(np.arange(150, 200), (3000, 1)), axis=1)[:, :K]
    shares = [
        np.mean(many_compatibilities(X, supports, all_distances(X, a.indices)) > 2 * K) for a in (blind, informed)
    ]
    assert shares[1] < 0.1 < shares[0]
    np.testing.assert_allclose(informed.support_prior * prior.max(), prior)


def test_random_anchors_follow_the_prior():
    X = _clusters()
    prior = (np.arange(D) < 30) * 1.0
    anchors = select_anchors(X, n_nonzero=K, method="random", n_anchors=20, support_prior=prior, random_state=0)
    assert anchors.indices.max() < 30
    assert np.unique(anchors.indices).size == anchors.indices.size <= 20


def test_random_anchors_of_the_needed_number():
    X = np.random.default_rng(0).standard_normal((300, 400))
    anchors = select_anchors(X, n_nonzero=3, method="random", delta=0.1, random_state=0)
    assert anchors.indices.size == theory.required_anchors(3, 0.1) == 58
    assert anchors.certified
    assert anchors.delta_implied == pytest.approx(0.1)
    assert anchors.n_tests == 0


def test_random_anchors_keep_their_promise():
    # Theorem for any design: some ratio exceeds 1 with probability at most k / (m // (k - 1) + 1).
    X, rng, k, m, trials = _clusters(scale=1e-5, groups=30), np.random.default_rng(0), 3, 12, 400
    bound, failures = theory.anchor_failure_bound(k, m), 0
    for seed in range(trials):
        anchors = select_anchors(X, n_nonzero=k, method="random", n_anchors=m, random_state=seed)
        assert anchors.delta_implied == bound
        S = rng.choice(D, k, replace=False)
        own = 1 / (np.linalg.norm(np.linalg.pinv(X[:, S], rcond=1e-14), axis=1) * np.sqrt(N))
        failures += bool(np.any(anchors.weights[S] > own * (1 + 1e-6)))
    assert 0 < failures <= stats.binom.isf(1e-6, trials, bound)


def test_too_few_random_anchors():
    X = np.random.default_rng(0).standard_normal((N, D))
    with pytest.warns(UserWarning, match=r"20 random anchors, where 200 .* is 20: they imply delta=0.571"):
        few = select_anchors(X, n_nonzero=K, method="random", random_state=0)
    assert few.indices.size == N // 4
    assert not few.certified
    assert few.delta_implied == pytest.approx(4 / 7)
    with pytest.warns(UserWarning, match="30 random anchors"):
        assert select_anchors(X, n_nonzero=K, method="random", n_anchors=30, random_state=0).indices.size == 30


def test_random_anchors_promise_no_compatibility_below_k():
    X = np.random.default_rng(0).standard_normal((300, 400))
    anchors = select_anchors(X, n_nonzero=3, method="random", delta=0.1, max_compatibility=2.9, random_state=0)
    assert not anchors.certified
    assert anchors.delta_implied == 1.0


def test_all_columns_as_anchors_leave_nothing():
    X = np.random.default_rng(0).standard_normal((60, 8))
    anchors = select_anchors(X, n_nonzero=3, method="random", random_state=0)
    assert anchors.indices.size == 8
    assert anchors.certified
    assert np.all(anchors.weights == 0)


def test_uncertified_anchors():
    X = _clusters(groups=40, scale=1e-6)
    with pytest.warns(RuntimeWarning, match=r"at the limit of 6 anchors, \d+ of \d+ needed supports in a row passed"):
        anchors = select_anchors(X, n_nonzero=K, max_anchors=6, random_state=0)
    assert not anchors.certified
    assert anchors.indices.size == anchors.n_failures == 6
    assert anchors.delta_implied == 1.0
    with pytest.warns(RuntimeWarning, match="at the limit of 0 anchors"):
        assert select_anchors(X, n_nonzero=K, max_anchors=0, random_state=0).indices.size == 0


def test_the_limit_is_no_failure_where_the_anchors_pass():
    X = _clusters()
    full = select_anchors(X, n_nonzero=K, random_state=0)
    exact = select_anchors(X, n_nonzero=K, max_anchors=full.indices.size, random_state=0)
    assert exact.certified
    np.testing.assert_array_equal(exact.indices, full.indices)


def test_random_anchors_follow_where_the_default_limit_leaves_room():
    X = clustered(np.random.default_rng(0), 120, 400, 60, 1e-6)
    with pytest.warns(RuntimeWarning, match=r"limit of 24 .*random anchors imply delta=0.5\)"):
        anchors = select_anchors(X, n_nonzero=3, delta=0.5, confidence=1 - 1e-15, random_state=0)
    assert not anchors.certified
    assert anchors.n_failures == 24
    assert 30 < anchors.indices.size <= 24 + theory.required_anchors(3, 0.5)
    assert anchors.delta_implied == 0.5


def test_mixed_rule_adds_blocks():
    X = _clusters(groups=40, scale=1e-6)
    anchors = select_anchors(X, n_nonzero=K, rule="mixed", delta=0.3, max_anchors=60, random_state=0)
    assert anchors.certified
    assert anchors.n_failures * K >= anchors.indices.size > anchors.n_failures
    one = select_anchors(X, n_nonzero=K, delta=0.3, max_anchors=60, random_state=0)
    assert anchors.n_failures < one.n_failures
    with pytest.warns(RuntimeWarning, match="not certified"):
        capped = select_anchors(X, n_nonzero=K, rule="mixed", max_anchors=22, random_state=0)
    # Five blocks fit below 22, then single columns.
    assert capped.n_failures == 7
    assert capped.indices.size <= 22
    assert capped.delta_implied == pytest.approx(K / 6)


def test_default_limit_leaves_room_in_small_samples():
    X = np.random.default_rng(0).standard_normal((4, 3)) + 1e3
    for basis, limit in ((None, 1), (np.full((4, 1), 0.5), 0)):
        with pytest.warns(RuntimeWarning, match=f"limit of {limit} anchors"):
            anchors = find_anchors(Columns(X, basis), n_nonzero=2, max_compatibility=0.01, random_state=0)
        assert anchors.Q.shape == (4, 1)
