"""Maximisation steps and the majorise-minimise sweep."""

from functools import reduce

import numpy as np
import pytest
from bayesian.kron_references import random_problem
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.bayesian import (
    alternating_sweep,
    alternating_update,
    kron_posterior,
    mm_update,
    newton_update,
    sbl_cost,
    svd_update,
)


def _outer(factors):
    return reduce(np.multiply.outer, factors)


def _objective(Lam, factors):
    G = _outer(factors)
    return float(np.sum(np.log(G) + Lam / G))


def _moments(seed, heavy):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 6, rng.integers(1, 5)))
    return np.exp((6.0 if heavy else 1.0) * rng.standard_normal(shape)), [rng.uniform(0.01, 2, n) for n in shape]


seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.booleans())
def test_a_sweep_never_raises_the_objective(seed, heavy):
    Lam, gammas = _moments(seed, heavy)
    after = alternating_sweep(Lam, gammas)
    value = _objective(Lam, gammas)
    assert _objective(Lam, after) <= value + 1e-12 * abs(value)
    assert all(np.linalg.norm(g) == pytest.approx(1.0) for g in after[:-1])


@given(seeds)
def test_newton_finds_the_unique_minimum(seed):
    Lam, gammas = _moments(seed, False)
    other = [g[::-1] * 3.0 for g in gammas]
    found = [np.log(_outer(newton_update(Lam, start))) for start in (gammas, other)]
    swept = np.log(_outer(alternating_update(Lam, gammas, tol=1e-15)))
    np.testing.assert_allclose(found[0], found[1], atol=1e-7)
    np.testing.assert_allclose(found[0], swept, atol=1e-7)


@given(seeds)
def test_newton_scales_heavy_tails_to_uniform_marginals(seed):
    Lam, gammas = _moments(seed, True)
    T = Lam / _outer(newton_update(Lam, gammas))
    for k in range(Lam.ndim):
        np.testing.assert_allclose(T.mean(axis=tuple(j for j in range(Lam.ndim) if j != k)), 1.0, rtol=1e-8)


def test_inner_loop_stops_as_asked(rng):
    Lam = np.exp(rng.standard_normal((4, 5, 6)))
    start = [np.ones(n) for n in Lam.shape]
    one = alternating_update(Lam, start, tol=1e6)
    np.testing.assert_array_equal(_outer(one), _outer(alternating_sweep(Lam, start)))
    np.testing.assert_array_equal(_outer(one), _outer(alternating_update(Lam, start, tol=0.0, max_sweeps=1)))
    absolute = alternating_update(1e-6 * Lam, start, tol=1e-4, relative=False)
    assert not np.allclose(_outer(absolute), _outer(alternating_update(1e-6 * Lam, start, tol=1e-12)), rtol=1e-6)


@given(seeds)
def test_svd_is_exact_on_outer_products_and_scales(seed):
    Lam, gammas = _moments(seed, True)
    product, nearest = _outer(gammas), _outer(svd_update(Lam))
    np.testing.assert_allclose(_outer(svd_update(product)), product, atol=1e-12 * product.max())
    # Whatever the unit: squares of entries near 1e-200 would underflow.
    np.testing.assert_allclose(_outer(svd_update(1e-200 * Lam)) * 1e200, nearest, atol=1e-12 * Lam.max())


def test_svd_equals_singular_vectors(rng):
    Lam = rng.uniform(size=(4, 3, 7))
    U, s, Vh = np.linalg.svd(Lam.reshape(4, -1), full_matrices=False)
    first, second, third = svd_update(Lam)
    np.testing.assert_allclose(first, np.abs(U[:, 0]), rtol=1e-10)
    rest = np.abs(s[0] * Vh[0]).reshape(3, 7)
    u, t, vh = np.linalg.svd(rest)
    np.testing.assert_allclose(np.outer(second, third), t[0] * np.outer(u[:, 0], vh[0]), rtol=1e-10)


def test_svd_of_tied_blocks_has_no_sign_left():
    """Two equal blocks: any mixture of their singular vectors is one, but only some are nonnegative."""
    Lam = np.kron(np.eye(2), np.ones((2, 2)))
    factors = svd_update(Lam)
    assert all((f >= 0).all() for f in factors)
    assert np.linalg.norm(Lam - _outer(factors)) == pytest.approx(2.0)
    assert not _outer(svd_update(np.zeros((2, 3)))).any()


@given(seeds, st.booleans(), st.booleans())
def test_mm_update_never_raises_the_cost(seed, is_complex, many):
    rng = np.random.default_rng(seed)
    As, y, gammas, s2 = random_problem(rng, int(rng.integers(1, 5)), is_complex, 3 if many else None)
    p = kron_posterior(As, y, gammas, noise_variance=s2)
    after = mm_update(p.prior * p.q, p.prior * p.power, gammas)
    slack = 1e-9 * (1 + abs(p.cost))
    assert sbl_cost(As, y, after, noise_variance=s2) <= p.cost + slack
    assert sbl_cost(As, y, after, noise_variance=p.noise_mm) <= p.cost + slack


def test_mm_of_one_mode_is_the_known_update(rng):
    (A,), y, (gamma,), s2 = random_problem(rng, 1, True)
    p = kron_posterior([A], y, [gamma], noise_variance=s2)
    (after,) = mm_update(gamma * p.q, gamma * p.power, [gamma])
    np.testing.assert_allclose(after, gamma * np.abs(p.S) / np.sqrt(p.q), rtol=1e-12)


def test_mm_keeps_zeros_and_floors_the_rest():
    a = b = np.array([[1.0, 2.0], [0.0, 0.0]])
    first, _ = mm_update(a, b, [np.array([1.0, 0.0]), np.ones(2)])
    assert first.tolist() == [1.0, 0.0]
    dead, _ = mm_update(np.ones((2, 2)), a, [np.ones(2), np.ones(2)])
    assert 0 < dead[1] <= 1e-59
    # Measurements that no column explains take all variances to zero, and nothing is divided by it.
    for a, b in ((np.ones((2, 2)), np.zeros((2, 2))), (np.zeros((2, 2)), np.zeros((2, 2)))):
        assert not np.any(mm_update(a, b, [np.ones(2), np.ones(2)]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: alternating_sweep(np.ones((2, 3)), [np.ones(2)]), r"one vector per mode \(2\)"),
        (lambda: alternating_sweep(np.ones((2, 3)), [np.ones(2), np.ones(2)]), r"variances\[1\] must be a real vector"),
        (
            lambda: alternating_sweep(np.ones((2, 3)), [np.ones(2), np.array([1.0, 0, 1])]),
            r"variances\[1\] must be positive",
        ),
        (lambda: alternating_sweep(-np.ones(2), [np.ones(2)]), "second_moment must be real and not negative"),
        (lambda: alternating_sweep(1j * np.ones(2), [np.ones(2)]), "second_moment must be real and not negative"),
        (lambda: alternating_sweep(1.0, []), r"second_moment must have shape \(N_1, ..., N_d\)"),
        (lambda: alternating_update(np.ones(2), [np.ones(2)], tol=-1.0), "tol must be"),
        (lambda: alternating_update(np.ones(2), [np.ones(2)], max_sweeps=0), "max_sweeps must be"),
        (lambda: newton_update(np.array([1.0, 0.0]), [np.ones(2)]), "second_moment must be positive"),
        (lambda: svd_update([[np.nan]]), "second_moment must be finite"),
        (lambda: mm_update(np.ones(2), np.ones(3), [np.ones(2)]), r"data_slopes must have shape \(2,\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
