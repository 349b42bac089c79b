"""The clipped loss against a loop over tokens, and its gradients."""

import math

import pytest
import torch

from sparsetheory.gpu.representation import clipped_policy_loss


def by_hand(logp, logp_old, advantages, mask, clip, dual):
    total, count = 0.0, 0
    for i in range(logp.shape[0]):
        for t in range(logp.shape[1]):
            if not mask[i, t]:
                continue
            gain, ratio = float(advantages[i]), math.exp(float(logp[i, t] - logp_old[i, t]))
            loss = max(-gain * ratio, -gain * min(max(ratio, 1 - clip[0]), 1 + clip[1]))
            total += min(loss, -gain * dual) if gain < 0 and dual else loss
            count += 1
    return total / count


def tokens(seed=0, n=6, length=9):
    generator = torch.Generator().manual_seed(seed)
    logp = torch.randn(n, length, generator=generator, dtype=torch.float64)
    old = logp + 2 * torch.randn(n, length, generator=generator, dtype=torch.float64)
    advantages = torch.randn(n, generator=generator, dtype=torch.float64)
    return logp, old, advantages, torch.rand(n, length, generator=generator) < 0.6


@pytest.mark.parametrize("clip", [(0.2, 0.2), (0.1, 0.4), (0.0, 0.0)])
@pytest.mark.parametrize("dual", [10.0, 1.5, None])
def test_loss_is_the_mean_over_tokens(clip, dual, device):
    given = tokens()
    found = clipped_policy_loss(*(part.to(device) for part in given), clip=clip, dual=dual)
    assert found.item() == pytest.approx(by_hand(*given, clip, dual), rel=1e-12)
    wide = given[2][:, None].expand(6, 9)
    assert clipped_policy_loss(given[0], given[1], wide, given[3], clip, dual) == pytest.approx(found.item())


def test_a_large_ratio_at_a_negative_advantage_is_bounded():
    logp, old = torch.tensor([[5.0]]), torch.zeros(1, 1)
    values = [clipped_policy_loss(logp, old, torch.tensor([-2.0]), torch.ones(1, 1), dual=d) for d in (10.0, None)]
    assert values[0] == 20.0
    assert values[1] == pytest.approx(2 * math.exp(5), rel=1e-6)


def test_gradients_stop_where_the_ratio_is_clipped_in_the_wanted_direction():
    old = torch.zeros(4, 1)
    logp = torch.tensor([[0.5], [-0.5], [0.5], [-0.5]], requires_grad=True)
    clipped_policy_loss(logp, old, torch.tensor([1.0, 1.0, -1.0, -1.0]), torch.ones(4, 1)).backward()
    gradient = logp.grad[:, 0]
    assert gradient[[0, 3]].tolist() == [0.0, 0.0]
    assert gradient[1] == pytest.approx(-math.exp(-0.5) / 4)
    assert gradient[2] == pytest.approx(math.exp(0.5) / 4)


def test_tokens_that_do_not_count_may_hold_anything():
    logp, old, advantages, mask = tokens()
    expected = clipped_policy_loss(logp, old, advantages, mask)
    assert clipped_policy_loss(logp, old, advantages, 0.1 * mask) == expected
    spoiled = torch.where(mask, logp, -torch.inf).requires_grad_()
    found = clipped_policy_loss(spoiled, torch.where(mask, old, torch.nan), advantages, mask)
    found.backward()
    assert found.item() == expected.item()
    assert torch.isfinite(spoiled.grad).all()
    assert (spoiled.grad[~mask] == 0).all()


def test_no_gradient_flows_into_the_old_policy_or_the_advantages():
    logp, old, advantages, mask = tokens()
    wide = advantages[:, None].repeat(1, logp.shape[1])
    for part in (logp, old, advantages, wide):
        part.requires_grad_()
    for gains in (advantages, wide):
        clipped_policy_loss(logp, old, gains, mask).backward()
        assert logp.grad is not None
        assert old.grad is None
        assert gains.grad is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_precisions_are_widened(dtype):
    """A ratio of exp(15) is beyond 16 bits, and its gradient there would not be a number."""
    logp = torch.tensor([[15.0, 0.25]], dtype=dtype, requires_grad=True)
    loss = clipped_policy_loss(logp, torch.zeros(1, 2, dtype=dtype), torch.ones(1, dtype=dtype), torch.ones(1, 2))
    loss.backward()
    assert loss.dtype == dtype
    assert loss.item() == pytest.approx(-1.2, rel=1e-2)
    assert logp.grad.tolist() == [[0.0, 0.0]]


def test_huge_ratios_have_finite_gradients():
    logp = torch.tensor([[800.0, -800.0]], requires_grad=True)
    loss = clipped_policy_loss(logp, torch.zeros(1, 2), torch.tensor([-1.0]), torch.ones(1, 2), dual=None)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logp.grad).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": torch.zeros(6, 9)}, "mask must keep at least one token"),
        ({"mask": torch.ones(6, 8)}, "logp, logp_old and mask must have one shape"),
        ({"advantages": torch.ones(9)}, "advantages must be of answers or of tokens"),
        ({"clip": (1.0, 0.2)}, r"clip must be a number in \[0, 1\)"),
        ({"clip": (0.2, -0.1)}, "clip must be a finite non-negative"),
        ({"clip": 0.2}, "clip must be a pair of numbers; got 0.2"),
        ({"clip": (0.2, 0.2, 0.2)}, "clip must be a pair of numbers"),
        ({"logp": torch.zeros(6, 9, dtype=torch.int64)}, "logp must be a tensor, of floating-point numbers; got"),
        ({"mask": [[1] * 9] * 6}, "mask must be a tensor; got list"),
        ({"dual": 1.0}, "dual must be None or a finite number above 1"),
    ],
)
def test_bad_input_is_refused(change, message):
    given = dict(zip(("logp", "logp_old", "advantages", "mask"), tokens(), strict=True))
    with pytest.raises(ValueError, match=message):
        clipped_policy_loss(**(given | change))
