"""Residual codes, and balanced clusters against every assignment."""

from itertools import product

import numpy as np
import pytest
import torch

from sparsetheory.gpu.representation import residual_codes
from sparsetheory.gpu.representation.group_policy.balanced import balanced_assignment, size_limits
from sparsetheory.gpu.representation.group_policy.residual import _means


def vectors(n=60, p=4, seed=0, dtype=torch.float64):
    return torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(("n", "k"), [(6, 2), (7, 3), (5, 5), (7, 2)])
def test_balanced_assignment_is_the_best_of_all(n, k):
    costs = np.random.default_rng(n + k).random((n, k)) * np.linspace(1, 6, k)
    least, most = size_limits(n, k)
    best = np.inf
    for labels in product(range(k), repeat=n):
        sizes = np.bincount(labels, minlength=k)
        if sizes.min() >= least and sizes.max() <= most:
            best = min(best, costs[np.arange(n), labels].sum())
    found = balanced_assignment(costs)
    assert costs[np.arange(n), found].sum() == pytest.approx(best)
    sizes = np.bincount(found, minlength=k)
    assert least <= sizes.min()
    assert sizes.max() <= most


def test_limits_of_sizes_are_those_of_the_released_code():
    found = [size_limits(n, k) for n, k in ((6, 2), (7, 3), (5, 5), (60, 5), (59, 30))]
    assert found == [(2, 4), (1, 3), (1, 2), (11, 13), (1, 2)]


def test_a_cluster_without_points_starts_again_at_the_worst_one():
    points = torch.tensor([[0.0], [1.0], [9.0], [2.0]])
    centroids = torch.tensor([[1.0], [50.0]])
    distances = (points - centroids.T).square()
    assert _means(points, torch.zeros(4, dtype=torch.int64), centroids, distances).tolist() == [[3.0], [9.0]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("balanced", [False, True])
def test_errors_fall_and_are_those_of_the_decoded_vectors(balanced, dtype, device):
    X = (vectors() + 3).to(dtype).to(device)
    found = residual_codes(X, 3, 5, balanced)
    assert found.centroids.dtype == dtype
    assert found.codes.device == X.device
    assert (found.errors.diff() <= 0).all()
    # Subtraction level by level and addition round differently, in a short precision by far.
    tol = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype]
    left = (X.double() - found.decode(found.codes).double()).square().sum(1).mean()
    assert float(left) == pytest.approx(float(found.errors[-1]), rel=tol)
    assert float(found.errors[0]) == pytest.approx(float(X.double().square().sum(1).mean()))
    if balanced:
        for level in range(3):
            sizes = torch.bincount(found.codes[:, level], minlength=5)
            assert sizes.min() >= 11
            assert sizes.max() <= 13


@pytest.mark.parametrize("balanced", [False, True])
def test_centroids_are_means_of_what_is_assigned(balanced):
    X = vectors()
    found = residual_codes(X, 2, 6, balanced)
    left = X
    for level in range(2):
        labels = found.codes[:, level]
        for code in labels.unique():
            torch.testing.assert_close(found.centroids[level, code], left[labels == code].mean(0))
        left = left - found.centroids[level][labels]


def test_nearest_centroids_encode_the_vectors_they_were_made_for():
    X = vectors()
    found = residual_codes(X, 2, 6)
    assert torch.equal(found.encode(X), found.codes)
    # Balanced codes are not those of the nearest centroid.
    skewed = torch.cat([vectors(50) * 0.01, vectors(10) + 9])
    balanced = residual_codes(skewed, 1, 2, balanced=True)
    assert not torch.equal(balanced.encode(skewed), balanced.codes)
    assert torch.bincount(residual_codes(skewed, 1, 2).codes[:, 0]).tolist() in ([50, 10], [10, 50])


def test_every_member_of_a_collision_has_a_number_from_one():
    X = torch.tensor([[0.0], [5.0], [0.0], [0.0], [9.0], [5.0]])
    found = residual_codes(X, 1, 3)
    assert found.collisions.tolist() == [1, 1, 2, 3, 0, 2]
    assert len(found.tokens.unique(dim=0)) == 6
    assert found.errors.tolist() == pytest.approx([float(X.square().mean()), 0.0])


def test_well_separated_groups_are_found_as_by_scikit_learn():
    from sklearn.cluster import KMeans

    X = torch.cat([vectors(30, seed=k) * 0.1 + 10 * k for k in range(4)])
    found = residual_codes(X, 1, 4)
    peer = KMeans(4, n_init=5, random_state=0).fit(X.numpy())
    assert float(found.errors[1]) == pytest.approx(peer.inertia_ / len(X))


def test_more_clusters_than_different_vectors_do_no_harm():
    X = torch.tensor([[1.0, 0.0]] * 5 + [[0.0, 1.0]])
    found = residual_codes(X, 2, 4)
    assert torch.isfinite(found.centroids).all()
    assert float(found.errors[-1]) == pytest.approx(0.0)


def test_what_all_vectors_share_does_not_blur_distances(device):
    """From products of matrices in single precision, distances of points far from the origin would be rounding."""
    X = vectors(60, 5, dtype=torch.float32).to(device)
    expected = residual_codes(X.double(), 2, 8)
    for dtype, offset in ((torch.float32, 1e4), (torch.float64, 1e8)):
        far = X.to(dtype) + offset
        found = residual_codes(far, 2, 8)
        assert torch.equal(found.encode(far), found.codes)
        assert found.errors[1:].tolist() == pytest.approx(expected.errors[1:].tolist(), rel=1e-2)


def test_sizes_beyond_single_precision_do_no_harm():
    X = vectors(40, 3, dtype=torch.float32)
    for balanced in (False, True):
        expected = residual_codes(X, 2, 5, balanced)
        for scale in (2.0**70, 2.0**-100):
            assert torch.equal(residual_codes(X * scale, 2, 5, balanced).codes, expected.codes)


def test_first_levels_decode_to_coarser_vectors_and_no_number_wraps():
    X = vectors()
    found = residual_codes(X, 3, 6)
    for level in range(1, 4):
        left = X - found.decode(found.codes[:, :level].to(torch.uint8))
        assert float(left.square().sum(1).mean()) == pytest.approx(float(found.errors[level]))
    for wrong in (-1, 6):
        with pytest.raises(ValueError, match=f"codes must be from 0 to 5; got {wrong}"):
            found.decode(torch.tensor([[0, wrong, 0]]))
    for codes in (found.tokens, found.codes.double(), found.codes[0], found.codes[:, :0]):
        with pytest.raises(ValueError, match=r"codes must be integers of shape \(n, n_levels\) with 1 to 3"):
            found.decode(codes)
    with pytest.raises(ValueError, match="X must have 4 features; got 3"):
        found.encode(X[:, :3])


def test_codes_depend_on_the_generator_alone():
    X = vectors()
    first, again, other = (residual_codes(X, 2, 8, generator=seed) for seed in (1, 1, 2))
    assert torch.equal(first.codes, again.codes)
    assert not torch.equal(first.codes, other.codes)


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        (torch.ones(3, 2), {"n_codes": 4}, "n_codes must be from 1 to the number of vectors, 3; got 4"),
        (torch.ones(3, 2), {"n_codes": 0}, "n_codes must be from 1"),
        (torch.ones(3, 2), {"n_levels": 0}, "n_levels must be an integer from 1"),
        (torch.ones(3, 2), {"balanced": "yes"}, "balanced must be True or False"),
        (torch.ones(3, 2, dtype=torch.int64), {}, "X must be a finite matrix"),
        (torch.full((3, 2), torch.inf), {}, "X must be a finite matrix"),
        (torch.ones(3), {}, "X must be a finite matrix"),
    ],
)
def test_bad_input_is_refused(X, options, message):
    with pytest.raises(ValueError, match=message):
        residual_codes(X, **({"n_levels": 1, "n_codes": 2} | options))


def test_balanced_codes_tell_films_of_movielens_apart(needs):
    """Films that few people rated lie close together, and share a cluster unless clusters have equal sizes."""
    needs("recbole")
    from sparsetheory.proofs_checks.sparse_representation.group_policy.codes_study import _films

    films = torch.from_numpy(_films()[:500])
    free, balanced = (residual_codes(films - films.mean(0), 2, 32, balanced=b) for b in (False, True))
    shares = [float((found.collisions > 0).double().mean()) for found in (free, balanced)]
    assert shares[1] < 0.8 * shares[0]
    assert free.errors[-1] < balanced.errors[-1] < 0.6 * free.errors[0]
