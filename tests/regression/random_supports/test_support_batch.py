"""Batches of supports against one support at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from regression.anchor_references import all_distances, clustered, many_compatibilities, uniform_supports

from sparsetheory.regression.columns import Columns
from sparsetheory.regression.distances import leave_one_out_distances
from sparsetheory.regression.orthonormal import orthonormal_basis
from sparsetheory.regression.random_supports.support_batch import SupportBatch, own_distances


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 9), st.floats(-9, 0))
def test_own_distances_are_those_of_single_supports(seed, k, b, exponent):
    rng = np.random.default_rng(seed)
    columns = clustered(rng, 15, b * k, 3, 10.0**exponent) * 10.0 ** rng.uniform(-5, 5, b * k)
    found, ill = own_distances(columns, k)
    singles = [leave_one_out_distances(part) * np.sqrt(15) for part in np.split(columns, b, axis=1)]
    np.testing.assert_allclose(found, singles, rtol=1e-13 / 10.0**exponent)
    assert not ill.any()


def test_dependent_and_ill_conditioned_supports(rng):
    base, e = rng.standard_normal((30, 3)), rng.standard_normal((30, 1))
    copies = np.hstack([base[:, :2], base[:, :1]])
    nearly = np.hstack([base[:, :2], base[:, :1] + 2e-13 * e])
    zeros = np.hstack([base[:, :2], np.zeros((30, 1))])
    found, ill = own_distances(np.hstack([base, copies, nearly, zeros]), 3)
    assert ill.tolist() == [False, False, True, False]
    assert np.isfinite(found).sum(axis=1).tolist() == [3, 2, 3, 2]
    np.testing.assert_allclose(found[0], leave_one_out_distances(base) * np.sqrt(30))
    np.testing.assert_allclose(np.sort(found[1])[:2], np.sort(leave_one_out_distances(base[:, :2])) * np.sqrt(30))


def test_small_pivots_are_not_the_only_sign_of_ill_conditioning():
    # The diagonal of the factor stays above 0.1, its inverse grows like 2^k.
    columns = np.eye(50, 43) - np.triu(np.ones((50, 43)), 1)
    assert np.abs(np.diag(np.linalg.qr(columns / np.linalg.norm(columns, axis=0))[1])).min() > 0.1
    assert own_distances(columns, 43)[1].tolist() == [True]
    assert own_distances(columns[:, :30], 30)[1].tolist() == [False]


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-5])
def test_ratios_against_least_squares(rng, scale):
    X = clustered(rng, 40, 80, 6, scale)
    supports, T = uniform_supports(rng, 80, 4, 50), list(range(9))
    batch = SupportBatch(Columns(X), supports, orthonormal_basis(X[:, T])[0])
    np.testing.assert_allclose(
        batch.ratios().sum(axis=1), many_compatibilities(X, supports, all_distances(X, T)), rtol=1e-13 / scale
    )
    assert len(batch) == 50
    assert np.all(batch.ratios()[supports < 9] == 0)


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-8])
def test_growing_anchors_are_projected_out(rng, scale):
    X = clustered(rng, 40, 80, 6, scale)
    supports = uniform_supports(rng, 80, 4, 20)
    Q = orthonormal_basis(X[:, :10])[0]
    grown = SupportBatch(Columns(X), supports, Q[:, :0])
    for start, stop in ((0, 4), (4, 5), (5, 10)):
        grown.remove(Q[:, start:stop], 7)
    fresh, before = SupportBatch(Columns(X), supports, Q), SupportBatch(Columns(X), supports, Q[:, :0])
    np.testing.assert_allclose(grown.ratios(7), fresh.ratios(7), rtol=1e-13 / scale)
    np.testing.assert_array_equal(grown.ratios()[:7], before.ratios()[:7])
    grown.remove(Q[:, :1], 20)
    assert grown.ratios(20).shape == (0, 4)


def test_what_is_in_every_model_is_projected_out_of_supports_and_anchors(rng):
    X = clustered(rng, 40, 60, 4, 0.1) + 7.0
    ones = np.full((40, 1), 40**-0.5)
    centred = X - X.mean(axis=0)
    supports = uniform_supports(rng, 60, 3, 30)
    with_constant = SupportBatch(Columns(X, ones), supports, orthonormal_basis(np.hstack([ones, X[:, :5]]))[0])
    plain = SupportBatch(Columns(centred), supports, orthonormal_basis(centred[:, :5])[0])
    np.testing.assert_allclose(with_constant.ratios(), plain.ratios(), rtol=1e-9, atol=1e-9)


def test_the_design_is_not_changed(rng):
    X = np.asfortranarray(rng.standard_normal((20, 30)))
    before = X.copy()
    batch = SupportBatch(Columns(X), np.arange(6).reshape(2, 3), np.zeros((20, 0)))
    batch.remove(orthonormal_basis(X[:, 10:12])[0], 0)
    np.testing.assert_array_equal(X, before)
