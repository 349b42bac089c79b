"""Advantages against their formulas by hand, published values, and enumeration."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.special import comb

from sparsetheory.gpu.representation import group_advantage, leave_one_out_advantage, mixed_groups, pass_bonus


def as_released(rewards, hits, k):
    """Return the advantages of one group as the authors' code computes them, whose comb of -1 is 0."""
    n, c = len(rewards), int(sum(hits))
    rho = 1 - comb(n - c, k) / comb(n, k)
    sigma = np.sqrt(rho * (1 - rho))
    hit = (1 - rho) / (sigma + 1e-6)
    other = (1 - rho - comb(n - c - 1, k - 1) / comb(n - 1, k - 1)) / (sigma + 1e-6)
    return (rewards - np.mean(rewards)) / (np.std(rewards, ddof=1) + 1e-6) + np.where(hits, hit, other)


@pytest.mark.parametrize("n_hits", range(11))
def test_advantages_are_those_of_the_released_code(n_hits, device):
    rng = np.random.default_rng(n_hits)
    rewards = rng.choice([0.0, 0.5, 0.707, 0.866, 0.95], 10)
    rewards[:n_hits] = 1.0
    if n_hits == 10:
        rewards[0] = 0.9  # equal rewards are another test
    hits = rewards == 1
    found = group_advantage(torch.tensor(rewards, device=device), torch.zeros(10, dtype=torch.int64, device=device))
    np.testing.assert_allclose(found.cpu().numpy(), as_released(rewards, hits, 4), atol=1e-12)


@pytest.mark.parametrize(
    ("hits", "bonus", "other"),
    [
        (1, 1.225, -0.136),
        (2, 0.707, -0.177),
        (3, 0.447, -0.192),
        (4, 0.277, -0.185),
        (5, 0.156, -0.156),
        (6, 0.069, -0.104),
        (7, 0.0, 0.0),
        (10, 0.0, None),
        (0, None, 0.0),
    ],
)
def test_bonuses_of_ten_answers(hits, bonus, other):
    found = pass_bonus(torch.arange(10) < hits, torch.zeros(10, dtype=torch.int64)).tolist()
    assert bonus is None or found[0] == pytest.approx(bonus, abs=6e-4)
    assert other is None or found[-1] == pytest.approx(other, abs=6e-4)
    assert sum(found) == pytest.approx(0.0, abs=1e-12)


def test_groups_do_not_mix_and_may_have_any_numbers_and_sizes():
    rng = np.random.default_rng(0)
    groups = np.array([7, -2, 7, 7, -2, -2, 7, -2, -2, 7])
    rewards = rng.choice([0.0, 0.5, 1.0], 10)
    found = group_advantage(torch.tensor(rewards), torch.tensor(groups), n_pass=2).numpy()
    for group in (7, -2):
        chosen = groups == group
        expected = as_released(rewards[chosen], rewards[chosen] == 1, 2)
        np.testing.assert_allclose(found[chosen], expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("reward", [0.0, 0.707, 1.0, 1e4 / 3])
@pytest.mark.parametrize("n", [3, 7, 10])
def test_equal_rewards_teach_nothing(dtype, reward, n):
    """The rounding of the mean is not divided by 1e-6; without hits and with hits alone there is no bonus."""
    rewards = torch.full((n,), reward, dtype=dtype)
    found = group_advantage(rewards, torch.zeros(n, dtype=torch.int64), n_pass=3)
    assert found.dtype == dtype
    assert found.tolist() == [0.0] * n


def test_single_precision_is_computed_in_double():
    rewards = torch.tensor([1000.0, 1000.001, 1000.002, 1000.5])
    found = group_advantage(rewards, torch.zeros(4, dtype=torch.int64), bonus=False)
    expected = group_advantage(rewards.double(), torch.zeros(4, dtype=torch.int64), bonus=False)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6)


def test_hits_may_be_given_where_rewards_miss_one_by_rounding():
    rewards = torch.tensor([1 / 3 * 3 - 1e-7, 0.0, 0.0, 0.0, 0.0])
    groups = torch.zeros(5, dtype=torch.int64)
    assert group_advantage(rewards, groups)[0] < 1.8
    assert group_advantage(rewards, groups, rewards > 0.99)[0] > 2.2


def test_a_single_answer_gets_nothing_and_a_warning_says_so():
    rewards, groups = torch.tensor([0.7, 0.1, 0.3]), torch.tensor([4, 9, 9])
    with pytest.warns(UserWarning, match="a group has one answer"):
        found = group_advantage(rewards, groups, bonus=False)
    assert found[0] == 0
    assert found[2] == pytest.approx(2**-0.5, rel=1e-4)
    assert leave_one_out_advantage(rewards, groups).tolist() == pytest.approx([0.0, -0.2, 0.2])


def test_no_answer_has_no_advantage():
    nothing, groups = torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    assert group_advantage(nothing, groups).shape == (0,)
    assert mixed_groups(nothing, groups).shape == (0,)


def test_leave_one_out_is_the_reward_less_the_mean_of_the_others():
    rewards = torch.tensor([0.3, 1.0, 0.5, 0.5, 0.1], dtype=torch.float64)
    groups = torch.tensor([1, 1, 0, 1, 0])
    for i in range(5):
        others = [float(rewards[j]) for j in range(5) if j != i and groups[j] == groups[i]]
        assert leave_one_out_advantage(rewards, groups)[i] == pytest.approx(float(rewards[i]) - np.mean(others))


def test_bonus_is_the_mean_over_subsets():
    hits = np.array([True, False, True, False, False, False, False])
    subsets = list(combinations(range(7), 3))
    right = np.array([hits[list(subset)].any() for subset in subsets], dtype=float)
    scores = (right - right.mean()) / (right.std() + 1e-6)
    expected = [scores[[i in subset for subset in subsets]].mean() for i in range(7)]
    found = pass_bonus(torch.tensor(hits), torch.zeros(7, dtype=torch.int64), 3)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_groups_with_equal_scores_are_left_out():
    matches, groups = torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0]), torch.tensor([3, 3, 8, 8, 5])
    assert mixed_groups(matches, groups).tolist() == [True, True, False, False, False]
    assert mixed_groups(matches > 0, groups).tolist() == [True, True, False, False, False]


GROUPS = torch.zeros(3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: group_advantage(torch.rand(3), GROUPS), "n_pass must be at most the size of every group; got 4, and"),
        (lambda: group_advantage(torch.rand(3), GROUPS, n_pass=0), "n_pass must be an integer from 1"),
        (lambda: group_advantage(torch.rand(3), GROUPS[:2]), "rewards and groups must have one entry"),
        (lambda: group_advantage(torch.rand(3), [0, 0, 0]), "groups must be a tensor of real numbers; got list"),
        (lambda: group_advantage(np.zeros(3), GROUPS), "rewards must be a tensor of real numbers; got ndarray"),
        (lambda: group_advantage(torch.rand(3), GROUPS * 1j), "groups must be a tensor of real numbers; got torch.c"),
        (lambda: mixed_groups(torch.rand(3) * 1j, GROUPS), "matches must be a tensor of real numbers; got torch.c"),
        (lambda: group_advantage(torch.rand(3), GROUPS, GROUPS, bonus=False), "hits must be True or False"),
        (lambda: group_advantage(torch.rand(3), GROUPS.float()), "groups must hold integers"),
        (lambda: group_advantage(torch.tensor([1, 0, 0]), GROUPS), "rewards must be floating-point"),
        (lambda: group_advantage(torch.full((3,), torch.nan), GROUPS), "rewards must be finite"),
        (lambda: group_advantage(torch.rand(3), GROUPS, torch.ones(3), 2), "hits must be True or False"),
        (lambda: group_advantage(torch.rand(3), GROUPS, bonus=1), "bonus must be True or False"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
