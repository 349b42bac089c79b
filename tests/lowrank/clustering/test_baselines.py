"""Baselines meet the promises that the comparison rests on."""

import numpy as np
import pytest
from lowrank.references import tail_energy

from sparsetheory.lowrank.clustering.baselines import kmeans_clusters, one_svd, per_block_svd, random_clusters
from sparsetheory.lowrank.datasets.families import subspace_mixture


@pytest.fixture
def blocks():
    return subspace_mixture(12, 30, 8, n_subspaces=2, rank=3, noise=0.05, random_state=0).blocks


@pytest.mark.parametrize("eps", [0.05, 0.2, 0.6])
def test_per_block_rank_is_the_smallest(blocks, eps):
    result = per_block_svd(blocks, eps)
    cost = 0
    for block, rank, error in zip(blocks, result.ranks, result.errors, strict=True):
        energy = np.linalg.norm(block) ** 2
        smallest = next(r for r in range(9) if tail_energy([block], r) <= eps**2 * energy)
        factored = smallest * sum(block.shape)
        cost += min(factored, block.size)
        assert error <= eps
        if factored < block.size:
            assert rank == smallest
    assert result.compression_ratio == pytest.approx(sum(b.size for b in blocks) / cost)


def test_one_svd_rank_is_the_smallest(blocks):
    result = one_svd(blocks, 0.2)
    energy = sum(np.linalg.norm(b) ** 2 for b in blocks)
    assert tail_energy(blocks, result.ranks[0]) <= 0.04 * energy < tail_energy(blocks, result.ranks[0] - 1)


@pytest.mark.parametrize("group", [kmeans_clusters, random_clusters])
def test_groups_have_exact_errors_and_reproduce(blocks, group):
    first, again = (group(blocks, 3, 4, random_state=0) for _ in range(2))
    assert np.array_equal(first.labels, again.labels)
    for label in range(4):
        members = [blocks[k] for k in np.flatnonzero(first.labels == label)]
        energy = sum(np.linalg.norm(b) ** 2 for b in members)
        assert first.errors[label] ** 2 * energy == pytest.approx(tail_energy(members, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: kmeans_clusters(b, 2, 13), "n_clusters must be at most the number of blocks, 12"),
        (lambda b: random_clusters(b, 2, 0), "n_clusters must be an integer"),
        (lambda b: kmeans_clusters([*b, np.ones((30, 1))], 2, 2), "one shape"),
        (lambda b: kmeans_clusters([x * 1j for x in b], 2, 2), "must be real"),
        (lambda b: per_block_svd(b, -1), "eps must be"),
    ],
)
def test_bad_input(blocks, call, message):
    with pytest.raises(ValueError, match=message):
        call(blocks)
