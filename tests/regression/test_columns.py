"""Projected column access, against dense arithmetic in higher precision."""

import numpy as np
import pytest
from scipy import sparse

from sparsetheory.regression.columns import Columns


def _basis(rng, n, q):
    return np.linalg.qr(rng.standard_normal((n, q)))[0]


def _variants(X):
    return {
        "C": np.ascontiguousarray(X),
        "F": np.asfortranarray(X),
        "csc": sparse.csc_array(X),
        "csc matrix": sparse.csc_matrix(X),
    }


@pytest.mark.parametrize("layout", ["C", "F", "csc", "csc matrix"])
@pytest.mark.parametrize("q", [0, 3])
def test_equals_dense_projection(rng, layout, q):
    X, Q = rng.standard_normal((20, 50)), _basis(rng, 20, q)
    columns = Columns(_variants(X)[layout], Q)
    projected = X - Q @ (Q.T @ X)
    r, index = rng.standard_normal((20, 2)), np.array([4, 1, 30])
    np.testing.assert_allclose(columns.correlate(r), projected.T @ r, atol=1e-12)
    np.testing.assert_allclose(columns.take(index), projected[:, index], atol=1e-12)
    np.testing.assert_allclose(columns.apply(index, np.arange(3.0)), projected[:, index] @ np.arange(3.0), atol=1e-12)
    np.testing.assert_allclose(columns.squares(), (projected**2).sum(0), rtol=1e-10)
    np.testing.assert_allclose(columns.raw_squares(), (X**2).sum(0), rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-2, 1e-5, 1e-8])
def test_short_residuals_keep_their_digits(rng, scale):
    Q = _basis(rng, 60, 5)
    outside = rng.standard_normal((60, 30))
    outside -= Q @ (Q.T @ outside)
    outside -= Q @ (Q.T @ outside)
    X = Q @ rng.standard_normal((5, 30)) + scale * outside
    truth = np.linalg.norm(scale * outside, axis=0)
    # X itself is rounded to 1e-16, which moves its residual by that much.
    np.testing.assert_allclose(np.sqrt(Columns(X, Q).squares()), truth, rtol=1e-14 / scale)


def test_differences_alone_would_lose_them(rng):
    Q = _basis(rng, 60, 5)
    X = Q @ rng.standard_normal((5, 30)) + 1e-9 * rng.standard_normal((60, 30))
    trusted, hasty = Columns(X, Q).squares(), Columns(X, Q).squares(recompute_below=0.0)
    assert np.max(np.abs(hasty / trusted - 1)) > 0.1


def test_single_precision_is_storage_only(rng):
    X = rng.standard_normal((500, 40)).astype(np.float32)
    r = rng.standard_normal(500)
    np.testing.assert_allclose(Columns(X).inner(r), X.astype(np.float64).T @ r, rtol=1e-13)
    assert Columns(X).take(np.array([1])).dtype == np.float64


def test_norms_are_computed_once_and_shared(rng):
    columns = Columns(rng.standard_normal((10, 5)))
    first = columns.raw_squares()
    assert columns.with_basis(_basis(rng, 10, 2)).raw_squares() is first


def test_blocks_cover_every_column_once():
    columns = Columns(np.zeros((300_000, 7)))
    covered = np.concatenate([np.arange(7)[block] for block in columns.blocks()])
    assert len(list(columns.blocks())) > 1
    np.testing.assert_array_equal(covered, np.arange(7))


def test_a_constant_direction_is_taken_off_without_rounding(rng):
    entries = 1.7e18 + 256.0 * rng.integers(-40_000, 40_000, (200, 3))
    columns = Columns(entries, np.full((200, 1), 200**-0.5))
    exact = [[int(v) - sum(map(int, x)) / len(x) for v in x] for x in (entries - 1.7e18).T]
    np.testing.assert_allclose(columns.take(np.arange(3)).T, exact, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(np.sqrt(columns.live_squares()), np.linalg.norm(exact, axis=1), rtol=1e-12)


def test_with_other_directions_what_the_mean_leaves_decides(rng):
    centred = rng.standard_normal((60, 4))
    centred -= centred.mean(axis=0)
    Q = np.column_stack([np.full(60, 60**-0.5), np.linalg.qr(centred[:, :1])[0]])
    X = np.column_stack([centred[:, 1], 3 * centred[:, 0], np.full(60, 0.1)]) + 1e12
    live = Columns(X, Q).live_squares() > 0
    # The first has a direction of its own; of the others, nothing but rounding is left.
    assert live.tolist() == [True, False, False]


def test_responses_with_large_means_keep_what_they_say(rng):
    y = rng.standard_normal(50)
    y -= y.mean()
    columns = Columns(np.zeros((50, 1)), np.full((50, 1), 50**-0.5))
    np.testing.assert_allclose(columns.without_rounding(y + 1e12), y, atol=1e-4)
    assert not columns.without_rounding(np.where(y > 0, 0.3, 0.1 + 0.2)).any()


@pytest.mark.parametrize("layout", ["C", "csc"])
def test_ranges_are_told_by_column(rng, layout):
    X = rng.standard_normal((20, 5))
    X[:, 3] = 0.0
    Columns(_variants(X)[layout]).require_squares()
    for scale, message in ((1e-160, "column 2 of X"), (1e160, "X must not hold")):
        Z = X.copy()
        Z[:, 2] *= scale
        with pytest.raises(ValueError, match=message):
            Columns(_variants(Z)[layout]).require_squares()
