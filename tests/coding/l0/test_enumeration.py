"""The list of minimisers against brute force, and the order of their kinds."""

from itertools import chain, combinations, pairwise

import numpy as np
import pytest
from coding.coding_references import (
    BAD_LAM,
    draw_problem,
    good_arguments,
    is_well_posed,
    l0_value,
    least_squares,
    refuses,
    seeds,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from sparsetheory.coding.codes.certificates import criticality
from sparsetheory.coding.l0.enumeration import enumerate_l0_minima
from sparsetheory.coding.l0.single_best_replacement import is_sbr_stable, sbr
from sparsetheory.coding.proximal_gradient.forward_backward import forward_backward
from sparsetheory.penalties import CEL0, L0


def _supports(codes):
    return {tuple(np.flatnonzero(c).tolist()) for c in codes}


def _all_subsets(n):
    return chain.from_iterable(combinations(range(n), k) for k in range(n + 1))


@given(seeds)
def test_against_brute_force(seed):
    X, A, alpha = draw_problem(seed, m=(2, 7), n=(1, 7), n_samples=1)
    assume(is_well_posed(A))
    x, n = X[0], A.shape[1]
    minima = enumerate_l0_minima(x, A.T, alpha=alpha)
    points = {}
    for S in _all_subsets(n):
        if not S or np.linalg.matrix_rank(A[:, S]) == len(S):
            points[S] = least_squares(x, A, S)
    assert _supports(minima.local) == set(points)
    values = {S: l0_value(x, A, c, alpha) for S, c in points.items()}
    for c, value in zip(minima.local, minima.objective, strict=True):
        S = tuple(np.flatnonzero(c).tolist())
        np.testing.assert_allclose(c, points[S], atol=1e-8 * (1 + np.abs(c).max()))
        assert value == pytest.approx(values[S], rel=1e-9)
    assert (np.diff(minima.objective) >= 0).all()
    best = min(values.values())
    assert _supports(minima.global_) == {S for S in values if values[S] <= best + 1e-11}
    # One atom away: dependent supports fit no better than independent ones inside them.
    stable = {S for S in points if all(values.get(_flip(S, i), np.inf) >= values[S] - 1e-11 for i in range(n))}
    assert _supports(minima.sbr) == stable


def _flip(S, i):
    return tuple(sorted(set(S) ^ {i}))


@given(seeds, st.floats(0.01, 0.999))
def test_kinds_by_their_fixed_points(seed, share):
    X, A, alpha = draw_problem(seed, m=(2, 7), n=(1, 7), n_samples=1)
    assume(is_well_posed(A))
    minima = enumerate_l0_minima(X[0], A.T, alpha=alpha)
    signals = np.tile(X, (len(minima.local), 1))
    tau = share / np.linalg.norm(A, 2) ** 2
    for penalty, step, found in (
        (L0(alpha), tau, minima.iht_fixed(tau)),
        (L0(alpha), None, minima.cel0),
        (CEL0(alpha, np.linalg.norm(A, axis=0)), None, minima.cel0),
    ):
        distance = criticality(signals, A.T, minima.local, penalty, step=step)
        assert _supports(minima.local[distance < 1e-9]) == _supports(found)
    stable = minima.local[is_sbr_stable(signals, A.T, minima.local, alpha=alpha)]
    assert _supports(stable) == _supports(minima.sbr)


@given(seeds)
def test_each_kind_is_among_those_before(seed):
    X, A, alpha = draw_problem(seed, m=(3, 8), n=(3, 9), n_samples=1)
    assume(is_well_posed(A))
    minima, L = enumerate_l0_minima(X[0], A.T, alpha=alpha), np.linalg.norm(A, 2) ** 2
    chain_of_kinds = [minima.local, *(minima.iht_fixed(s / L) for s in (0.05, 0.5, 0.99))]
    chain_of_kinds += [minima.cel0, minima.sbr, minima.global_]
    for weaker, stronger in pairwise(chain_of_kinds):
        assert _supports(stronger) <= _supports(weaker)
    assert len(minima.global_) >= 1


def test_numbers_of_minimisers_fall():
    sizes = np.zeros(6)
    for seed in range(30):
        X, A, alpha = draw_problem(seed, m=6, n=8, n_samples=1, plain=True)
        minima, L = enumerate_l0_minima(X[0], A.T, alpha=alpha), np.linalg.norm(A, 2) ** 2
        kinds = (minima.local, minima.iht_fixed(0.1 / L), minima.iht_fixed(0.99 / L), minima.cel0, minima.sbr)
        sizes += [len(kind) for kind in (*kinds, minima.global_)]
    assert (np.diff(sizes) < 0).all()
    assert sizes[3] < 0.5 * sizes[1]


def test_solvers_end_at_points_of_their_kind():
    for seed in range(20):
        X, A, _ = draw_problem(seed, m=7, n=9, n_samples=1, plain=True)
        minima = enumerate_l0_minima(X[0], A.T, alpha=0.1)
        found = forward_backward(X, A.T, L0(0.1), tol=1e-10, max_iter=100_000)
        C = found.codes
        assert _supports(C) <= _supports(minima.iht_fixed(found.step))
        assert _supports(sbr(X, A.T, alpha=0.1).codes) <= _supports(minima.sbr)
        C = forward_backward(X, A.T, CEL0(0.1), tol=1e-10, max_iter=100_000).codes
        small = np.abs(C) < np.sqrt(0.2)
        if not C[small].any():
            assert _supports(C) <= _supports(minima.cel0)


def test_many_samples_many_atoms_and_dependent_atoms(rng):
    A = rng.standard_normal((500, 14))
    minima = enumerate_l0_minima(A[:, 3] - 2 * A[:, 9], A.T, alpha=1.0)
    assert minima.global_.tolist() == [pytest.approx([0, 0, 0, 1, 0, 0, 0, 0, 0, -2, 0, 0, 0, 0], abs=1e-12)]
    A[:, 1] = A[:, 0]
    twice = enumerate_l0_minima(rng.standard_normal(500), A[:, :3].T, alpha=1e-3)
    assert _supports(twice.local) == {(), (0,), (1,), (2,), (0, 2), (1, 2)}
    assert _supports(twice.global_) == {(0, 2), (1, 2)}


def test_zero_signal():
    minima = enumerate_l0_minima(np.zeros(3), np.eye(3), alpha=0.5)
    assert minima.local.tolist() == minima.global_.tolist() == [[0.0, 0.0, 0.0]]


@refuses(
    [
        ({"x": np.ones((1, 3))}, ValueError, r"x must be one signal, a vector; got shape \(1, 3\)"),
        ({"x": [1.0, np.nan, 0.0]}, ValueError, "x must be finite"),
        ({"x": ["a", "b", "c"]}, TypeError, "x must hold integers or floats"),
        ({"x": np.ones(4)}, ValueError, "x and D must have as many columns as a signal has entries"),
        ({"D": np.zeros((2, 3))}, ValueError, "D must have no row of zeros"),
        ({"D": np.ones((15, 3))}, ValueError, "D must have at most 14 atoms, as all supports are tried; it has 15"),
        ({"alpha": 0.0}, ValueError, "alpha must be a finite positive number; got 0.0"),
        *[(arguments, error, message.replace("non-negative", "positive")) for arguments, error, message in BAD_LAM],
    ]
)
def test_bad_arguments(arguments, error, message):
    good = good_arguments(x=np.ones(3), alpha=0.1)
    del good["X"]
    with pytest.raises(error, match=message):
        enumerate_l0_minima(**(good | arguments))


def test_bad_steps():
    with pytest.raises(ValueError, match="step must be a finite positive number; got 0"):
        enumerate_l0_minima(np.ones(2), np.eye(2), alpha=0.1).iht_fixed(0)
