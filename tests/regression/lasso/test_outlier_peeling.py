"""Sparse vectors stay away from a subspace once its features are taken out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.regression.lasso.outlier_peeling import outlying_features


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4), st.sampled_from([0.0, 0.1, 0.3]))
def test_what_is_left_of_sparse_vectors_is_outside_the_subspace(seed, k, q, faint):
    rng = np.random.default_rng(seed)
    d = 60
    # Directions with few heavy entries and many small ones.
    V = np.linalg.qr(rng.standard_normal((d, q)) * 10.0 ** rng.uniform(-4, 0, (d, 1)))[0]
    taken = outlying_features(V, n_nonzero=k, faint=faint)
    assert np.unique(taken).size == taken.size
    heaviest = np.argsort(-np.sum(V**2, axis=1))[:8]
    for _ in range(20):
        support = rng.choice(heaviest if rng.random() < 0.7 else d, k, replace=False)
        # Of the vectors on the support, the one that lies most inside the subspace.
        v = np.zeros(d)
        v[support] = np.linalg.svd(V[support])[0][:, 0]
        left = v.copy()
        left[taken] = 0.0
        outside = np.linalg.norm(v - V @ (V.T @ v)) + faint * np.linalg.norm(v)
        assert np.linalg.norm(left) <= 1.5 * outside + 1e-12


def test_rounds_follow_the_restricted_subspace():
    # Of (1, 0.2, 0, ...) the second entry is light, until the first is gone.
    direction = np.array([[1.0, 0.2, 0.0, 0.0]]).T
    direction /= np.linalg.norm(direction)
    assert outlying_features(direction, n_nonzero=1).tolist() == [0]
    assert outlying_features(direction, n_nonzero=2).tolist() == [0, 1]
    weak = np.array([[1.0, 0.02, 0.0, 0.0]]).T / np.hypot(1, 0.02)
    assert outlying_features(weak, n_nonzero=2).tolist() == [0]
    assert outlying_features(weak, n_nonzero=2, faint=0.01).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [(np.zeros((4, 0)), []), (np.eye(4)[:, [2]], [2]), (np.eye(3), [0, 1, 2]), (np.full((400, 1), 0.05), [])],
)
def test_extremes(vectors, expected):
    assert outlying_features(vectors, n_nonzero=2).tolist() == expected
