"""Atoms that are nearly copies, or nearly in the span of others: l0 searches and their judges see them."""

import numpy as np
import pytest
from coding.coding_references import l0_value, least_squares, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.coding import Stability, encode, enumerate_l0_minima, is_sbr_stable, polish, sbr, stability_levels
from sparsetheory.penalties import L0

_LAM = 1e-3


def _pair(distance, dtype=np.float64):
    return np.array([[1.0, 1.0]], dtype), np.array([[1.0, 1.0], [0.0, distance]], dtype)


@pytest.mark.parametrize("distance", [1e-1, 1e-3, 1.3e-4, 1e-4, 1e-5, 1e-7, 1e-9, 1e-11])
def test_pairs(distance):
    X, D = _pair(distance)
    alone = np.array([[0.0, (1.0 + distance) / (1.0 + distance**2)]])
    assert not is_sbr_stable(X, D, alone, _LAM)[0]
    assert stability_levels(X, D, alone, _LAM)[0] <= Stability.CEL0
    for C in (sbr(X, D, _LAM), polish(X, D, alone, _LAM).codes, encode(X, D, L0(_LAM), "sbr").codes):
        assert l0_value(X[0], D, C[0], _LAM) == pytest.approx(2 * _LAM, rel=1e-6)
        assert is_sbr_stable(X, D, C, _LAM).all()
        assert stability_levels(X, D, C, _LAM)[0] == Stability.SBR
    minima = enumerate_l0_minima(X[0], D, _LAM)
    assert (minima.sbr != 0).all()


def test_pairs_in_single_precision():
    X, D = _pair(0.015, np.float32)
    alone = np.array([[0.0, 1.0148]], np.float32)
    assert not is_sbr_stable(X, D, alone, _LAM)[0]
    C = sbr(X, D, _LAM)
    assert C.dtype == np.float32
    assert l0_value(X[0].astype(float), D.astype(float), C[0].astype(float), _LAM) == pytest.approx(2 * _LAM, rel=1e-2)


def test_moves_are_counted_and_bounded():
    X, D = _pair(1e-5)
    with pytest.warns(UserWarning, match="1 of 1 codes can still be improved after max_iter=1 moves"):
        sbr(X, D, _LAM, max_iter=1)


@settings(max_examples=40)
@given(seeds, st.floats(-6, -1), st.sampled_from([1e-4, 1e-3, 1e-2]))
def test_no_addition_or_removal_is_better(seed, power, alpha):
    rng = np.random.default_rng(seed)
    D = rng.standard_normal((5, 4))
    D = np.hstack([D, D[:, :2] + 10.0**power * rng.standard_normal((5, 2))])
    X = rng.standard_normal((3, 5))
    for x, c in zip(X, sbr(X, D, alpha), strict=True):
        now, support = l0_value(x, D, c, alpha), set(np.flatnonzero(c).tolist())
        for i in range(6):
            other = sorted(support ^ {i})
            if len(other) <= 5:
                trial = least_squares(x, D, other)
                # Entries grow like the inverse of the distance, and with them the rounding of the residual.
                noise = 1e-13 * np.abs(trial).sum() * np.abs(x).sum()
                value = 0.5 * np.sum((x - D @ trial) ** 2) + alpha * len(other)
                assert now <= value + 1e-5 * 10.0 ** min(0.0, -2 * power - 8) * 0.5 * (x @ x) + noise
    assert is_sbr_stable(X, D, sbr(X, D, alpha), alpha).all()
