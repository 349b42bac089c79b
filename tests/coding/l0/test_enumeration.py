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
    X, D, alpha = draw_problem(seed, m=(2, 7), n=(1, 7), n_samples=1)
    assume(is_well_posed(D))
    x, n = X[0], D.shape[1]
    minima = enumerate_l0_minima(x, D, alpha)
    points = {}
    for S in _all_subsets(n):
        if not S or np.linalg.matrix_rank(D[:, S]) == len(S):
            points[S] = least_squares(x, D, S)
    assert _supports(minima.local) == set(points)
    values = {S: l0_value(x, D, c, alpha) for S, c in points.items()}
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
    X, D, alpha = draw_problem(seed, m=(2, 7), n=(1, 7), n_samples=1)
    assume(is_well_posed(D))
    minima = enumerate_l0_minima(X[0], D, alpha)
    signals = np.tile(X, (len(minima.local), 1))
    tau = share / np.linalg.norm(D, 2) ** 2
    for penalty, step, found in (
        (L0(alpha), tau, minima.iht_fixed(tau)),
        (L0(alpha), None, minima.cel0),
        (CEL0(alpha, np.linalg.norm(D, axis=0)), None, minima.cel0),
    ):
        distance = criticality(signals, D, minima.local, penalty, step)
        assert _supports(minima.local[distance < 1e-9]) == _supports(found)
    stable = minima.local[is_sbr_stable(signals, D, minima.local, alpha)]
    assert _supports(stable) == _supports(minima.sbr)


@given(seeds)
def test_each_kind_is_among_those_before(seed):
    X, D, alpha = draw_problem(seed, m=(3, 8), n=(3, 9), n_samples=1)
    assume(is_well_posed(D))
    minima, L = enumerate_l0_minima(X[0], D, alpha), np.linalg.norm(D, 2) ** 2
    chain_of_kinds = [minima.local, *(minima.iht_fixed(s / L) for s in (0.05, 0.5, 0.99))]
    chain_of_kinds += [minima.cel0, minima.sbr, minima.global_]
    for weaker, stronger in pairwise(chain_of_kinds):
        assert _supports(stronger) <= _supports(weaker)
    assert len(minima.global_) >= 1


def test_numbers_of_minimisers_fall():
    sizes = np.zeros(6)
    for seed in range(30):
        X, D, alpha = draw_problem(seed, m=6, n=8, n_samples=1, plain=True)
        minima, L = enumerate_l0_minima(X[0], D, alpha), np.linalg.norm(D, 2) ** 2
        kinds = (minima.local, minima.iht_fixed(0.1 / L), minima.iht_fixed(0.99 / L), minima.cel0, minima.sbr)
        sizes += [len(kind) for kind in (*kinds, minima.global_)]
    assert (np.diff(sizes) < 0).all()
    assert sizes[3] < 0.5 * sizes[1]


def test_solvers_end_at_points_of_their_kind():
    for seed in range(20):
        X, D, _ = draw_problem(seed, m=7, n=9, n_samples=1, plain=True)
        minima = enumerate_l0_minima(X[0], D, 0.1)
        C, info = forward_backward(X, D, L0(0.1), tol=1e-10, max_iter=100_000)
        assert _supports(C) <= _supports(minima.iht_fixed(info.step))
        assert _supports(sbr(X, D, 0.1)) <= _supports(minima.sbr)
        C, _ = forward_backward(X, D, CEL0(0.1), tol=1e-10, max_iter=100_000)
        small = np.abs(C) < np.sqrt(0.2)
        if not C[small].any():
            assert _supports(C) <= _supports(minima.cel0)


def test_many_samples_many_atoms_and_dependent_atoms(rng):
    D = rng.standard_normal((500, 14))
    minima = enumerate_l0_minima(D[:, 3] - 2 * D[:, 9], D, 1.0)
    assert minima.global_.tolist() == [pytest.approx([0, 0, 0, 1, 0, 0, 0, 0, 0, -2, 0, 0, 0, 0], abs=1e-12)]
    D[:, 1] = D[:, 0]
    twice = enumerate_l0_minima(rng.standard_normal(500), D[:, :3], 1e-3)
    assert _supports(twice.local) == {(), (0,), (1,), (2,), (0, 2), (1, 2)}
    assert _supports(twice.global_) == {(0, 2), (1, 2)}


def test_zero_signal():
    minima = enumerate_l0_minima(np.zeros(3), np.eye(3), 0.5)
    assert minima.local.tolist() == minima.global_.tolist() == [[0.0, 0.0, 0.0]]


@refuses(
    [
        ({"d": np.ones((1, 3))}, ValueError, r"d must be one signal, a vector; got shape \(1, 3\)"),
        ({"d": [1.0, np.nan, 0.0]}, ValueError, "d must be finite"),
        ({"d": ["a", "b", "c"]}, TypeError, "d must hold integers or floats"),
        ({"d": np.ones(4)}, ValueError, "d must have as many columns as D has rows"),
        ({"D": np.zeros((3, 2))}, ValueError, "D must have no column of zeros"),
        ({"D": np.ones((3, 15))}, ValueError, "D must have at most 14 atoms, as all supports are tried; it has 15"),
        ({"alpha": 0.0}, ValueError, "alpha must be a finite positive number; got 0.0"),
        *[(arguments, error, message.replace("non-negative", "positive")) for arguments, error, message in BAD_LAM],
    ]
)
def test_bad_arguments(arguments, error, message):
    good = good_arguments(d=np.ones(3), alpha=0.1)
    del good["X"]
    with pytest.raises(error, match=message):
        enumerate_l0_minima(**(good | arguments))


def test_bad_steps():
    with pytest.raises(ValueError, match="tau must be a finite positive number; got 0"):
        enumerate_l0_minima(np.ones(2), np.eye(2), 0.1).iht_fixed(0)
