"""What is stored costs and misses what it says."""

import numpy as np
import pytest
from lowrank.references import defect, energy, tail_energy

from sparsetheory.lowrank import ErrorInterval
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.clustering.storage import store_factored, store_given_basis, store_raw


@pytest.fixture(params=[(30, 4), (8, 9)], ids=["tall", "wide"])
def blocks(request):
    rng = np.random.default_rng(5)
    m, n = request.param
    return [rng.standard_normal((m, n)) / np.arange(1, m + 1)[:, None] for _ in range(3)]


def _missed(blocks, members, basis):
    return sum(np.linalg.norm(blocks[k] - basis @ (basis.T @ blocks[k])) ** 2 for k in members)


def test_raw_blocks_cost_their_size_and_miss_nothing(blocks):
    stored = store_raw(Blocks(blocks), 1)
    assert (stored.cost, stored.error, stored.interval.upper) == (blocks[1].size, 0.0, 0.0)
    assert _missed(blocks, [1], stored.basis) < 1e-25 * stored.interval.energy


@pytest.mark.parametrize("members", [[0], [0, 2], [2, 0, 1]])
@pytest.mark.parametrize("rank", [1, 3, 20])
def test_factored_clusters_are_best(blocks, members, rank):
    stored = store_factored(Blocks(blocks), members, rank, None, None)
    part = [blocks[k] for k in members]
    m, n = len(part[0]), sum(b.shape[1] for b in part)
    kept = min(rank, m, n)
    assert stored.basis.shape == (m, kept)
    assert defect(stored.basis) < 1e-12
    assert stored.cost == min(kept * (m + n), m * n)
    truth = tail_energy(part, rank)
    assert stored.interval.contains(truth)
    assert stored.error**2 * energy(part) == pytest.approx(truth, abs=1e-12 * energy(part))
    assert _missed(blocks, members, stored.basis) == pytest.approx(truth, abs=1e-12 * energy(part))


@pytest.mark.parametrize("eps", [0.05, 0.2, 0.5])
def test_minimal_rank_is_the_smallest(blocks, eps):
    members, total = [0, 1, 2], energy(blocks)
    chosen = store_factored(Blocks(blocks), members, 5, None, eps).basis.shape[1]
    assert tail_energy(blocks, chosen) <= eps**2 * total
    assert chosen == 1 or tail_energy(blocks, chosen - 1) > eps**2 * total


def test_known_intervals_are_kept_at_the_rank_they_were_made_for(blocks):
    known = ErrorInterval(0.0, energy(blocks), energy(blocks), "known")
    assert store_factored(Blocks(blocks), [0, 1, 2], 3, known, None).interval is known
    assert store_factored(Blocks(blocks), [0, 1, 2], 3, known, 0.3).interval.method == "exact"


def test_tiny_errors_are_not_taken_from_a_gram_matrix(rng):
    u, v = np.linalg.qr(rng.standard_normal((6, 6)))[0], np.linalg.qr(rng.standard_normal((30, 6)))[0]
    block = u * [1.0, 0.5, 1e-8, 0, 0, 0] @ v.T
    stored = store_factored(Blocks([block]), [0], 2, None, None)
    assert stored.error == pytest.approx(1e-8 / np.sqrt(1.25), rel=1e-5)


@pytest.mark.parametrize("eps", [0.3, 0.6])
def test_given_basis_is_cut_to_what_every_block_needs(eps):
    blocks = [np.eye(6)[:, :1] + 0.2 * np.eye(6)[:, 1:2], 0.01 * (np.eye(6)[:, :1] + 0.5 * np.eye(6)[:, 2:3])]
    basis = np.eye(6)[:, [0, 2, 1]]
    known = ErrorInterval(0.0, energy(blocks), energy(blocks))
    stored = store_given_basis(Blocks(blocks), [0, 1], basis, known, eps)
    # The small block alone asks for its own direction: it misses 0.5 / sqrt(1.25) = 0.447 of its norm without.
    assert stored.basis.shape[1] == (2 if eps == 0.3 else 1)
    missed = _missed(blocks, [0, 1], stored.basis)
    assert stored.error**2 * energy(blocks) == pytest.approx(missed)
    assert stored.interval.contains(missed)
    assert stored.interval.lower == known.lower
    assert store_given_basis(Blocks(blocks), [0, 1], basis, known, None).basis.shape[1] == 3


def test_zero_clusters_have_error_zero():
    stored = store_factored(Blocks([np.zeros((4, 2))] * 2), [0, 1], 2, None, 0.1)
    assert (stored.error, stored.interval.upper, stored.basis.shape[1]) == (0.0, 0.0, 1)
