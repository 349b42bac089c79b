"""Random supports: their distribution, their streams, what they never contain."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from sparsetheory.regression.random_supports.support_distribution import SupportDistribution


def _distribution(usable=10, k=3, prior=None, seed=0):
    mask = np.ones(usable, dtype=bool) if np.isscalar(usable) else np.asarray(usable)
    return SupportDistribution(mask, prior, k, np.random.default_rng(seed))


def _frequencies(supports, d):
    codes = np.sort(supports, axis=1) @ d ** np.arange(supports.shape[1])
    return np.unique(codes, return_counts=True)[1]


def test_supports_are_uniform():
    counts = _frequencies(_distribution(6, 2).supports(6000), 6)
    assert counts.size == 15
    assert stats.chisquare(counts).pvalue > 1e-6


@pytest.mark.parametrize("prior", [[1, 2, 3, 4], [1000, 1, 1, 1], [0, 5, 1, 1]])
def test_supports_follow_the_prior(prior):
    probabilities = np.array(prior) / np.sum(prior)
    expected = {}
    for i, j in permutations(range(4), 2):
        if probabilities[i] > 0 and probabilities[i] < 1:
            expected[frozenset((i, j))] = expected.get(frozenset((i, j)), 0) + probabilities[i] * probabilities[j] / (
                1 - probabilities[i]
            )
    drawn = [frozenset(S.tolist()) for S in _distribution(4, 2, prior).supports(4000)]
    for pair, probability in expected.items():
        count = drawn.count(pair)
        assert stats.binomtest(count, 4000, min(probability, 1.0)).pvalue > 1e-7
    assert all(len(S) == 2 for S in drawn)


def test_supports_do_not_depend_on_how_many_are_drawn_at_a_time():
    for prior in (None, np.arange(1, 31)):
        one, many = _distribution(30, 4, prior), _distribution(30, 4, prior)
        single = np.concatenate([one.supports(1) for _ in range(12)])
        one.block(), one.anchors(5)
        np.testing.assert_array_equal(np.concatenate([single, one.supports(2)]), many.supports(14))


def test_anchors_do_not_depend_on_supports():
    first, second = _distribution(30, 4), _distribution(30, 4)
    second.supports(7)
    np.testing.assert_array_equal(first.anchors(8), second.anchors(8))
    np.testing.assert_array_equal(first.block(), second.block())


def test_the_seed_decides():
    assert not np.array_equal(_distribution(100, 4).supports(5), _distribution(100, 4, seed=1).supports(5))
    np.testing.assert_array_equal(_distribution(100, 4).supports(5), _distribution(100, 4).supports(5))


def test_only_usable_columns_are_drawn():
    usable = np.arange(20) % 3 == 0
    distribution = _distribution(usable, 4, np.where(np.arange(20) == 9, 0.0, 1.0))
    assert set(distribution.supports(200).ravel()) == {0, 3, 6, 12, 15, 18} == set(distribution.columns)
    assert set(distribution.anchors(100)) <= set(distribution.columns)


def test_random_anchors():
    distribution = _distribution(50, 4)
    assert np.unique(distribution.anchors(30)).size == 30
    assert np.unique(distribution.block()).size == 3
    weighted = _distribution(50, 4, np.r_[np.ones(5), np.zeros(45)])
    assert set(weighted.anchors(200)) == set(range(5))
    assert np.unique(weighted.anchors(3)).size <= 3


def test_supports_cannot_exceed_what_there_is():
    distribution = _distribution([True, False, True], 3)
    assert distribution.size == 2
    assert np.sort(distribution.supports(1)).tolist() == [[0, 2]]
    assert _distribution([False, False], 2).size == 0


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (np.ones(4), "support_prior must be 5 finite"),
        ([1, 1, np.nan, 1, 1], "support_prior must be finite"),
        ([1, 1, -1, 1, 1], "support_prior must be 5 finite"),
        (np.zeros(5), "not all zero"),
        ([1, 1, 0, 0, 0], "at least n_nonzero=3 columns that are not zero; got 2"),
    ],
)
def test_bad_priors(prior, message):
    with pytest.raises(ValueError, match=message):
        _distribution(5, 3, prior)
