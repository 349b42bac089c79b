"""Compatibilities of supports against brute force and plain least squares."""

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from regression.anchor_references import all_distances, clustered, many_compatibilities, uniform_supports
from scipy import sparse

from sparsetheory.regression import certify_anchors, make_design, select_anchors, support_compatibility
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.random_supports.anchor_choice import find_anchors
from sparsetheory.regression.random_supports.compatibility_reference import plain_compatibility

N, D = 60, 200


def _case(seed, scale_exponent=-2.0):
    rng = np.random.default_rng(seed)
    X = clustered(rng, 25, 40, 5, 10.0**scale_exponent)
    m, k = int(rng.integers(0, 9)), int(rng.integers(1, 7))
    T, S = rng.choice(40, m, replace=False), rng.choice(40, k, replace=False)
    return X, S, SimpleNamespace(weights=all_distances(X, T)), rng


cases = given(st.integers(0, 10**6), st.floats(-6, 0))


@cases
def test_compatibility_chain(seed, exponent):
    X, S, anchors, _ = _case(seed, exponent)
    compatibility, loose = (support_compatibility(X, S, anchors, exact=e) for e in (True, False))
    R = np.linalg.qr(X[:, S] / np.sqrt(25))[1]
    norm = np.linalg.norm(anchors.weights[S, None] * np.linalg.inv(R), 2)
    slack = 1 + 1e-13 * np.linalg.cond(X[:, S])
    assert compatibility.ratios.max() <= compatibility.compatibility * slack
    assert compatibility.compatibility <= compatibility.ratios.sum() * slack
    assert compatibility.compatibility <= np.sqrt(S.size) * norm * slack
    assert loose.compatibility == pytest.approx(compatibility.ratios.sum())
    np.testing.assert_array_equal(loose.ratios, compatibility.ratios)


@cases
def test_compatibility_against_all_sign_vectors(seed, exponent):
    X, S, anchors, _ = _case(seed, exponent)
    W = np.linalg.pinv(X[:, S] / np.sqrt(25), rcond=1e-14)
    rows = anchors.weights[S, None] * W
    expected = max(np.linalg.norm(np.array(s) @ rows) for s in product([-1, 1], repeat=S.size))
    tolerance = 1e-13 * np.linalg.cond(X[:, S])
    compatibility = support_compatibility(X, S, anchors, exact=True)
    assert compatibility.compatibility == pytest.approx(expected, rel=tolerance)
    np.testing.assert_allclose(compatibility.ratios, np.linalg.norm(rows, axis=1), rtol=tolerance)


@cases
def test_no_coefficients_exceed_the_compatibility(seed, exponent):
    X, S, anchors, rng = _case(seed, exponent)
    compatibility = support_compatibility(X, S, anchors, exact=True).compatibility
    scale = np.linalg.svd(X[:, S], full_matrices=False)
    # Random coefficients, and those that cancel.
    for w in (*rng.standard_normal((10, S.size)), *scale[2], *(scale[2].T / scale[1]).T):
        size = np.linalg.norm(X[:, S] @ w) / 5
        assert np.abs(w) @ anchors.weights[S] <= compatibility * size * (1 + 1e-13 * np.linalg.cond(X[:, S]))


@cases
def test_more_anchors_never_hurt(seed, exponent):
    X, S, _, rng = _case(seed, exponent)
    T = rng.permutation(40)[:8]
    compatibilities = [
        support_compatibility(X, S, SimpleNamespace(weights=all_distances(X, T[:m])), exact=True).compatibility
        for m in range(9)
    ]
    assert np.all(np.diff(compatibilities) <= 1e-12 * np.linalg.cond(X[:, S]) * np.max(compatibilities))


def test_dependent_columns_have_ratio_zero(rng):
    X = rng.standard_normal((30, 6))
    X[:, 5] = X[:, 0]
    anchors = SimpleNamespace(weights=all_distances(X, [2]))
    full, reduced = (support_compatibility(X, S, anchors, exact=True) for S in ([0, 1, 5], [0, 1]))
    assert full.compatibility == pytest.approx(reduced.compatibility)
    assert np.sort(full.ratios)[1:] == pytest.approx(np.sort(reduced.ratios))
    assert full.ratios[[0, 2]].min() == 0.0
    assert support_compatibility(X * 0.0, [1, 2], anchors, exact=True).compatibility == 0.0


@pytest.mark.parametrize("layout", [np.asfortranarray, np.float32, sparse.csc_array, sparse.csr_matrix])
def test_layouts(rng, layout):
    X = rng.standard_normal((30, 12)).astype(np.float32).astype(float)
    anchors = SimpleNamespace(weights=all_distances(X, [2, 7]))
    found, expected = (support_compatibility(Z, [9, 1, 4], anchors, exact=True) for Z in (layout(X), X))
    assert found.compatibility == pytest.approx(expected.compatibility, rel=1e-12)


def test_what_is_always_in_the_model_counts_nowhere(rng):
    X = clustered(rng, 30, 40, 4, 0.1)
    ones = np.full((30, 1), 30**-0.5)
    shifted = find_anchors(Columns(X + 50.0, ones), n_nonzero=3, random_state=0)
    shifted = replace(shifted, weights=np.sqrt(Columns(X + 50.0, shifted.Q).squares() / 30))
    centred = X - X.mean(axis=0)
    plain = SimpleNamespace(weights=all_distances(centred, shifted.indices))
    assert support_compatibility(X + 50.0, [0, 5, 9], shifted).compatibility == pytest.approx(
        support_compatibility(centred, [0, 5, 9], plain).compatibility, rel=1e-9
    )
    assert certify_anchors(X + 50.0, n_nonzero=3, anchors=shifted, random_state=0).check(X + 50.0, random_state=0).valid


@pytest.mark.parametrize(
    ("S", "exact", "message"),
    [
        ([], False, "support must hold distinct indices"),
        ([0, 0], False, "support must hold distinct indices"),
        ([-1, 2], False, "support must hold distinct indices of columns between 0 and 39"),
        ([40], False, "support must hold distinct indices"),
        ([0.5], False, "support must hold distinct indices"),
        (list(range(15)), True, "allows k up to 14; got 15"),
    ],
)
def test_bad_supports(S, exact, message):
    X = np.random.default_rng(0).standard_normal((25, 40))
    with pytest.raises(ValueError, match=message):
        support_compatibility(X, S, SimpleNamespace(weights=np.ones(40)), exact=exact)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_designs_that_are_not_finite(bad):
    X = make_design("gaussian", N, D, random_state=0)
    anchors = select_anchors(X, n_nonzero=4, random_state=0)
    X[3, 7] = bad
    with pytest.raises(ValueError, match="X must be finite on support"):
        support_compatibility(X, [7, 8], anchors)
    for design in (X, sparse.csc_array(X)):
        with pytest.raises(ValueError, match="X must be finite"):
            certify_anchors(design, n_nonzero=4, anchors=anchors)


def test_anchors_without_weights():
    X = np.random.default_rng(0).standard_normal((25, 40))
    with pytest.raises(ValueError, match="anchors must have 40 weights"):
        support_compatibility(X, [1], find_anchors(Columns(X), n_nonzero=2, random_state=0))


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6])
def test_plain_compatibility_against_pseudo_inverses(rng, scale):
    X, T = clustered(rng, 40, 60, 5, scale), np.arange(7)
    supports = uniform_supports(rng, 60, 4, 20)
    expected = many_compatibilities(X, supports, all_distances(X, T))
    for S, value in zip(supports, expected, strict=True):
        found = plain_compatibility(Columns(X), S, T)
        assert found.uncertainty < 1e-4
        assert found.value == pytest.approx(value, rel=1e-12 / scale)
        assert found.agrees(value)
        assert found.value == 0 or not found.agrees(value * 1.001)
        assert found.exceeds(value * 0.9) == (value > 0)
        assert not found.exceeds(value * 1.1)


def test_plain_compatibility_of_copies(rng):
    X = rng.standard_normal((20, 4))
    X[:, 3] = X[:, 1]
    none = np.empty(0, dtype=int)
    full, reduced = (plain_compatibility(Columns(X), np.array(S), none).value for S in ([0, 1, 3], [0, 1]))
    assert full == pytest.approx(reduced)


def test_plain_compatibility_without_reliable_distances(rng):
    X = rng.standard_normal((20, 3))
    X[:, 2] = X[:, 1] + 3e-13 * X[:, 0]
    none, both = np.empty(0, dtype=int), np.array([1, 2])
    assert np.isinf(plain_compatibility(Columns(X), both, none).value)
    assert plain_compatibility(Columns(X), both, both).value == 0.0
    assert plain_compatibility(Columns(X), both, none).agrees(1.0)
