"""Lazy agglomeration is brute force with fewer spectra."""

import numpy as np
import pytest
from lowrank.references import FAMILIES, make_family

from sparsetheory.lowrank import ConcatSVDClustering
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.clustering import agglomerative
from sparsetheory.lowrank.clustering.agglomerative import agglomerate, agglomerate_merges, joint_error
from sparsetheory.lowrank.datasets.families import subspace_mixture


def _brute_force(blocks, rank, eps):
    """Evaluate every pair exactly at every step; count the evaluations that a memory of pairs would still need."""
    members = {k: [k] for k in range(len(blocks))}
    known, merges, fresh = {}, [], len(blocks)
    while len(members) > 1:
        for a in members:
            for b in members:
                if a < b and (a, b) not in known:
                    known[a, b] = joint_error(blocks, [*members[a], *members[b]], rank)
        value, a, b = min((known[a, b], a, b) for a in members for b in members if a < b)
        if value > eps**2:
            break
        merges.append((a, b))
        members[fresh] = [*members.pop(a), *members.pop(b)]
        fresh += 1
    return merges, len(known)


def _instances():
    for name in FAMILIES:
        yield name, make_family(name), 4
    block = np.random.default_rng(0).standard_normal((10, 2))
    yield "duplicates", [block] * 5 + [2 * block, np.eye(10)[:, :2]], 2
    yield "exact ties", [np.eye(12)[:, k : k + 2] for k in (0, 0, 2, 2, 4, 6, 8)], 4
    yield "rank beyond widths", [np.random.default_rng(k).standard_normal((9, 1)) for k in range(9)], 5
    yield "tall", subspace_mixture(20, 200, 3, rank=3, noise=0.05, random_state=2).blocks, 3
    with_integers = np.random.default_rng(3).integers(-1, 2, (10, 6, 2)).astype(float)
    yield "integers", [b + np.eye(6, 2) for b in with_integers], 2


INSTANCES = list(_instances())


@pytest.mark.parametrize(("name", "blocks", "rank"), INSTANCES, ids=[name for name, _, _ in INSTANCES])
@pytest.mark.parametrize("eps", [0.1, 0.45])
def test_merges_are_those_of_brute_force(name, blocks, rank, eps):
    checked = Blocks(blocks)
    merges, evaluations = _brute_force(checked, rank, eps)
    assert [(m.first, m.second) for m in agglomerate_merges(checked, rank, eps, oversampling=5)] == merges
    assert agglomerate(checked, rank, eps, oversampling=5).n_exact_evaluations <= evaluations


def test_most_spectra_are_avoided_in_many_dimensions():
    blocks = subspace_mixture(120, 512, 4, n_subspaces=12, rank=4, noise=0.02, random_state=0).blocks
    checked = Blocks(blocks)
    _, evaluations = _brute_force(Blocks(blocks[:40]), 4, 0.4)
    few = agglomerate(Blocks(blocks[:40]), 4, 0.4, oversampling=5).n_exact_evaluations
    assert few * 5 < evaluations
    found = agglomerate(checked, 4, 0.4, oversampling=5)
    assert len(found.clusters) == 12


def test_estimator_reports_evaluations(family):
    fit = ConcatSVDClustering(4, eps=0.3, algorithm="agglomerative").fit(family)
    assert 0 <= fit.n_exact_evaluations_ <= len(family) ** 2


@pytest.mark.parametrize("scale", [1e-82, 1e-100, 1e-130])
def test_weak_blocks_beside_a_strong_one_merge_as_by_brute_force(rng, scale):
    # Overlaps of the weak ones underflow. The strong one is too wide to take them in.
    weak = rng.standard_normal((12, 3))
    blocks = [rng.standard_normal((12, 10)), scale * weak, 2 * scale * weak, scale * rng.standard_normal((12, 3))]
    checked = Blocks(blocks)
    merges, _ = _brute_force(checked, 3, 0.3)
    assert (1, 2) in merges
    assert [(m.first, m.second) for m in agglomerate_merges(checked, 3, 0.3, oversampling=5)] == merges


@pytest.mark.parametrize("oversampling", [0, 1, 10])
def test_oversampling_changes_cost_only(family, oversampling):
    checked = Blocks(family)
    expected = agglomerate_merges(checked, 4, 0.4, oversampling=5)
    found = agglomerate_merges(checked, 4, 0.4, oversampling=oversampling)
    assert [(m.first, m.second) for m in found] == [(m.first, m.second) for m in expected]


def test_tiles_of_the_cross_gram_matrix_do_not_show(monkeypatch, rng):
    checked = Blocks([rng.standard_normal((7, n)) for n in (3, 1, 6, 2, 2, 5)])
    expected = [[np.linalg.norm(a.T @ b) ** 2 for b in checked] for a in checked]
    for columns in (1, 4, 2048):
        monkeypatch.setattr(agglomerative, "_TILE_COLUMNS", columns)
        assert agglomerative._cross_overlaps(checked) == pytest.approx(np.array(expected))
