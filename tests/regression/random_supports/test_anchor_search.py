"""The search for anchors against the algorithm spelled out, one support at a time."""

import numpy as np
import pytest
from regression.anchor_references import clustered, outside

from sparsetheory.regression.columns import Columns
from sparsetheory.regression.distances import leave_one_out_distances
from sparsetheory.regression.random_supports import anchor_search
from sparsetheory.regression.random_supports.anchor_search import AnchorSearch, needed_passes, proved_fraction
from sparsetheory.regression.random_supports.anchor_span import AnchorSpan
from sparsetheory.regression.random_supports.support_distribution import SupportDistribution

NONE = np.empty(0, dtype=np.intp)


def _distribution(d, k, seed):
    return SupportDistribution(np.ones(d, dtype=bool), None, k, np.random.default_rng(seed))


def _search(X, k, seed, *, limit=10**6, blocks=False, delta=0.1, beta=0.1, max_compatibility=None):
    return AnchorSearch(
        AnchorSpan(Columns(X), NONE, 1e-11),
        _distribution(X.shape[1], k, seed),
        max_compatibility=2.0 * k if max_compatibility is None else max_compatibility,
        delta=delta,
        confidence=1 - beta,
        max_anchors=limit,
        blocks=blocks,
    ).run()


def _spelled_out(X, k, seed, limit, blocks, delta=0.1, beta=0.1):
    distribution, T, passes, failures, tests, room = _distribution(X.shape[1], k, seed), [], 0, 0, 0, limit
    while passes < np.log((failures + 1) * (failures + 2) / beta) / delta:
        (S,) = distribution.supports(1)
        tests += 1
        far = np.linalg.norm(outside(X[:, T], X[:, S]), axis=0)
        far[far <= 1e-11 * np.linalg.norm(X[:, S], axis=0)] = 0.0
        ratios = far / (leave_one_out_distances(X[:, S]) * np.sqrt(X.shape[0]))
        if ratios.sum() <= 2 * k:
            passes += 1
            continue
        if room == 0:
            return T, tests, failures, passes, False
        passes, failures, room = 0, failures + 1, room - 1
        T.append(int(S[np.flatnonzero(ratios > ratios.max() * (1 - 1e-6))[0]]))
        if blocks and room >= k - 1:
            T += [i for i in distribution.block().tolist() if i not in T]
            room -= k - 1
    return T, tests, failures, passes, True


def _facts(search):
    return search.span.indices, search.n_tests, search.n_failures, search.n_passes, search.certified


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("limit", [5, 40])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_algorithm_spelled_out(seed, limit, blocks):
    X = clustered(np.random.default_rng(seed), 60, 200, 12, 1e-3)
    assert _facts(_search(X, 4, seed, limit=limit, blocks=blocks)) == _spelled_out(X, 4, seed, limit, blocks)


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("scale", [1e-1, 1e-6])
def test_batches_change_nothing(monkeypatch, k, scale, blocks):
    X = clustered(np.random.default_rng(k), 60, 200, 12, scale)
    expected = _facts(_search(X, k, 7, blocks=blocks))
    assert expected[2] > 0
    for smallest, largest in ((1, 1), (32, 32), (1, 500)):
        monkeypatch.setattr(anchor_search, "_SMALLEST_BATCH", smallest)
        monkeypatch.setattr(anchor_search, "_LARGEST_BATCH", largest)
        assert _facts(_search(X, k, 7, blocks=blocks)) == expected


@pytest.mark.parametrize("seed", range(10))
def test_ties_go_to_the_first_column(seed):
    # Two normalised columns are equally far from each other: rounding must not choose.
    X = clustered(np.random.default_rng(seed), 30, 40, 3, 1e-2)
    X /= np.linalg.norm(X, axis=0)
    failing = next(
        S
        for S in _distribution(40, 2, seed).supports(100)
        if 2 / leave_one_out_distances(X[:, S]).max() > 4 * np.sqrt(30)
    )
    assert _search(X, 2, seed, limit=1).span.indices[0] == failing[0]


@pytest.mark.parametrize("beta", [0.3, 0.05])
@pytest.mark.parametrize("delta", [0.5, 0.05])
def test_rounds_share_the_error(delta, beta):
    # P(needed passes in a row | failing with probability delta), summed over all rounds, stays below beta.
    errors = [(1 - delta) ** needed_passes(F, delta, 1 - beta) for F in range(3000)]
    assert 0.02 * beta < sum(errors) <= beta
    assert needed_passes(0, delta, 1 - beta) == np.ceil(np.log(2 / beta) / delta)


@pytest.mark.parametrize("failures", [0, 3, 100])
def test_proved_share_inverts_needed_passes(failures):
    passes = needed_passes(failures, 0.05, 0.9)
    share = proved_fraction(failures, passes, 0.9)
    assert 0.04 < share <= 0.05
    assert (1 - share) ** passes == pytest.approx(0.1 / ((failures + 1) * (failures + 2)))
    assert proved_fraction(failures, 0, 0.9) == 1.0


def test_ill_conditioned_supports_fail_until_anchors_span_them(rng):
    x, e = rng.standard_normal((2, 50))
    X = np.column_stack([x, x + 2e-13 * e, *rng.standard_normal((2, 50))])
    search = _search(X, 2, 0, max_compatibility=1e15)
    assert search.certified
    assert search.n_failures == 1
    assert search.n_ill_conditioned > 1
    assert search.span.indices[0] in (0, 1)


def test_copies_need_no_anchors(rng):
    X = np.repeat(rng.standard_normal((40, 20)), 3, axis=1)
    search = _search(X, 4, 0, max_compatibility=6.0)
    assert search.certified
    assert search.span.indices == []
    assert search.n_ill_conditioned == 0
