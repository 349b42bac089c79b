"""Designs on one support: what they promise of predictions, whatever the columns."""

import numpy as np
import pytest
from bandit_cases import exact_values, nearly_dependent
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.bandits.supports.basis import support_basis
from sparsetheory.bandits.supports.designs import fit_design, support_design

NOTHING = np.empty(0, dtype=np.intp)


def _columns(features):
    return np.ascontiguousarray(features.T)


@given(st.integers(0, 10**9), st.integers(1, 4), st.sampled_from([1.2, 2.0]))
def test_errors_of_predictions_are_within_the_promise(seed, s, target_mult):
    rng = np.random.default_rng(seed)
    n, eps = int(rng.integers(s, 60)), 10.0 ** rng.uniform(-6, 0)
    features = rng.standard_normal((n, s)) * 10.0 ** rng.integers(-3, 4, s)
    columns, support = _columns(features), np.arange(s)
    design = support_design(columns, support, target_mult, NOTHING)
    values = features @ rng.standard_normal(s)
    answers = values[design.actions] + eps * rng.choice([-1.0, 1.0], len(design.actions))
    model = fit_design(columns, design, answers, eps)
    slack = 1e-9 * np.abs(values).max()
    assert np.all(np.abs(model.predicted - values) <= model.eps * model.norms + slack)
    assert np.abs(model.predicted - values).max() <= model.eps * model.amplification + slack
    assert model.amplification <= np.sqrt(target_mult * len(model.white)) + 1e-9
    assert model.norms.max() ** 2 <= target_mult * len(model.white) * (1 + 1e-9)
    own = model.white[:, design.actions]
    np.testing.assert_allclose((own * design.weights) @ own.T, np.eye(len(own)), atol=1e-9)
    assert model.candidates()[np.argmax(values)]
    assert model.agrees(np.arange(n), values + eps * rng.uniform(-1, 1, n))


@settings(max_examples=100)
@given(st.integers(0, 10**9))
def test_the_true_support_agrees_where_its_features_nearly_depend_on_each_other(seed):
    rng = np.random.default_rng(seed)
    s = int(rng.integers(1, 5))
    problem, support, _ = nearly_dependent(50, s, s, rng)
    columns = _columns(problem.features)
    design = support_design(columns, support, 2.0, NOTHING)
    model = fit_design(columns, design, problem.rewards[design.actions], problem.eps)
    assert model.agrees(np.arange(50), problem.rewards)


def test_a_model_of_another_support_is_found_out():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((200, 4))
    columns, design = _columns(features), support_design(_columns(features), np.array([0, 1]), 2.0, NOTHING)
    rewards = features[:, 2] - features[:, 3]
    model = fit_design(columns, design, rewards[design.actions], 1e-3)
    assert not model.agrees(np.arange(200), rewards)


@pytest.mark.parametrize("columns", [np.zeros((2, 5)), np.array([[1.0, 2.0], [2.0, 4.0]])])
def test_dependent_columns_have_their_own_rank(columns):
    rank = np.linalg.matrix_rank(columns)
    design = support_design(columns, np.array([0, 1]), 2.0, NOTHING)
    model = fit_design(columns, design, np.zeros(len(design.actions)), 0.1)
    assert len(model.white) == rank
    assert model.predicted.tolist() == [0.0] * columns.shape[1]
    assert model.agrees(np.arange(columns.shape[1]), np.zeros(columns.shape[1]))


@settings(max_examples=100)
@given(st.integers(0, 10**9), st.sampled_from([np.float64, np.float32]))
def test_bases_hold_linear_functions_to_the_rounding_that_they_state(seed, dtype):
    rng = np.random.default_rng(seed)
    s = int(rng.integers(1, 5))
    problem, support, theta = nearly_dependent(60, s + 2, s, rng)
    features = problem.features.astype(dtype)
    basis = support_basis(_columns(features), support)
    Q = basis.coordinates
    np.testing.assert_allclose(Q @ Q.T, np.eye(basis.rank), atol=1e-12)
    values = exact_values(features, theta.astype(dtype))
    left = values - Q.T @ (Q @ values)
    assert np.abs(left).max() <= (basis.rounding + 1e-13) * np.abs(values).max()
