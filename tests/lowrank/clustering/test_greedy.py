"""The outer loop: seeds, order of candidates, stop or skip, patience."""

import numpy as np
import pytest
from lowrank.references import energy, tail_energy

from sparsetheory.lowrank import ConcatSVDClustering
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.bounds import leading_seed
from sparsetheory.lowrank.clustering.greedy import Partition, greedy_partition
from sparsetheory.lowrank.clustering.growth import Grown
from sparsetheory.lowrank.datasets.families import subspace_mixture
from sparsetheory.lowrank.interval import ErrorInterval


class Recorder:
    """A growth that accepts by a rule and remembers what it was offered."""

    n_exact_evaluations = 0

    def __init__(self, rule=lambda _: False):
        self.rule, self.offers = rule, []

    def grow(self, seed, candidates):
        self.offers.append((list(seed), list(candidates)))
        return Grown([k for k in candidates if self.rule(k)], ErrorInterval(0.0, 1.0, 1.0))


def _columns(*norms):
    return Blocks([n * np.eye(len(norms))[:, [k]] for k, n in enumerate(norms)])


def _run(blocks, growth, rank=1, order="norm", patience=100):
    return greedy_partition(blocks, growth, rank, order=order, patience=patience, oversampling=0)


def test_seeds_come_from_above_and_candidates_from_below():
    growth = Recorder()
    partition = _run(_columns(2, 5, 1, 3), growth)
    assert growth.offers == [([1], [2, 0, 3]), ([3], [2, 0]), ([0], [2]), ([2], [])]
    assert partition.clusters == [[1], [3], [0], [2]]
    assert partition.intervals == {}


def test_ties_go_by_index():
    growth = Recorder()
    _run(_columns(1, 1, 1), growth)
    assert growth.offers == [([0], [1, 2]), ([1], [2]), ([2], [])]


def test_accepted_blocks_leave():
    growth = Recorder(rule=lambda k: k == 0)
    assert _run(_columns(2, 5, 1, 3), growth).clusters == [[1, 0], [3], [2]]


def test_seed_takes_what_fits_and_stops_at_the_first_that_does_not():
    # Of energies 25, 16, 9, 4 and widths 2, 3, 1, 1 the second does not fit, so the third is not tried.
    blocks = Blocks([np.full((9, n), np.sqrt(e / (9 * n))) for n, e in ((2, 25), (3, 16), (1, 9), (1, 4))])
    assert leading_seed(blocks, 4) == [0]
    assert leading_seed(blocks, 5) == [0, 1]
    assert leading_seed(blocks, 6) == [0, 1, 2]
    assert leading_seed(blocks, 1) == [0]
    assert leading_seed(blocks, 4, [3, 2, 0, 1]) == [3, 2, 0]


def test_residual_order_puts_the_seed_subspace_first():
    e = np.eye(6)
    # Block 1 is small and orthogonal, block 2 large and inside the span of block 0, block 3 in between.
    blocks = Blocks([9 * e[:, :1], e[:, 1:2], 5 * e[:, :1], 3 * e[:, :1] + 0.5 * e[:, 2:3]])
    offers = {}
    for order in ("norm", "residual"):
        growth = Recorder(rule=lambda _: True)
        _run(blocks, growth, order=order)
        offers[order] = growth.offers[0][1]
    assert offers == {"norm": [1, 3, 2], "residual": [2, 3, 1]}


def test_residual_order_survives_cancellation():
    # Both lie in the span up to 1e-7 and 1e-9, far below what a difference of energies resolves.
    e = np.eye(6)
    blocks = Blocks([9 * e[:, :1], 3 * e[:, :1] + 3e-7 * e[:, 1:2], 4 * e[:, :1] + 4e-9 * e[:, 2:3]])
    growth = Recorder()
    _run(blocks, growth, order="residual")
    assert growth.offers[0][1] == [2, 1]


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_gives_up_on_everything_left(patience):
    growth = Recorder()
    partition = _run(_columns(*[1.0] * 8), growth, rank=2, patience=patience)
    # Failing seeds before the last one are clusters of two; the seed that gives up is split as well.
    assert [len(c) for c in partition.clusters] == [2] * (patience - 1) + [1] * (8 - 2 * (patience - 1))
    assert len(growth.offers) == patience


def test_success_resets_patience():
    growth = Recorder(rule=lambda k: k == 4)
    # The second seed succeeds, so only the fourth one is the second failure in a row.
    growth.rule = lambda k: k == 4 and len(growth.offers) == 2
    partition = _run(_columns(9, 8, 7, 6, 1, 5, 4), growth, patience=2)
    assert partition.clusters == [[0], [1, 4], [2], [3], [5], [6]]
    assert len(growth.offers) == 4


def test_no_block_is_lost_when_a_seed_of_several_stays_alone():
    partition = _run(_columns(*[1.0] * 40), Recorder(), rank=8)
    assert sorted(k for c in partition.clusters for k in c) == list(range(40))
    assert list(partition.intervals) == [0, 1, 2, 3, 4]


def test_everything_may_be_one_seed():
    blocks = subspace_mixture(3, 20, 2, rank=2, random_state=0).blocks
    for estimator in ("max_norm", "residual", "union", "incremental", "exact"):
        fit = ConcatSVDClustering(6, eps=0.0, estimator=estimator).fit(blocks)
        assert fit.labels_.tolist() == [0, 0, 0]
        assert fit.intervals_[0].contains(0.0)


@pytest.mark.parametrize("estimator", ["residual", "union", "incremental", "exact"])
@pytest.mark.parametrize("order", ["norm", "residual"])
def test_skipping_keeps_what_stopping_accepts(estimator, order):
    # Up to the first refusal both walk alike, so the first cluster can only gain.
    gained = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        blocks = subspace_mixture(14, 16, 2, n_subspaces=3, rank=2, noise=0.05, random_state=seed).blocks
        blocks = [b * s for b, s in zip(blocks, 10.0 ** rng.uniform(-1, 1, 14), strict=True)]
        stop, skip = (
            ConcatSVDClustering(2, eps=0.3, estimator=estimator, order=order, on_fail=f).fit(blocks)
            for f in ("stop", "skip")
        )
        first, more = set(stop.clusters_[0]), set(skip.clusters_[0])
        assert first <= more
        gained += len(more) > len(first)
        part = [blocks[k] for k in more]
        assert len(part) == 1 or tail_energy(part, 2) <= 0.09 * energy(part)
    # Estimators blind to what blocks share only lose energy as norms ascend: there, nothing passes behind a refusal.
    assert gained or estimator == "residual" or (estimator, order) == ("union", "norm")


def test_zero_blocks_find_a_place():
    shared = Partition([[0], [1, 2]], {1: ErrorInterval(0.0, 1.0, 1.0)})
    assert shared.with_zeros([3, 4]).clusters == [[0], [1, 2, 3, 4]]
    alone = Partition([[0], [1]]).with_zeros([2, 3])
    assert alone.clusters == [[0], [1], [2, 3]]
    assert alone.intervals[2].relative() == (0.0, 0.0)
    assert shared.with_zeros([]) is shared
    assert shared.clusters == [[0], [1, 2]]
    assert shared.relabel(np.array([5, 3, 1])).clusters == [[5], [3, 1]]
