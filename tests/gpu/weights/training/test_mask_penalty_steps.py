"""Penalties on channels against a loop by hand, with momentum, weight decay and Nesterov's rule."""

import pytest
import torch

from sparsetheory.gpu.weights import MaskedPenalty

LR, MOMENTUM, DECAY, ALPHA = 0.1, 0.9, 1e-2, 0.05
PRUNE = torch.tensor([True, True, True, False, False, True])
START = torch.tensor([0.5, -0.004, 0.005, 0.7, -0.002, 0.0], dtype=torch.float64)


def _added(scale, kind, lr, alpha):
    """Return what published code adds to the gradient of each scale."""
    added = []
    for value, prune in zip(scale.tolist(), PRUNE.tolist(), strict=True):
        sign = (value > 0) - (value < 0)
        if not prune:
            added.append(0.0)
        elif kind == "l1":
            added.append(alpha * sign)
        elif kind == "l2":
            added.append(alpha * value)
        else:
            added.append(alpha * value if abs(value) < lr * alpha else alpha * sign)
    return torch.tensor(added, dtype=scale.dtype)


def _by_hand(gradients, kind, nesterov, schedule):
    """Take the steps of stochastic gradient descent as its authors of the code wrote them."""
    scale, buffer = START.clone(), None
    for gradient, lr in zip(gradients, schedule, strict=True):
        total = gradient + _added(scale, kind, lr, ALPHA) + DECAY * scale
        buffer = total if buffer is None else MOMENTUM * buffer + total
        scale = scale - lr * (total + MOMENTUM * buffer if nesterov else buffer)
    return scale


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("kind", ["l1", "l2", "smooth_l1"])
def test_steps_are_those_by_hand(kind, nesterov, device):
    generator = torch.Generator().manual_seed(0)
    gradients = 0.02 * torch.randn(12, 6, generator=generator, dtype=torch.float64)
    schedule = [LR * 0.8**step for step in range(12)]
    scale = torch.nn.Parameter(START.clone().to(device))
    optimizer = torch.optim.SGD([scale], lr=LR, momentum=MOMENTUM, weight_decay=DECAY, nesterov=nesterov)
    MaskedPenalty(optimizer, [scale], [PRUNE.to(device)], ALPHA, kind)
    for gradient, lr in zip(gradients, schedule, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        scale.grad = gradient.clone().to(device)
        optimizer.step()
    torch.testing.assert_close(scale.detach().cpu(), _by_hand(gradients, kind, nesterov, schedule))


def _penalty(values, kind, alpha=0.5, lr=0.25, prune=None):
    scale = torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))
    optimizer = torch.optim.SGD([scale], lr=lr)
    mask = torch.ones(len(values), dtype=torch.bool) if prune is None else torch.tensor(prune)
    MaskedPenalty(optimizer, [scale], [mask], alpha, kind)
    scale.grad = torch.zeros_like(scale)
    optimizer.step()
    return scale.grad.tolist()


def test_the_smooth_kind_is_linear_strictly_below_its_switch_and_jumps_there():
    # The switch is lr alpha = 1/8, where alpha p = 1/16 and alpha = 1/2.
    below = 0.125 - 2.0**-30
    assert _penalty([below, 0.125, -0.125, 1.0], "smooth_l1") == [0.5 * below, 0.5, -0.5, 0.5]


def test_the_smooth_kind_reads_the_learning_rate_of_its_group():
    scales = [torch.nn.Parameter(torch.tensor([0.1])) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [one], "lr": lr} for one, lr in zip(scales, (0.5, 0.1), strict=True)])
    MaskedPenalty(optimizer, scales, [torch.tensor([True])] * 2, 1.0, "smooth_l1")
    for one in scales:
        one.grad = torch.zeros(1)
    optimizer.step()
    torch.testing.assert_close(scales[0].grad, torch.tensor([0.1]))
    assert scales[1].grad.item() == 1.0


@pytest.mark.parametrize("kind", ["l1", "l2", "smooth_l1"])
def test_zero_scales_and_kept_scales_get_nothing(kind):
    assert _penalty([0.0, -0.0], kind) == [0.0, 0.0]
    assert _penalty([0.0], kind, lr=0.0) == [0.0]
    assert _penalty([0.3, -0.01], kind, prune=[False, False]) == [0.0, 0.0]


def test_a_frozen_scale_is_left_alone():
    scales = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    scales[0].requires_grad_(False)
    optimizer = torch.optim.SGD(scales, lr=0.5)
    MaskedPenalty(optimizer, scales, [torch.tensor([True, False])] * 2, 0.1)
    scales[1].grad = torch.zeros(2)
    optimizer.step()
    assert scales[0].tolist() == [1.0, 1.0]
    torch.testing.assert_close(scales[1].detach(), torch.tensor([0.95, 1.0]))
