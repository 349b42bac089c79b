"""Moves on a Gram matrix against brute force over the objective."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from regression.subset_references import best_move, l0_objective, unit_columns

from sparsetheory.numba_kernels.greedy.l0_descent import best_pair_move, best_swap, l0_sweep

seeds = st.integers(0, 10**6)
ridges = st.sampled_from([0.0, 0.2])


def _state(seed, d=7, size=3):
    """Draw correlated unit columns, one of them zero, and coefficients that are not optimal."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((15, d)) + rng.uniform(0, 2) * rng.standard_normal((15, 1))
    X[:, 1] = 0.0
    U, y, b = unit_columns(X, False), rng.standard_normal(15), np.zeros(d)
    b[rng.choice(np.delete(np.arange(d), 1), size, replace=False)] = rng.standard_normal(size)
    return U, y, b, U.T @ (y - U @ b), U.T @ U, float(10 ** rng.uniform(-2, 0))


@given(seeds, ridges, st.integers(0, 4))
def test_sweep_minimises_over_each_coefficient_in_turn(seed, ridge, size):
    U, y, b, c, gram, price = _state(seed, size=size)
    order = np.random.default_rng(seed).permutation(7)
    expected, h = b.copy(), 1 + 2 * ridge
    for j in order:
        trials = np.tile(expected, (2, 1))
        trials[0, j] = 0.0
        trials[1, j] = U[:, j] @ (y - U @ trials[0]) / h
        expected = min(trials, key=lambda t: l0_objective(U, y, t, price, ridge))
    assert l0_sweep(b, c, order, 0, gram, np.arange(7), price, h, 0.0) == 7
    np.testing.assert_allclose(b, expected, atol=1e-12)
    np.testing.assert_allclose(c, U.T @ (y - U @ b), atol=1e-12)


def test_sweep_asks_for_rows_and_goes_on():
    U, y, b, c, gram, _ = _state(3, size=0)
    place, rows, order, start, asked = np.full(7, -1), np.zeros((7, 7)), np.arange(7), 0, []
    while start < 7:
        start = l0_sweep(b, c, order, start, rows, place, 1e-3, 1.0, 0.0)
        if start < 7:
            rows[len(asked)], place[order[start]] = gram[order[start]], len(asked)
            asked.append(int(order[start]))
    assert asked == np.flatnonzero(b).tolist()
    assert 1 not in asked
    np.testing.assert_allclose(c, U.T @ (y - U @ b), atol=1e-13)


def test_gains_below_the_least_are_left():
    gram, b, c = np.eye(2), np.zeros(2), np.array([1.0, 1.1])
    assert l0_sweep(b, c, np.arange(2), 0, gram, np.arange(2), 0.5, 1.0, 0.05) == 2
    assert b.tolist() == [0.0, 1.1]
    # At exactly its price a feature stays if it is there.
    b, c = np.array([1.0, 0.0]), np.zeros(2)
    l0_sweep(b, c, np.arange(2), 0, gram, np.arange(2), 0.5, 1.0, 0.05)
    assert b.tolist() == [1.0, 0.0]


def _settled(seed, ridge, size):
    """Solve on the support, as before every search for moves."""
    U, y, b, _, gram, price = _state(seed, size=size)
    support = np.flatnonzero(b)
    A = U[:, support]
    b[support] = np.linalg.solve(A.T @ A + 2 * ridge * np.eye(size), A.T @ y)
    return U, y, b, U.T @ (y - U @ b), gram, price, support


@given(seeds, ridges, st.integers(1, 4))
def test_best_swap(seed, ridge, size):
    U, y, b, c, gram, price, support = _settled(seed, ridge, size)
    out, into, gain = best_swap(b, c, support, gram, np.arange(7), 1 + 2 * ridge)
    now, best = l0_objective(U, y, b, price, ridge), np.inf
    for i in support:
        # Column 1 is zero: to put it in is to take the other one out, which the sweep does.
        for j in np.setdiff1d(np.arange(7), [1, *support]):
            trial = b.copy()
            trial[i] = 0.0
            trial[j] = U[:, j] @ (y - U @ trial) / (1 + 2 * ridge)
            best = min(best, l0_objective(U, y, trial, price, ridge))
    assert now - gain == pytest.approx(min(now, best), abs=1e-12)
    if out >= 0:
        assert b[out] != 0.0
        assert b[into] == 0.0


@given(seeds, ridges, st.integers(0, 4))
def test_best_pair_move(seed, ridge, size):
    U, y, b, c, gram, price, support = _settled(seed, ridge, size)
    before = b.copy()
    *move, gain = best_pair_move(b, c, support, gram, price, 1 + 2 * ridge)
    np.testing.assert_array_equal(b, before)
    now = l0_objective(U, y, b, price, ridge)
    assert now - gain == pytest.approx(min(now, best_move(U, y, b, price, ridge, 2, 2)), abs=1e-11)
    b[[j for j in move[:2] if j >= 0]] = 0.0
    new = [j for j in move[2:] if j >= 0]
    system = np.vstack([U[:, new], np.sqrt(2 * ridge) * np.eye(len(new))])
    b[new] = np.linalg.lstsq(system, np.concatenate([y - U @ b, np.zeros(len(new))]))[0]
    assert l0_objective(U, y, b, price, ridge) == pytest.approx(now - gain, abs=1e-11)


def test_duplicates_are_no_pair():
    gram, c = np.ones((2, 2)), np.array([2.0, 2.0])
    assert best_pair_move(np.zeros(2), c, np.empty(0, np.int64), gram, 0.1, 1.0)[:4] == (-1, -1, 0, -1)
