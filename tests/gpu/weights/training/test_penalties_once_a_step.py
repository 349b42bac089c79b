"""Penalties count once a step: neither accumulated micro-batches nor a loss scale change the step."""

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import NM
from sparsetheory.gpu.weights import MaskedPenalty, SCLMask, SparseSTE, StepCounter, sparsify, srste_penalty

ALPHA = 0.25


def _masked_penalty(model, optimizer):
    scale = model[1].weight
    MaskedPenalty(optimizer, [scale], [torch.arange(len(scale), device=scale.device) % 2 == 0], ALPHA)


def _srste(model, optimizer):
    srste_penalty(optimizer, model, ALPHA)


def _scl(model, optimizer):
    StepCounter(optimizer, model)


METHODS = {
    "MaskedPenalty": (None, _masked_penalty),
    "srste_penalty": (NM(1, 4), _srste),
    "SCL l2": (lambda weight: SCLMask(weight.shape, alpha=ALPHA), _scl),
    "SCL none": (lambda weight: SCLMask(weight.shape, alpha=ALPHA, norm="none"), _scl),
}
# As published: the penalty within the backward pass.
IN_BACKWARD = (lambda weight: SparseSTE(NM(1, 4), alpha=ALPHA), lambda model, optimizer: None)


def _step(method, device, micro_batches=1, scale=None, fused=False):
    """Return all parameters after two steps on 16 rows, cut into micro-batches, under a loss scale."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).double().to(device)
    # Statistics of batches would differ between a batch and its parts.
    model.eval()
    pattern, add = method
    if pattern is not None:
        sparsify(model, pattern, include="0")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=fused)
    add(model, optimizer)
    scaler = torch.amp.GradScaler(device, init_scale=scale, enabled=scale is not None)
    x = torch.randn(16, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(device)
    for _ in range(2):
        optimizer.zero_grad()
        for part in x.chunk(micro_batches):
            scaler.scale(model(part).square().sum() / len(x)).backward()
        scaler.step(optimizer)
        scaler.update()
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_micro_batches_give_the_step_of_one_batch(method, device):
    torch.testing.assert_close(_step(method, device, 4), _step(method, device), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_loss_scale_does_not_change_the_step(method, fused, device):
    scaled = _step(method, device, scale=2.0**16, fused=fused)
    torch.testing.assert_close(scaled, _step(method, device), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", [{"micro_batches": 4}, {"scale": 2.0**16}])
def test_the_published_penalty_in_the_backward_pass_fails_both(options):
    assert (_step(IN_BACKWARD, "cpu", **options) - _step(IN_BACKWARD, "cpu")).abs().max() > 1e-3


def test_with_one_backward_pass_a_step_both_ways_agree():
    torch.testing.assert_close(
        _step(IN_BACKWARD, "cpu"), _step(METHODS["srste_penalty"], "cpu"), rtol=1e-12, atol=1e-12
    )


def test_a_step_that_a_scaler_leaves_out_does_not_count():
    layer = nn.Linear(2, 1, bias=False)
    sparsify(layer, lambda weight: SCLMask(weight.shape, alpha=0.1))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    StepCounter(optimizer, layer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(layer(torch.full((1, 2), torch.inf)).sum()).backward()
    scaler.step(optimizer)
    mask = layer.parametrizations.weight[0]
    assert mask.step == 0
    assert bool((mask.scores == 0.1).all())
