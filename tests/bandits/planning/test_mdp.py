"""Decision problems: values agree with each other and with trajectories, and nonsense is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from sparsetheory.bandits import TabularMDP, bounds, make_random_mdp, make_tree_mdp


def _random_policy(mdp, rng, deterministic):
    if deterministic:
        return [rng.integers(level.shape[1], size=len(level)) for level in mdp.rewards]
    return [rng.dirichlet(np.ones(level.shape[1]), size=len(level)) for level in mdp.rewards]


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.booleans(), st.integers(0, 2**32 - 1))
def test_values_forward_and_backward_are_the_same(n_levels, n_states, n_actions, deterministic, seed):
    rng = np.random.default_rng(seed)
    mdp = make_random_mdp(n_levels, n_states, n_actions, 3, 2, 0.2, n_candidates=0, random_state=seed).mdp
    policy = _random_policy(mdp, rng, deterministic)
    first = mdp.chances(0, policy[0]) * mdp.policy_q(policy)[0]
    assert mdp.value(policy) == pytest.approx(float(mdp.initial @ first.sum(axis=1)), abs=1e-12)
    best = [q.argmax(axis=1) for q in mdp.optimal_q()]
    assert mdp.value(best) == pytest.approx(mdp.optimal_value(), abs=1e-12)
    assert mdp.value(policy) <= mdp.optimal_value() + 1e-12


def test_values_are_means_of_trajectories():
    rng = np.random.default_rng(0)
    mdp = make_random_mdp(3, 4, 2, 3, 2, 0.2, random_state=1).mdp
    policy = _random_policy(mdp, rng, True)
    n = 20_000
    states, earned = rng.choice(4, size=n, p=mdp.initial), np.zeros(n)
    for level in range(3):
        actions = policy[level][states]
        earned += mdp.rewards[level][states, actions]
        if level < 2:
            below = np.cumsum(mdp.transitions[level][states * 2 + actions], axis=1)
            states = np.minimum((rng.random(n)[:, None] > below).sum(axis=1), 3)
    assert abs(earned.mean() - mdp.value(policy)) < 5 * earned.std() / np.sqrt(n)


def test_sparse_transitions_are_the_same():
    instance = make_random_mdp(3, 4, 2, 3, 2, 0.2, random_state=0)
    given_sparse = [sparse.csr_array(level) for level in instance.mdp.transitions]
    other = TabularMDP(instance.mdp.rewards, given_sparse, instance.mdp.initial)
    np.testing.assert_allclose(other.optimal_q()[0], instance.mdp.optimal_q()[0])
    policy = _random_policy(other, np.random.default_rng(0), False)
    assert other.value(policy) == pytest.approx(instance.mdp.value(policy))


@pytest.mark.parametrize(
    ("H", "A", "q", "s", "k"), [(1, 3, 5, 3, 2), (3, 2, 5, 4, 2), (4, 3, 7, 6, 3), (2, 5, 5, 5, 2)]
)
def test_all_policies_of_a_tree_have_nearly_sparse_linear_values(H, A, q, s, k):
    tree = make_tree_mdp(H, A, 2.0, q, s, k, random_state=H)
    assert tree.eps == 2.0 * (k - 1) / s
    rng, features = np.random.default_rng(0), tree.features()
    for trial in range(20):
        policy = _random_policy(tree.mdp, rng, trial % 2 == 0)
        if trial == 0:
            policy = [q_values.argmax(axis=1) for q_values in tree.mdp.optimal_q()]
        for level, values in enumerate(tree.mdp.policy_q(policy)):
            x, pair = values.max(), tree.pairs()[level]
            np.testing.assert_allclose(values.ravel()[np.arange(values.size) != pair], 0.0)
            assert 0 <= x <= 2.0
            theta = x * features[level].reshape(values.size, -1)[pair]
            assert np.count_nonzero(theta) <= tree.n_nonzero
            assert np.abs(features[level] @ theta - values).max() <= x * (k - 1) / s + 1e-12
    # The path is the only one that pays.
    assert tree.mdp.optimal_value() == 2.0
    node, policy = 0, [np.zeros(A**h, dtype=int) for h in range(H)]
    for level, action in enumerate(tree.path):
        policy[level][node] = action
        node = node * A + action
    assert tree.mdp.value(policy) == 2.0


def test_random_searches_find_leaves_as_often_as_needles():
    trials, n, leaves, found = 1500, 5, 16, 0
    rng = np.random.default_rng(0)
    for _ in range(trials):
        tree = make_tree_mdp(4, 2, 1.0, 5, 4, 2, random_state=rng)
        order = rng.permutation(leaves)
        earned = tree.mdp.rewards[-1].ravel()[order]
        found += earned[: n + 1].any()  # n trajectories, and one guess after n misses
    best = bounds.needle_success(n, leaves)
    assert abs(found / trials - best) < 4 * np.sqrt(best * (1 - best) / trials)


def test_random_problems_keep_their_misspecification():
    for seed in range(20):
        instance = make_random_mdp(3, 6, 3, 8, 2, 0.3, n_candidates=5, random_state=seed)
        for q, rows, theta, among in zip(
            instance.mdp.optimal_q(), instance.features, instance.theta, instance.candidates, strict=True
        ):
            assert np.abs(q - rows @ theta).max() <= 0.3 + 1e-12
            assert np.count_nonzero(theta) == 2
            np.testing.assert_allclose(np.linalg.norm(rows, axis=2), 1.0)
            assert np.any(np.all(among == theta, axis=1))


R, P = [np.zeros((2, 2)), np.zeros((1, 3))], [np.ones((2, 2, 1))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [], [1.0]), "rewards must be one matrix"),
        (([[1.0, 2.0]], [], [1.0]), "rewards must be one matrix"),
        (([[[np.nan]]], [], [1.0]), "rewards must be finite; got NaN or infinity in level 0, state 0"),
        ((R, [], [0.5, 0.5]), "transitions must be given for 1 levels; got 0"),
        ((R, [np.ones((2, 1, 1))], [0.5, 0.5]), r"transitions\[0\] must be of shape \(2, 2, 1\)"),
        ((R, [np.full((2, 2, 1), 0.5)], [0.5, 0.5]), r"transitions\[0\] must hold probabilities .* got 0.5 in row 0"),
        ((R, [np.full((2, 2, 1), np.nan)], [0.5, 0.5]), r"transitions\[0\] must hold probabilities"),
        ((R, [sparse.csr_array(np.ones((3, 1)))], [0.5, 0.5]), r"transitions\[0\] must have one row for each of 4"),
        ((R, P, [1.5, -0.5]), "initial must hold probabilities; got -0.5"),
        ((R, P, [1.0]), "initial must have 2 columns"),
    ],
)
def test_bad_problems_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TabularMDP(*arguments)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ([[0, 0]], "policy must be given for 2 levels; got 1"),
        ([[0, 2], [0]], r"policy\[0\] must be an action below 2"),
        ([[0, 0, 0], [0]], r"policy\[0\] must be an action"),
        ([[0.0, 1.0], [0]], r"policy\[0\] must be an action"),
        ([[[0.5, 0.6], [0.5, 0.5]], [0]], r"policy\[0\] must hold probabilities"),
    ],
)
def test_bad_policies_are_refused(policy, message):
    with pytest.raises(ValueError, match=message):
        TabularMDP(R, P, [0.5, 0.5]).value(policy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 3, 1.0, 5, 4, 2), r"q \*\* k must be at least 27"),
        ((40, 2, 1.0, 5, 4, 2), r"A \*\* H must be at most"),
        ((2, 1, 1.0, 5, 4, 2), "A must be"),
        ((2, 2, 0.0, 5, 4, 2), "v must be"),
        ((2, 2, 1.0, 6, 4, 2), "q must be a prime"),
    ],
)
def test_bad_trees_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_tree_mdp(*arguments)
