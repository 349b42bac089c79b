"""Squares that leave the range of float64 change nothing or are refused by name; nor do units and rotations matter."""

import warnings

import numpy as np
import pytest
from lowrank.references import tail_energy
from scipy.stats import ortho_group

from sparsetheory.lowrank import (
    ConcatSVDClustering,
    SVDSummary,
    block_svd_error,
    centroid_bound,
    min_clusters_lower_bound,
    pair_bounds,
    perturbation_bound,
    range_finder_summary,
    residual_bound,
    tree_summary,
    union_bound,
    weyl_bound,
)
from sparsetheory.lowrank.clustering.baselines import kmeans_clusters, one_svd, per_block_svd, random_clusters
from sparsetheory.lowrank.datasets.families import subspace_mixture
from sparsetheory.lowrank.extension import extend_basis


@pytest.fixture(autouse=True)
def _no_overflow():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


SIGNS = np.sign(np.random.default_rng(0).standard_normal((300, 300)))
INTERVALS = {
    "exact": lambda b: block_svd_error(b, 5).interval,
    "svd": lambda b: block_svd_error(b, 5, method="svd").interval,
    "weyl": lambda b: weyl_bound(b, 5),
    "residual": lambda b: residual_bound(b, 5),
    "in span": lambda b: residual_bound(b, 5, count_in_span=True),
    "union": lambda b: union_bound(b, 5),
    "pair": lambda b: pair_bounds(b[0], b[0], 5),
    "centroid": lambda b: centroid_bound(b, 5),
    "range finder": lambda b: range_finder_summary(b, 5, random_state=0).interval(5),
}
SUMMARIES = {
    "block": lambda b: SVDSummary.from_block(b[0], 5),
    "chain": lambda b: SVDSummary.from_block(b[0][:, :150], 5).append(b[0][:, 150:]),
    "tree": lambda b: tree_summary([b[0][:, :100], b[0][:, 100:]], 5),
    "merge": lambda b: SVDSummary.from_block(b[0][:, :9], 5).merge(SVDSummary.from_block(b[0][:, 9:], 5)),
}


@pytest.mark.parametrize("scale", [9.9e151, 1e300, 1e-170, 1e-300])
@pytest.mark.parametrize("name", INTERVALS)
def test_intervals_whatever_the_norm(name, scale):
    # The largest entry is in range where the norm is not.
    lo, hi = INTERVALS[name]([scale * SIGNS]).relative()
    assert (lo, hi) == pytest.approx(INTERVALS[name]([SIGNS]).relative(), rel=1e-9)
    truth = np.sqrt(tail_energy([SIGNS], 5)) / 300
    assert lo <= truth <= hi


@pytest.mark.parametrize("scale", [9.9e151, 1e200, 1e-170])
@pytest.mark.parametrize("name", SUMMARIES)
def test_summaries_refuse_norms_out_of_range(name, scale):
    with pytest.raises(ValueError, match=r"squares leave the range of float64 at a norm of.*scale all blocks alike"):
        SUMMARIES[name]([scale * SIGNS])


@pytest.mark.parametrize("scale", [1e-150, 1e150])
@pytest.mark.parametrize("name", SUMMARIES)
def test_summaries_in_range(name, scale):
    interval = SUMMARIES[name]([scale * SIGNS]).interval()
    assert interval.relative() == pytest.approx(SUMMARIES[name]([SIGNS]).interval().relative(), rel=1e-9)
    assert interval.decide(0.5) is False


def test_norms_add_up_beyond_the_range():
    half = 6e152 * np.eye(3)[:, :1]
    summary = SVDSummary.from_block(half, 2).append(half)
    with pytest.raises(ValueError, match="all blocks together: squares leave the range"):
        summary.append(half)
    with pytest.raises(ValueError, match="all blocks together: squares leave the range"):
        summary.merge(summary)


@pytest.mark.parametrize("decades", [80, 165, 300])
@pytest.mark.parametrize("order", ["given", "norm"])
def test_pinched_residuals_of_blocks_many_decades_apart(decades, order):
    # Where the norm of a weak block vanishes, noise must not be taken for directions of its own.
    rng = np.random.default_rng(decades)
    for _ in range(20):
        blocks = [10.0 ** -rng.uniform(0, decades) * rng.standard_normal((5, 2)) for _ in range(4)]
        top = max(np.abs(b).max() for b in blocks)
        for rank in (1, 2, 3):
            bound = residual_bound(blocks, rank, order, count_in_span=True)
            assert bound.contains(tail_energy([b / top for b in blocks], rank) * (top / bound.unit) ** 2)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_extension_drops_noise_at_every_scale(scale):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((8, 3)))[0]
    inside = scale * basis @ rng.standard_normal((3, 4))
    assert extend_basis(basis, inside).values.size == 0
    found = extend_basis(basis, inside + scale * 1e-8 * rng.standard_normal((8, 1)))
    assert found.values.size == 1
    assert np.abs(basis.T @ found.directions).max() < 1e-14


@pytest.mark.parametrize("options", [{}, {"criterion": "block"}, {"algorithm": "agglomerative"}], ids=str)
def test_blocks_that_would_be_taken_for_zero_are_refused(options):
    blocks = [np.eye(4)[:, :2], 1e-145 * np.eye(4)[:, 2:], np.zeros((4, 1))]
    with pytest.raises(ValueError, match=r"block 1 is so small beside the largest.*largest entry is 1e-145"):
        ConcatSVDClustering(1, eps=0.1, **options).fit(blocks)
    with pytest.raises(ValueError, match="block 1 is so small"):
        per_block_svd(blocks, 0.1)
    fit = ConcatSVDClustering(1, eps=0.1, **options).fit([blocks[0], 1e-135 * np.eye(4)[:, 2:], blocks[2]])
    assert fit.certificate_.valid


FITS = [
    {"estimator": e, "rank_mode": r}
    for e in ("max_norm", "residual", "union", "incremental", "exact")
    for r in ("fixed", "minimal")
] + [{"algorithm": "agglomerative"}, {"criterion": "block"}]


@pytest.mark.parametrize("options", FITS, ids=str)
def test_units_and_rotations_of_a_clustering(options):
    blocks = subspace_mixture(12, 24, 4, n_subspaces=3, rank=3, noise=0.05, random_state=1).blocks
    plain = ConcatSVDClustering(4, eps=0.3, **options).fit(blocks)
    rotation = ortho_group.rvs(24, random_state=0)
    for moved in ([rotation @ b for b in blocks], *([c * b for b in blocks] for c in (1e-150, 1e-8, 1e8, 1e150))):
        fit = ConcatSVDClustering(4, eps=0.3, **options).fit(moved)
        assert fit.labels_.tolist() == plain.labels_.tolist()
        assert fit.errors_ == pytest.approx(plain.errors_, rel=1e-9)
        assert fit.ranks_.tolist() == plain.ranks_.tolist()
        assert fit.n_clusters_lower_bound_ == plain.n_clusters_lower_bound_
        assert fit.certificate_.bound == plain.certificate_.bound
        assert fit.certificate_.check(moved).valid
        assert not fit.certificate_.check(blocks).valid or options["estimator"] == "max_norm"


BASELINES = {
    "per block": lambda b: per_block_svd(b, 0.2),
    "one": lambda b: one_svd(b, 0.2),
    "k-means": lambda b: kmeans_clusters(b, 2, 3, random_state=0),
    "random": lambda b: random_clusters(b, 2, 3, random_state=0),
}


@pytest.mark.parametrize("scale", [1e-160, 1e160])
@pytest.mark.parametrize("name", BASELINES)
def test_baselines(name, scale):
    blocks = subspace_mixture(9, 12, 4, n_subspaces=3, rank=2, noise=0.05, random_state=1).blocks
    plain, scaled = BASELINES[name](blocks), BASELINES[name]([scale * b for b in blocks])
    assert scaled.labels.tolist() == plain.labels.tolist()
    assert scaled.errors == pytest.approx(plain.errors, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-200, 1e-100, 1e160, 1e300])
def test_perturbation_bound(scale):
    norms, noise, sigma = np.array([1.0, 2.0]), np.array([0.1, 0.02]), np.array([2.0, 1e-3, 0.0])
    scaled = perturbation_bound(scale * norms, scale * noise, scale * sigma)
    assert scaled / scale == pytest.approx(perturbation_bound(norms, noise, sigma), rel=1e-12)


def test_fewest_clusters_at_the_ends_of_the_range():
    blocks = [np.eye(12)[:, 2 * k : 2 * k + 2] for k in range(6)]
    for scale in (1e-300, 1e300):
        assert min_clusters_lower_bound([scale * b for b in blocks], 4, 0.1) == 3
