"""Rewards of prefixes, case by case."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.representation import prefix_reward

TARGET = [5, 0, 5, 2]


@pytest.mark.parametrize(
    ("code", "reward"),
    [
        ([5, 0, 5, 2], 1.0),
        ([5, 0, 5, 1], 0.866),
        ([5, 0, 1, 2], 0.707),
        ([5, 1, 5, 2], 0.5),
        ([1, 0, 5, 2], 0.0),
        ([5, 0, 5, -1], 0.0),
        ([-1, 0, 5, 2], 0.0),
    ],
)
def test_only_the_common_prefix_counts(code, reward, device):
    found = prefix_reward(torch.tensor([code], device=device), TARGET)
    assert found.device.type == torch.device(device).type
    assert found.item() == pytest.approx(reward)


@pytest.mark.parametrize(("number", "reward"), [(3, 1.0), (2, 0.95), (0, 0.95), (-1, 0.0)])
def test_a_wrong_running_number_is_nearly_right(number, reward):
    assert prefix_reward([*TARGET, number], [*TARGET, 3]).item() == pytest.approx(reward)


def test_shapes_are_broadcast_and_rewards_are_exact_ones():
    codes = torch.tensor([[TARGET, [5, 0, 0, 0]], [[0, 0, 0, 0], TARGET]])
    found = prefix_reward(codes, torch.tensor([TARGET, TARGET])[:, None])
    assert (found == 1).tolist() == [[True, False], [False, True]]
    assert prefix_reward([[1, 2]], [1, 2], levels=(0.3, 0.6)).tolist() == [1.0]


def test_precision_is_the_default_one():
    assert prefix_reward([TARGET], TARGET, np.array([0.1, 0.2, 0.3, 0.4])).dtype == torch.float32


@pytest.mark.parametrize(
    ("codes", "target", "levels", "message"),
    [
        ([[1.0, 2.0]], [1, 2], (0.5, 0.7), "codes must hold integers"),
        ([[1, 2, 3]], [1, 2], (0.5, 0.7), "2 or 3 entries each; got 3 and 2"),
        ([[1, 2]] * 3, [[1, 2]] * 2, (0.5, 0.7), "codes and target must have shapes that broadcast"),
        ([[1]], [1], (0.5, 0.7), "2 or 3 entries each; got 1 and 1"),
        ([[1, 2]], [1, 2], (0.7, 0.5), "levels must not be empty, and not fall"),
        ([[1, 2]], [1, 2], (0.5, 1.5), "levels must be a sequence of numbers in"),
    ],
)
def test_bad_input_is_refused(codes, target, levels, message):
    with pytest.raises(ValueError, match=message):
        prefix_reward(codes, target, levels)
