"""Atoms that are nearly copies, or nearly in the span of others: l0 searches and their judges see them."""

import numpy as np
import pytest
from coding.coding_references import l0_value, least_squares, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.coding import MinimiserKind, encode, enumerate_l0_minima, is_sbr_stable, minimiser_kinds, polish, sbr
from sparsetheory.penalties import L0

_LAM = 1e-3


def _pair(distance, dtype=np.float64):
    return np.array([[1.0, 1.0]], dtype), np.array([[1.0, 1.0], [0.0, distance]], dtype)


@pytest.mark.parametrize("distance", [1e-1, 1e-3, 1.3e-4, 1e-4, 1e-5, 1e-7, 1e-9, 1e-11])
def test_pairs(distance):
    X, A = _pair(distance)
    alone = np.array([[0.0, (1.0 + distance) / (1.0 + distance**2)]])
    assert not is_sbr_stable(X, A.T, alone, alpha=_LAM)[0]
    assert minimiser_kinds(X, A.T, alone, alpha=_LAM)[0] <= MinimiserKind.CEL0
    for C in (
        sbr(X, A.T, alpha=_LAM).codes,
        polish(X, A.T, alone, alpha=_LAM).codes,
        encode(X, A.T, L0(_LAM), solver="sbr").codes,
    ):
        assert l0_value(X[0], A, C[0], _LAM) == pytest.approx(2 * _LAM, rel=1e-6)
        assert is_sbr_stable(X, A.T, C, alpha=_LAM).all()
        assert minimiser_kinds(X, A.T, C, alpha=_LAM)[0] == MinimiserKind.SBR
    minima = enumerate_l0_minima(X[0], A.T, alpha=_LAM)
    assert (minima.sbr != 0).all()


def test_pairs_in_single_precision():
    X, A = _pair(0.015, np.float32)
    alone = np.array([[0.0, 1.0148]], np.float32)
    assert not is_sbr_stable(X, A.T, alone, alpha=_LAM)[0]
    C = sbr(X, A.T, alpha=_LAM).codes
    assert C.dtype == np.float32
    assert l0_value(X[0].astype(float), A.astype(float), C[0].astype(float), _LAM) == pytest.approx(2 * _LAM, rel=1e-2)


def test_moves_are_counted_and_bounded():
    X, A = _pair(1e-5)
    with pytest.warns(UserWarning, match="1 of 1 codes can still be improved after max_iter=1 moves"):
        sbr(X, A.T, alpha=_LAM, max_iter=1)


@settings(max_examples=40)
@given(seeds, st.floats(-6, -1), st.sampled_from([1e-4, 1e-3, 1e-2]))
def test_no_addition_or_removal_is_better(seed, power, alpha):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((5, 4))
    A = np.hstack([A, A[:, :2] + 10.0**power * rng.standard_normal((5, 2))])
    X = rng.standard_normal((3, 5))
    for x, c in zip(X, sbr(X, A.T, alpha=alpha).codes, strict=True):
        now, support = l0_value(x, A, c, alpha), set(np.flatnonzero(c).tolist())
        for i in range(6):
            other = sorted(support ^ {i})
            if len(other) <= 5:
                trial = least_squares(x, A, other)
                # Entries grow like the inverse of the distance, and with them the rounding of the residual.
                noise = 1e-13 * np.abs(trial).sum() * np.abs(x).sum()
                value = 0.5 * np.sum((x - A @ trial) ** 2) + alpha * len(other)
                assert now <= value + 1e-5 * 10.0 ** min(0.0, -2 * power - 8) * 0.5 * (x @ x) + noise
    assert is_sbr_stable(X, A.T, sbr(X, A.T, alpha=alpha).codes, alpha=alpha).all()
