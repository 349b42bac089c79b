"""Choosing anchors: the guarantee, layouts, seeds and errors."""

import numpy as np
import pytest
from regression.anchor_references import all_distances, clustered, many_compatibilities, uniform_supports
from scipy import sparse, stats

from sparsetheory.regression import make_design, select_anchors
from sparsetheory.regression.random_supports import anchor_search as search_module

N, D, K = 80, 200, 4


def _clusters(seed=0, scale=1e-3, groups=12):
    return clustered(np.random.default_rng(seed), N, D, groups, scale)


def _failing_share(X, anchors, k, max_compatibility, count=3000, seed=99):
    supports = uniform_supports(np.random.default_rng(seed), X.shape[1], k, count)
    return np.mean(
        many_compatibilities(X, supports, all_distances(X, anchors.indices)) > max_compatibility * (1 + 1e-6)
    )


def _runs_that_break_the_guarantee(name, runs, delta, beta):
    broken = 0
    for seed in range(runs):
        X = make_design(name, N, D, random_state=seed)
        anchors = select_anchors(X, n_nonzero=K, delta=delta, confidence=1 - beta, max_anchors=50, random_state=seed)
        assert anchors.certified
        share = _failing_share(X, anchors, K, 2 * K)
        broken += stats.binomtest(int(share * 3000), 3000, delta, "greater").pvalue < 1e-3
    return broken


@pytest.mark.parametrize("name", ["clusters", "tree", "cauchy", "lowrank"])
def test_certified_anchors_fail_rarely(name):
    # Each run may break the guarantee with probability beta.
    assert _runs_that_break_the_guarantee(name, 12, 0.15, 0.1) <= stats.binom.isf(1e-6, 12, 0.1)


def test_fewer_tests_would_not_do(monkeypatch):
    monkeypatch.setattr(search_module, "needed_passes", lambda *_: 2)
    monkeypatch.setattr("sparsetheory.regression.random_supports.anchor_choice.proved_fraction", lambda *_: 0.0)
    assert _runs_that_break_the_guarantee("tree", 12, 0.15, 0.1) > stats.binom.isf(1e-6, 12, 0.1)


def test_facts_about_the_search():
    X = _clusters()
    anchors = select_anchors(X, n_nonzero=K, random_state=0)
    assert anchors.certified
    assert anchors.indices.size == anchors.n_failures == np.unique(anchors.indices).size
    assert anchors.n_passes >= np.log((anchors.n_failures + 1) * (anchors.n_failures + 2) / 0.05) / 0.05
    assert anchors.n_tests >= anchors.n_passes + anchors.n_failures
    assert 0.04 < anchors.delta_implied <= anchors.delta == 0.05
    assert anchors.n_usable == D
    assert anchors.support_prior is None
    assert anchors.fixed_basis is None
    np.testing.assert_allclose(anchors.weights, all_distances(X, anchors.indices), rtol=1e-8, atol=1e-14)
    assert np.all(anchors.weights[anchors.indices] == 0)
    np.testing.assert_allclose(anchors.Q.T @ anchors.Q, np.eye(anchors.indices.size), atol=1e-13)


def test_columns_in_the_span_of_the_anchors_have_weight_zero():
    X = np.tile(_clusters(), 2) * 3.0
    anchors = select_anchors(X, n_nonzero=K, random_state=0)
    assert anchors.indices.size > 0
    assert np.all(anchors.weights[(anchors.indices + D) % (2 * D)] == 0)
    assert np.count_nonzero(anchors.weights) == 2 * D - 2 * np.unique(anchors.indices % D).size


def test_anchors_that_add_no_direction_have_weight_zero():
    X = _clusters(scale=1e-4)
    anchors = select_anchors(X, n_nonzero=K, forced=range(40), rtol=1e-2, random_state=0)
    assert anchors.Q.shape[1] < 20
    assert np.all(anchors.weights[:40] == 0)


def test_easy_designs_need_none():
    X = np.random.default_rng(0).standard_normal((N, D))
    anchors = select_anchors(X, n_nonzero=K, random_state=0)
    assert anchors.certified
    assert anchors.indices.size == anchors.n_failures == 0
    assert anchors.n_tests == anchors.n_passes == np.ceil(np.log(2 / 0.05) / 0.05)
    np.testing.assert_allclose(anchors.weights, np.sqrt((X**2).mean(axis=0)))


def test_a_smaller_compatibility_needs_more_anchors():
    X = _clusters(scale=0.3)
    sizes = [
        select_anchors(X, n_nonzero=K, max_compatibility=a, delta=0.2, random_state=0).indices.size
        for a in (20.0, 8.0, 5.0)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize("scale", [1e-2, 1e-5, 1e-8])
def test_anchors_do_not_depend_on_the_scale_of_columns(scale):
    X = _clusters(scale=scale)
    factors = 10.0 ** np.random.default_rng(1).uniform(-6, 6, D)
    plain, scaled = (select_anchors(Z, n_nonzero=K, random_state=0) for Z in (X, X * factors))
    np.testing.assert_array_equal(plain.indices, scaled.indices)
    np.testing.assert_allclose(scaled.weights, plain.weights * factors, rtol=1e-14 / scale + 1e-7)


@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray, sparse.csc_array, sparse.csr_matrix, list])
def test_layouts(layout):
    X = _clusters()
    X[np.random.default_rng(5).random(X.shape) < 0.3] = 0.0
    anchors, expected = (
        select_anchors(layout(X), n_nonzero=K, random_state=0),
        select_anchors(X, n_nonzero=K, random_state=0),
    )
    np.testing.assert_array_equal(anchors.indices, expected.indices)
    np.testing.assert_allclose(anchors.weights, expected.weights, rtol=1e-12)


def test_single_precision_is_storage_only(tmp_path):
    stored = np.memmap(tmp_path / "X", dtype=np.float32, mode="w+", shape=(N, D), order="F")
    stored[:] = _clusters()
    single = select_anchors(stored, n_nonzero=K, random_state=0)
    double = select_anchors(np.asarray(stored, dtype=np.float64), n_nonzero=K, random_state=0)
    np.testing.assert_array_equal(single.indices, double.indices)
    np.testing.assert_allclose(single.weights, double.weights, rtol=1e-12)
    assert single.weights.dtype == single.Q.dtype == np.float64


def test_single_precision_near_its_rounding():
    X = _clusters(scale=3e-7).astype(np.float32)
    with pytest.warns(UserWarning, match="columns in single precision are closer to the anchors than 1e-06"):
        select_anchors(X, n_nonzero=K, random_state=0)


def test_read_only_designs_stay_as_they_are():
    X = _clusters()
    before = X.copy()
    X.flags.writeable = False
    select_anchors(X, n_nonzero=K, random_state=0)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("method", ["adaptive", "random"])
def test_random_states(method):
    X = _clusters()
    found = [
        select_anchors(
            X, n_nonzero=K, method=method, n_anchors=10 if method == "random" else None, random_state=state
        ).indices.tolist()
        for state in (3, np.random.default_rng(3), np.random.RandomState(3), np.random.RandomState(3), 4)
    ]
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert found[0] != found[4]
    generator = np.random.default_rng(0)
    first, second = (select_anchors(X, n_nonzero=K, random_state=generator).indices.tolist() for _ in range(2))
    assert first != second


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_nonzero": 0}, "n_nonzero must be an integer from 1 to"),
        ({"n_nonzero": N + 1}, "n_nonzero must be an integer from 1 to"),
        ({"n_nonzero": 2.0}, "n_nonzero must be an integer"),
        ({"n_nonzero": True}, "n_nonzero must be an integer"),
        ({"delta": 0.0}, r"delta must be a number in \(0, 1\); got 0.0"),
        ({"delta": 1}, "delta must be"),
        ({"confidence": 1.0}, "confidence must be"),
        ({"confidence": float("nan")}, "confidence must be"),
        ({"max_compatibility": 0.0}, "max_compatibility must be a finite positive number"),
        ({"max_compatibility": np.inf}, "max_compatibility must be"),
        ({"rtol": 0.0}, "rtol must be"),
        ({"method": "greedy"}, "method must be one of 'adaptive', 'random'; got 'greedy'"),
        ({"rule": "two"}, "rule must be one of 'one', 'mixed'"),
        ({"n_anchors": 5}, "n_anchors must be None unless method='random'.*got 5"),
        ({"method": "random", "n_anchors": -1}, "n_anchors must be an integer from 0 to 200"),
        ({"method": "random", "n_anchors": 2.5}, "n_anchors must be an integer"),
        ({"method": "random", "n_anchors": D + 1}, "n_anchors must be an integer from 0 to 200"),
        ({"max_anchors": -1}, "max_anchors must be an integer from 0 to 78"),
        ({"max_anchors": N - 1}, "max_anchors must be an integer from 0 to 78"),
        ({"max_anchors": True}, "max_anchors must be an integer"),
        ({"forced": [D]}, "forced must hold indices"),
        ({"forced": [0.5]}, "forced must hold indices"),
        ({"forced": range(N - 2)}, "anchors span almost the whole sample space"),
        ({"support_prior": np.ones(3)}, "support_prior must be 200 finite"),
        ({"random_state": "seed"}, "random_state must be"),
    ],
)
def test_bad_arguments(options, message):
    X = np.random.default_rng(0).standard_normal((N, D))
    with pytest.raises(ValueError, match=message):
        select_anchors(X, **{"n_nonzero": K, **options})


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X.astype(np.float16), "half precision"),
        (lambda X: X[0], "2D array"),
        (lambda X: np.where(X > 2.5, np.nan, X), "X must be finite"),
        (lambda X: np.where(X > 2.5, np.inf, X), "X must be finite"),
        (lambda X: 1e200 * X, "X must be finite"),
        (lambda X: sparse.csc_array(np.where(X > 2.5, np.nan, X)), "X must be finite"),
        (lambda X: X + 1j, "Complex data not supported"),
    ],
)
def test_bad_designs(change, message):
    X = np.random.default_rng(0).standard_normal((N, D))
    with pytest.raises(ValueError, match=message):
        select_anchors(change(X), n_nonzero=K)
