"""The term of SR-STE: once a step, whatever micro-batches and loss scales do."""

import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import NM, MaskDecay
from sparsetheory.gpu.weights import SparseSTE, finalize, live_masks, sparsify, srste_penalty

_ALPHA = 0.3
_X = torch.randn(32, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _model(alpha=0.0):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    sparsify(model, lambda weight: SparseSTE(NM(1, 4), alpha=alpha))
    return model


def _stored(model):
    return [layer.parametrizations.weight.original for layer in (model[0], model[2])]


def _backward(model, parts=1, scale=1.0):
    device = next(model.parameters()).device
    for x in _X.to(device).chunk(parts):
        (scale * model(x).square().sum() / len(_X)).backward()


def _stepped(model, parts=1, *, penalty=True, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, **options)
    if penalty:
        srste_penalty(optimizer, model, _ALPHA)
    _backward(model, parts)
    optimizer.step()
    return [weight.detach().clone() for weight in _stored(model)]


def test_with_one_backward_pass_it_is_the_published_rule(device):
    ours = _stepped(_model().to(device), momentum=0.9, weight_decay=0.01)
    published = _stepped(_model(_ALPHA).to(device), penalty=False, momentum=0.9, weight_decay=0.01)
    for one, other in zip(ours, published, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-15)


def test_micro_batches_count_it_once_and_the_published_rule_counts_it_each_time():
    whole, parts = _stepped(_model()), _stepped(_model(), 4)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    published, again = _stepped(_model(_ALPHA), penalty=False), _stepped(_model(_ALPHA), 4, penalty=False)
    start = _model()
    for weight, mask, one, other in zip(_stored(start), live_masks(start).values(), published, again, strict=True):
        torch.testing.assert_close(one - other, 0.1 * 3 * _ALPHA * weight.detach() * ~mask, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("fused", [False, True])
def test_a_loss_scale_changes_nothing(fused):
    plain = _stepped(_model(), momentum=0.9)
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=fused)
    srste_penalty(optimizer, model, _ALPHA)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    scaler.scale(model(_X).square().sum() / len(_X)).backward()
    scaler.step(optimizer)
    for one, other in zip(plain, _stored(model), strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-12, atol=1e-14)


def test_only_what_the_present_mask_drops_is_pulled():
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    srste_penalty(optimizer, model, _ALPHA)
    for _ in range(2):
        optimizer.zero_grad()
        _backward(model)
        free = [weight.grad.clone() for weight in _stored(model)]
        optimizer.step()
        for weight, gradient, mask in zip(_stored(model), free, live_masks(model).values(), strict=True):
            torch.testing.assert_close(
                weight.grad, gradient + _ALPHA * (~mask * weight.detach()), rtol=1e-14, atol=1e-16
            )
        with torch.no_grad():
            for weight in _stored(model):
                weight.copy_(weight.flip(1))


class _Counting(SparseSTE):
    calls = 0

    def mask(self, weight):
        self.calls += 1
        return super().mask(weight)


def test_the_mask_of_the_forward_pass_serves_again():
    model = nn.Sequential(nn.Linear(8, 4)).double()
    sparsify(model, lambda weight: _Counting(NM(1, 4)))
    one, stored = model[0].parametrizations.weight[0], model[0].parametrizations.weight.original
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    srste_penalty(optimizer, model, _ALPHA)
    one.calls = 0
    for _ in range(3):
        model(_X).sum().backward()
        optimizer.step()
    assert one.calls == 3
    # What is written after the forward pass counts.
    model(_X).sum().backward()
    with torch.no_grad():
        stored.copy_(stored.flip(1))
    optimizer.step()
    assert one.calls == 5
    # A pass with other values is not remembered for the stored ones.
    one.calls = 0
    torch.func.functional_call(model, {"0.parametrizations.weight.original": stored.detach().flip(1)}, (_X,))
    optimizer.step()
    assert one.calls == 2


def test_a_copy_does_not_remember_the_mask_of_the_original():
    model = _model()
    _backward(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in _stored(other):
            weight.copy_(weight.flip(1))
    optimizer = torch.optim.SGD(other.parameters(), lr=0.0)
    before = [torch.ones_like(weight) for weight in _stored(other)]
    for weight, gradient in zip(_stored(other), before, strict=True):
        weight.grad = gradient.clone()
    srste_penalty(optimizer, other, _ALPHA)
    optimizer.step()
    for weight, gradient, mask in zip(_stored(other), before, live_masks(other).values(), strict=True):
        torch.testing.assert_close(weight.grad, gradient + _ALPHA * (~mask * weight.detach()), rtol=1e-14, atol=1e-16)


def test_with_weights_that_fade_it_is_the_same_term():
    model = nn.Linear(8, 4).double()
    sparsify(model, lambda weight: SparseSTE(NM(1, 4), mask_decay=MaskDecay("linear", 0.1)))
    stored = model.parametrizations.weight.original
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    srste_penalty(optimizer, model, _ALPHA)
    (0 * model(_X).sum()).backward()
    optimizer.step()
    torch.testing.assert_close(stored.grad, _ALPHA * ~live_masks(model)["weight"] * stored.detach())


def test_frozen_weights_and_models_without_masks():
    model = _model()
    _stored(model)[0].requires_grad_(False)
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.1)
    before = _stored(model)[0].detach().clone()
    srste_penalty(optimizer, model, _ALPHA)
    _backward(model)
    optimizer.step()
    assert torch.equal(_stored(model)[0], before)
    plain = nn.Linear(4, 4)
    with pytest.raises(ValueError, match="model must have sparse weights that are trained; got none"):
        srste_penalty(torch.optim.SGD(plain.parameters()), plain)
    with pytest.raises(ValueError, match="alpha must be"):
        srste_penalty(optimizer, model, -1.0)


def test_an_optimiser_that_goes_on_after_the_end_is_stopped():
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalty = srste_penalty(optimizer, model, _ALPHA)
    finalize(model)
    _backward(model)
    with pytest.raises(ValueError, match=r"weight must be sparse while it is penalised; .* call penalty\.remove\(\)"):
        optimizer.step()
    penalty.remove()
    optimizer.step()


def test_it_ends_when_removed():
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    srste_penalty(optimizer, model, _ALPHA).remove()
    _backward(model)
    optimizer.step()
    for one, other in zip(_stored(model), _stepped(_model(), penalty=False), strict=True):
        assert torch.equal(one.detach(), other)
