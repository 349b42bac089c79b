"""Bounds of rewards on one support: never too small, as small as linear programs say, and smaller with every answer."""

import numpy as np
import pytest
from bandit_cases import nearly_dependent
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from sparsetheory.bandits.certificates.upper_bounds import upper_bounds
from sparsetheory.bandits.supports.allowed import allowed_coefficients
from sparsetheory.bandits.supports.basis import support_basis
from sparsetheory.bandits.supports.consistency import allowed_on


def _instance(rng, n, s, eps, kind):
    features = rng.standard_normal((n, s))
    error = {"uniform": rng.uniform(-1, 1, n), "sign": rng.choice([-1.0, 1.0], n)}[kind]
    return features, features @ rng.standard_normal(s) + eps * error


def _bounds(features, queried, observed, eps):
    return upper_bounds(
        support_basis(np.ascontiguousarray(features.T), np.arange(features.shape[1])), queried, observed, eps
    )


def _by_programs(features, queried, observed, eps, actions):
    rows = features[queried]
    sides, limits = np.vstack([rows, -rows]), np.concatenate([observed + eps, eps - observed])
    programs = [linprog(-features[a], A_ub=sides, b_ub=limits, bounds=(None, None)) for a in actions]
    return np.array([-p.fun + eps for p in programs])


@settings(max_examples=25)
@given(st.integers(0, 10**9), st.integers(1, 4), st.sampled_from(["uniform", "sign"]), st.floats(-2, 0))
def test_bounds_are_those_of_linear_programs(seed, s, kind, size):
    rng, eps = np.random.default_rng(seed), 10.0**size
    n = int(rng.integers(s + 1, 40))
    features, rewards = _instance(rng, 60, s, eps, kind)
    queried = rng.choice(60, n, replace=False)
    found = _bounds(features, queried, rewards[queried], eps * (1 + 1e-9))
    assert not found.refuted
    actions = rng.choice(60, 6, replace=False)
    sharp = _by_programs(features, queried, rewards[queried], eps * (1 + 1e-9), actions)
    assert np.all(found.values >= rewards - 1e-12)
    assert np.all(found.values[actions] >= sharp - 1e-6 * np.abs(sharp) - 1e-9)
    # A polytope without room inside is made larger by a share of 1e-4 of the ball around it.
    ball = upper_bound_of_the_ball(features, queried, rewards[queried], eps)
    assert np.all(found.values[actions] <= sharp + 1e-3 * ball[actions] + 1e-6)


def upper_bound_of_the_ball(features, queried, observed, eps):
    """Return the half-widths of predictions over the ball of all coefficients that least squares allow."""
    _, singular, right = np.linalg.svd(features[queried], full_matrices=False)
    return eps * np.sqrt(len(queried)) * np.linalg.norm((features @ right.T) / singular, axis=1)


@settings(max_examples=150)
@given(st.integers(0, 10**9))
def test_bounds_hold_where_features_nearly_depend_on_each_other(seed):
    rng = np.random.default_rng(seed)
    s = int(rng.integers(1, 5))
    problem, _, _ = nearly_dependent(60, s, s, rng)
    queried = rng.choice(60, int(rng.integers(1, 40)), replace=False)
    found = _bounds(problem.features, queried, problem.rewards[queried], problem.eps)
    assert not found.refuted
    assert np.all(found.values >= problem.rewards)
    assert allowed_on(problem.features[queried], problem.rewards[queried], np.arange(s), problem.eps)


@settings(max_examples=20)
@given(st.integers(0, 10**9), st.integers(1, 4))
def test_another_answer_never_loosens_a_bound(seed, s):
    rng, eps = np.random.default_rng(seed), 0.1
    features, rewards = _instance(rng, 50, s, eps, "uniform")
    order, last = rng.permutation(50), np.full(50, np.inf)
    for n in range(1, 30):
        found = _bounds(features, order[:n], rewards[order[:n]], eps).values
        assert np.all(found <= last + 1e-3)
        last = found


def test_bounds_are_sharper_than_the_ball_by_a_multiple(rng):
    features, rewards = _instance(rng, 500, 2, 0.1, "uniform")
    queried = np.arange(100)
    found = (
        _bounds(features, queried, rewards[queried], 0.1).values
        - features @ np.linalg.lstsq(features[queried], rewards[queried], rcond=None)[0]
        - 0.1
    )
    ball = upper_bound_of_the_ball(features, queried, rewards[queried], 0.1)
    assert np.median(found / ball) < 0.4


def test_what_is_enough_need_not_be_sharp(rng):
    features, rewards = _instance(rng, 200, 3, 0.1, "uniform")
    basis, queried = support_basis(np.ascontiguousarray(features.T), np.arange(3)), np.arange(20)
    sharp = upper_bounds(basis, queried, rewards[queried], 0.1).values
    enough = float(np.quantile(sharp, 0.9))
    lazy = upper_bounds(basis, queried, rewards[queried], 0.1, enough).values
    assert np.all(lazy >= sharp - 1e-12)
    assert lazy[sharp > enough] == pytest.approx(sharp[sharp > enough])


@pytest.mark.parametrize("s", [1, 2, 3, 4])
def test_the_largest_residual_refutes_what_least_squares_cannot(s, rng):
    features = rng.standard_normal((40, s))
    features[0] *= 20 / np.linalg.norm(features[0])  # longer than all others: what helps there hurts less elsewhere
    features[1] = features[0]
    values = features @ np.ones(s)
    values[1] += 0.21  # two answers for the same features
    assert not allowed_coefficients(features, values, 0.1).refuted
    assert _bounds(features, np.arange(40), values, 0.1).refuted
    assert not allowed_on(features, values, np.arange(s), 0.1)
    assert allowed_on(features, values, np.arange(s), 0.1051)


def test_a_direction_that_no_answer_has_bounds_nothing():
    features = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [1.0, 1.0]])
    found = _bounds(features, np.array([0]), np.array([0.5]), 0.1)
    assert found.values == pytest.approx([0.7, np.inf, 1.3, np.inf])


def test_absent_features_explain_nothing():
    features = np.zeros((5, 2))
    assert _bounds(features, np.array([0]), np.array([0.2]), 0.1).refuted
    assert _bounds(features, np.array([0]), np.array([0.1]), 0.1).values == pytest.approx(np.full(5, 0.1))
    assert not allowed_on(features, np.array([0.2, 0.0, 0.0, 0.0, 0.0]), np.arange(2), 0.1)


def test_features_that_differ_by_next_to_nothing_do_not_refute_the_truth():
    rng = np.random.default_rng(0)
    for nearness in 10.0 ** np.linspace(-14, -9, 26):
        first = rng.standard_normal(12)
        rows = np.column_stack([first, first + nearness * rng.standard_normal(12), rng.standard_normal(12)])
        for size in (0.3, 1.0, 30.0):
            theta = size * rng.standard_normal(3)
            assert allowed_on(rows, rows @ theta, np.arange(3), 0.0), (nearness, size)
