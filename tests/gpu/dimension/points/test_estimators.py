"""Estimates of intrinsic dimension against their formulas, in loops over points."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from sparsetheory.gpu.dimension import mle_dimension, twonn_dimension
from sparsetheory.gpu.dimension.points import neighbours
from sparsetheory.proofs_checks.intrinsic_dimension.points.clouds import cubes


def sorted_distances(X):
    return [np.sort(np.delete(cdist(X[i : i + 1], X)[0], i)) for i in range(len(X))]


def mle_by_hand(X, k, average):
    logs = [[math.log(distances[k - 1] / distances[j]) for j in range(k - 1)] for distances in sorted_distances(X)]
    inverses = [sum(values) / (k - 1) for values in logs]
    return 1 / np.mean(inverses) if average == "inverse" else np.mean([1 / value for value in inverses])


def twonn_by_hand(X, kept):
    ratios = sorted(math.log(distances[1] / distances[0]) for distances in sorted_distances(X))
    heights = [-math.log(1 - i / len(X)) for i in range(1, kept + 1)]
    pairs = list(zip(ratios, heights, strict=False))
    return sum(x * y for x, y in pairs) / sum(x * x for x, _ in pairs)


@pytest.mark.parametrize("average", ["inverse", "mean"])
def test_maximum_likelihood_follows_its_formula(average, device):
    X = cubes(0, 4, 120, 9)
    found = mle_dimension(torch.tensor(X, device=device), 7, average)
    assert found == pytest.approx(mle_by_hand(X, 7, average), rel=1e-9)


@pytest.mark.parametrize(("discard", "kept"), [(0.1, 108), (0.0, 119), (0.5, 60)])
def test_two_neighbours_follow_their_formula(discard, kept, device):
    X = cubes(1, 4, 120, 9)
    found = twonn_dimension(torch.tensor(X, device=device), discard)
    assert found == pytest.approx(twonn_by_hand(X, kept), rel=1e-9)


def test_mean_of_estimates_is_larger_than_one_over_the_mean_of_inverses():
    X = cubes(2, 5, 300)
    assert mle_dimension(X, 10, "mean") > 1.02 * mle_dimension(X, 10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbours_far_from_the_origin_are_the_right_ones(dtype):
    """Products alone would lose the distances: their terms are 1e8 times as large."""
    X = (1e4 + cubes(3, 3, 200, 6)).astype(dtype)
    expected = mle_by_hand(X.astype(float), 5, "inverse")
    assert mle_dimension(X, 5) == pytest.approx(expected, rel=1e-7)


def test_two_distant_clusters_have_the_dimension_of_each():
    """Every distance within a cluster is below the rounding of products, so that differences have to decide."""
    X = cubes(4, 3, 300, 5)
    X[::2] += 1e8
    found = mle_dimension(X, 5)
    assert found == pytest.approx(mle_by_hand(X, 5, "inverse"), rel=1e-9)
    assert 2 < found < 4


def test_rows_are_cut_into_blocks_without_a_trace(monkeypatch):
    X = cubes(5, 3, 150)
    whole = mle_dimension(X, 5), twonn_dimension(X)
    monkeypatch.setattr(neighbours, "_ENTRIES", 7 * 150)
    assert (mle_dimension(X, 5), twonn_dimension(X)) == pytest.approx(whole, rel=1e-12)


def test_all_differences_are_taken_of_the_right_rows(monkeypatch):
    """Two far clusters in single precision: products say nothing of distances within one, in any block of rows."""
    monkeypatch.setattr(neighbours, "_ENTRIES", 7 * 160)
    rng = np.random.default_rng(0)
    # Each point has a scale of its own, so that the distances of another row do not fit.
    X = rng.standard_normal((160, 3)) * 10.0 ** rng.uniform(-2, 0, (160, 1)) + 1e6 * np.repeat([[1.0], [-1.0]], 80, 0)
    X = X.astype(np.float32)
    found = neighbours.neighbour_distances(X, 2, "drop" if len(np.unique(X, axis=0)) < 160 else "error")
    kept = np.unique(X, axis=0).astype(float) if len(found) < 160 else X.astype(float)
    expected = np.array([distances[:2] for distances in sorted_distances(kept)])
    np.testing.assert_allclose(found / found[0, 0], expected / expected[0, 0], rtol=1e-9)


def test_a_share_that_leaves_a_whole_number_of_ratios_leaves_it():
    # (1 - 0.9) * 10 is a little less than 1 in double precision.
    X = np.random.default_rng(0).random((10, 2))
    distances = [row[:2] for row in sorted_distances(X)]
    smallest = min(math.log(b / a) for a, b in distances)
    assert twonn_dimension(X, 0.9) == pytest.approx(-math.log(0.9) / smallest)


def test_points_that_coincide_are_refused_or_dropped():
    X = cubes(6, 3, 100)
    doubled = np.concatenate([X, X[:7], -0.0 * X[:1], 0.0 * X[:1]])
    for estimate in (lambda *a, **k: mle_dimension(*a, n_neighbors=5, **k), twonn_dimension):
        with pytest.raises(ValueError, match=r'duplicates must be "drop"; 16 points'):
            estimate(doubled)
        assert estimate(doubled, duplicates="drop") == pytest.approx(estimate(np.vstack([X, 0 * X[:1]])), rel=1e-9)


def test_equidistant_points_have_no_finite_dimension():
    assert mle_dimension(np.eye(8), 3) == math.inf
    assert mle_dimension(np.eye(8), 3, "mean") == math.inf
    assert twonn_dimension(np.eye(8)) == math.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mle_dimension(np.eye(20)), r"X must hold more than 20 points"),
        (lambda: mle_dimension(np.ones((30, 2)), duplicates="drop"), r"more than 20 different points.*got 1"),
        (lambda: mle_dimension(np.eye(9), 2), "n_neighbors must be an integer from 3"),
        (lambda: mle_dimension(np.eye(9), 3, "median"), "average must be one of"),
        (lambda: mle_dimension(np.eye(9, dtype=int), 3), "X must hold floating-point numbers; got torch.int64"),
        (lambda: mle_dimension(np.full((9, 2), np.nan), 3), "X must be finite"),
        (lambda: mle_dimension(np.ones(9), 3), r"X must have shape \(n_samples, n_features\); got \(9,\)"),
        (lambda: mle_dimension([["a"]], 3), "X must hold floating-point numbers"),
        (lambda: twonn_dimension(np.eye(9), 1.0), r"discard must be a number in \[0, 1\)"),
        (lambda: twonn_dimension(np.eye(4), 0.9), "discard must leave at least one ratio"),
        (lambda: twonn_dimension(np.eye(9), duplicates="keep"), "duplicates must be one of"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_real_digits_have_the_dimension_that_was_measured():
    from sparsetheory.gpu.core.datasets import load_digits

    X = load_digits().images.reshape(-1, 64)
    assert mle_dimension(X) == pytest.approx(6.84, abs=0.05)
    assert twonn_dimension(X) == pytest.approx(8.91, abs=0.1)
