"""One step of greedy selection against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.numba_kernels.greedy.stepwise import advance, best_column


def _state(seed, d):
    rng = np.random.default_rng(seed)
    left = rng.uniform(0.5, 2.0, d)
    return rng.standard_normal(d), left, np.where(rng.random(d) < 0.3, 3.0, 0.1), rng.uniform(-0.6, 0.6, d)


def _reference(correlations, left, floors):
    scores = np.where(left > floors, correlations**2 / left, 0.0)
    return (int(np.argmax(scores)), scores.max()) if scores.max() > 0 else (-1, 0.0)


@given(st.integers(0, 10**6), st.integers(1, 40))
def test_best_column(seed, d):
    correlations, left, floors, _ = _state(seed, d)
    assert best_column(correlations, left, floors) == pytest.approx(_reference(correlations, left, floors))


@given(st.integers(0, 10**6), st.integers(1, 40), st.floats(-3, 3))
def test_advance_updates_and_selects(seed, d, coordinate):
    correlations, left, floors, inner = _state(seed, d)
    expected = correlations - coordinate * inner, np.maximum(left - inner**2, 0.0)
    best = advance(correlations, left, floors, inner, coordinate)
    assert correlations == pytest.approx(expected[0], abs=1e-14)
    assert left == pytest.approx(expected[1], abs=1e-14)
    assert best == pytest.approx(_reference(correlations, left, floors))


def test_the_first_of_equals_wins():
    assert best_column(np.array([1.0, -2.0, 2.0]), np.ones(3), np.zeros(3)) == (1, 4.0)


def test_nobody_competes():
    zero = np.zeros(3)
    assert best_column(np.ones(3), zero, zero) == (-1, 0.0)
    assert best_column(zero, np.ones(3), zero) == (-1, 0.0)
    assert best_column(np.empty(0), np.empty(0), np.empty(0)) == (-1, 0.0)


def test_squares_do_not_become_negative():
    left = np.array([1.0, 4.0])
    assert advance(np.ones(2), left, np.zeros(2), np.array([1.0 + 1e-12, 0.0]), 0.5) == (1, 0.25)
    assert left.tolist() == [0.0, 4.0]
