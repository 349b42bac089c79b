"""Lower bounds on the number of clusters, and instances with a known optimum."""

from itertools import combinations

import numpy as np
import pytest
from lowrank.references import defect, energy, partitions, tail_energy

from sparsetheory.lowrank import ConcatSVDClustering, block_svd_error, hard_instance, min_clusters_lower_bound
from sparsetheory.lowrank.datasets.families import subspace_mixture


def test_bin_packing_optimum_is_found():
    # Items 5, 4, 3, 3, 2, 1 in bins of capacity 9: two bins, and no fewer by their sum.
    weights = [5.0, 4.0, 3.0, 3.0, 2.0, 1.0]
    blocks = hard_instance(weights, 12, 2, random_state=0)
    for k in range(1, 7):
        for chosen in combinations(range(6), k):
            error = block_svd_error([blocks[i] for i in chosen], 2).absolute ** 2
            assert error == pytest.approx(sum(weights[i] for i in chosen))


def test_lower_bound_counts_orthogonal_blocks():
    blocks = [np.eye(12)[:, 2 * k : 2 * k + 2] for k in range(6)]
    assert min_clusters_lower_bound(blocks, 4, 0.1) == 3
    assert min_clusters_lower_bound(blocks, 1, 0.1) == 6
    assert min_clusters_lower_bound(blocks, 1, 0.1, keep_singletons=False) == 12


def _fewest(blocks, rank, eps, keep_singletons):
    """Enumerate every partition."""

    def allowed(cluster):
        part = [blocks[k] for k in cluster]
        return (keep_singletons and len(part) == 1) or tail_energy(part, rank) <= eps**2 * energy(part)

    found = [len(p) for p in partitions(list(range(len(blocks)))) if all(map(allowed, p))]
    return min(found, default=None)


@pytest.mark.parametrize("keep_singletons", [True, False])
@pytest.mark.parametrize("eps", [0.05, 0.25, 0.5])
def test_no_partition_beats_the_lower_bound(eps, keep_singletons):
    attained, above_one = 0, 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        bases = np.linalg.qr(rng.standard_normal((12, 12)))[0]
        # Blocks of three planes with some noise, ragged, so that several counts are possible.
        blocks = [
            bases[:, 2 * j : 2 * j + 2] @ rng.standard_normal((2, n)) + 0.1 * eps * rng.standard_normal((12, n))
            for j, n in zip(rng.integers(0, 3, 6), rng.integers(1, 4, 6), strict=True)
        ]
        bound = min_clusters_lower_bound(blocks, 2, eps, keep_singletons=keep_singletons)
        fewest = _fewest(blocks, 2, eps, keep_singletons)
        if fewest is not None:
            assert bound <= fewest
            attained += bound == fewest
            above_one += bound > 1
    assert attained
    assert above_one


@pytest.mark.parametrize("capacity", [9.0, 18.0])
def test_clusters_of_a_hard_instance_are_bins(capacity):
    # Under an absolute tolerance the sets that fit are those whose weights fit into a bin.
    weights = [5.0, 4.0, 3.0, 3.0, 2.0, 1.0]
    blocks = hard_instance(weights, 9, 2, scale=3.0, random_state=0)

    def bins(fits):
        return min(len(p) for p in partitions(list(range(6))) if all(map(fits, p)))

    by_weight = bins(lambda c: sum(weights[k] for k in c) <= capacity + 1e-9)
    by_error = bins(lambda c: tail_energy([blocks[k] for k in c], 2) <= capacity + 1e-9)
    assert by_error == by_weight == (2 if capacity == 9.0 else 1)


def test_hard_instance_is_what_it_says():
    blocks = hard_instance([3.0, 1.0], n_rows=6, rank=2, scale=2.0)
    assert [b.shape for b in blocks] == [(6, 3)] * 2
    assert np.array_equal(blocks[0][:, :2], blocks[1][:, :2])
    columns = np.hstack([blocks[0][:, :2] / 2, blocks[0][:, 2:] / np.sqrt(3), blocks[1][:, 2:]])
    assert defect(columns) < 1e-12


def test_known_optimum_of_separated_subspaces_is_certified():
    blocks = subspace_mixture(12, 24, 4, n_subspaces=3, rank=4, random_state=0).blocks
    fit = ConcatSVDClustering(4, eps=0.0).fit(blocks)
    assert len(fit.clusters_) == fit.n_clusters_lower_bound_ == min_clusters_lower_bound(blocks, 4, 0.0) == 3


def test_zero_blocks_need_one_cluster():
    assert min_clusters_lower_bound([np.zeros((3, 2))] * 4, 1, 0.0) == 1


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scale(scale):
    blocks = [scale * np.eye(12)[:, 2 * k : 2 * k + 2] for k in range(6)]
    assert min_clusters_lower_bound(blocks, 4, 0.1) == 3


def test_error_of_a_hard_instance_adds_up_at_the_smallest_scale():
    blocks = hard_instance([4.0, 1.0, 1.0], n_rows=5, rank=2, scale=2.0)
    assert block_svd_error(blocks, 2).absolute ** 2 == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: min_clusters_lower_bound([np.eye(3)], 1, -1), "eps must be a finite non-negative number.*got -1"),
        (lambda: min_clusters_lower_bound([np.eye(3)], 1, np.inf), "eps must be.*got inf"),
        (lambda: min_clusters_lower_bound([np.eye(3)], 1, "0.1"), "eps must be.*got '0.1'"),
        (lambda: min_clusters_lower_bound([np.eye(3)], 0, 0.1), "rank must be"),
        (lambda: hard_instance([], 5, 1), "weights must be"),
        (lambda: hard_instance([1.0, -1.0], 5, 1), "weights must be"),
        (lambda: hard_instance([[1.0]], 5, 1), "weights must be"),
        (lambda: hard_instance([1.0, 1.0], 2, 1), "n_rows must be at least"),
        (lambda: hard_instance([4.0], 5, 1, scale=1.0), "scale must be at least"),
        (lambda: hard_instance([4.0], 5, 1, scale=np.nan), "scale must be at least"),
    ],
    ids=["eps<0", "eps inf", "eps str", "rank", "no weight", "weight<0", "2-D", "rows", "scale", "scale NaN"],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
