"""The loss of a gate: torch's two reductions, rows that do not count, and pairs that are not seen."""

import pytest
import torch

from sparsetheory.gpu.attention import gate_loss


def draw(blocks=6, causal=False, seed=0):
    source = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, blocks, blocks, generator=source, dtype=torch.float64)
    target = torch.rand(2, 3, blocks, blocks, generator=source, dtype=torch.float64)
    if causal:
        seen = torch.ones(blocks, blocks).tril() > 0
        logits, target = logits.masked_fill(~seen, -torch.inf), target * seen
    return logits.requires_grad_(), target / target.sum(-1, keepdim=True)


@pytest.mark.filterwarnings("ignore:reduction")
def test_reductions_are_those_of_torch(device):
    logits, target = (part.to(device) for part in draw())
    log_p = torch.log_softmax(logits, -1)
    mean = torch.nn.KLDivLoss(reduction="mean")(log_p, target)
    batchmean = torch.nn.KLDivLoss(reduction="batchmean")(log_p.flatten(0, -2), target.flatten(0, -2))
    torch.testing.assert_close(gate_loss(logits, target), mean)
    torch.testing.assert_close(gate_loss(logits, target, "kl_row"), batchmean)
    # The mean over elements is the divergence of a row divided by the number of blocks of keys.
    torch.testing.assert_close(6 * mean, batchmean)


def test_pairs_that_are_not_seen_have_no_gradient_and_make_no_nan():
    logits, target = draw(causal=True)
    loss = gate_loss(logits, target, "kl_row")
    loss.backward()
    by_hand = [
        (t[: i + 1] * (t[: i + 1].log() - torch.log_softmax(s[: i + 1], -1))).sum()
        for rows, targets in zip(logits.flatten(0, 1), target.flatten(0, 1), strict=True)
        for i, (s, t) in enumerate(zip(rows, targets, strict=True))
    ]
    torch.testing.assert_close(loss, torch.stack(by_hand).mean())
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[..., torch.ones(6, 6).triu(1) > 0] == 0).all()


def test_rows_of_padding_count_in_elements_but_not_in_rows():
    logits, target = draw()
    full = gate_loss(logits[..., 2:, :], target[..., 2:, :], "kl_row").detach()
    with torch.no_grad():
        logits[..., :2, :] = -torch.inf
    target[..., :2, :] = 0.0
    torch.testing.assert_close(gate_loss(logits, target, "kl_row").detach(), full)
    torch.testing.assert_close(gate_loss(logits, target).detach(), full * 4 / 36)
    gate_loss(logits, target).backward()
    assert torch.isfinite(logits.grad).all()


def test_the_first_rows_can_be_left_out():
    logits, target = draw(blocks=9)
    wanted = gate_loss(logits[..., 2:, :], target[..., 2:, :])
    torch.testing.assert_close(gate_loss(logits, target, skip_rows=0.25), wanted)


def test_half_precision_is_summed_in_single_precision():
    logits, target = draw(64)
    found = gate_loss(logits.bfloat16(), target.bfloat16(), "kl_row")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, gate_loss(logits.bfloat16().float(), target.bfloat16().float(), "kl_row"))


def test_wrong_arguments():
    logits, target = draw()
    with pytest.raises(ValueError, match="reduction must be one of 'mean_elements', 'kl_row'; got 'mean'"):
        gate_loss(logits, target, "mean")
    with pytest.raises(ValueError, match="target must have the shape of logits"):
        gate_loss(logits, target[..., :2])
    with pytest.raises(ValueError, match="target must hold a row that is not zero"):
        gate_loss(logits, target * 0, "kl_row")
    with pytest.raises(ValueError, match=r"skip_rows must be a number in \[0, 1\)"):
        gate_loss(logits, target, skip_rows=1.0)
