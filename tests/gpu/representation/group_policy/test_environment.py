"""The bandit of item codes."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.representation import make_code_bandit, prefix_reward


def test_rewards_are_those_of_prefixes_and_nearly_sparse_linear():
    instance = make_code_bandit([1, 0, 2, 3], 4)
    codes = torch.from_numpy(instance.codes.astype(np.int64))
    np.testing.assert_allclose(instance.rewards, prefix_reward(codes, [1, 0, 2, 3]).numpy(), rtol=1e-6)
    assert instance.codes[instance.rewards.argmax()].tolist() == [1, 0, 2, 3]
    assert np.count_nonzero(instance.theta) <= instance.n_nonzero == 4
    error = np.abs(instance.rewards - instance.features() @ instance.theta).max()
    assert error == pytest.approx(instance.eps, rel=1e-9)


def test_no_other_function_of_this_support_is_nearer():
    instance = make_code_bandit([2, 1], 3, levels=(0.7, 0.95))
    features, support = instance.features(), np.flatnonzero(instance.theta)
    rng = np.random.default_rng(0)
    for _ in range(300):
        theta = instance.theta.copy()
        theta[support] += 0.1 * rng.standard_normal(len(support))
        assert np.abs(instance.rewards - features @ theta).max() >= instance.eps - 1e-12


def test_rewards_that_are_sums_leave_no_error():
    """One level is one coefficient."""
    assert make_code_bandit([1], 3, levels=(0.5,)).eps == pytest.approx(0.0, abs=1e-9)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="target must be a sequence, each entry an integer from 0 to 3"):
        make_code_bandit([4, 0, 0, 0], 4)
    with pytest.raises(ValueError, match="levels must have one entry for each of the 2 codes of target; got 4"):
        make_code_bandit([1, 0], 4)
    with pytest.raises(ValueError, match="n_codes must be an integer from 2"):
        make_code_bandit([0, 0, 0, 0], 1)
