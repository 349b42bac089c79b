import pytest
import torch
from torch import nn

from sparsetheory.gpu.weights import FrobeniusDecay, SparseDopedLinear, SparseFactorizedLinear


def _layer(kind):
    if kind == "doped":
        return SparseDopedLinear(12, 8, 0.5, generator=0).double()
    options = {"activation": "identity", "normalisation": "none"}
    return SparseFactorizedLinear(12, 8, 0.5, generator=0, **options).double()


def _run(kind, n_micro, scale, fused=False, alpha=0.5):
    layer = _layer(kind)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01, momentum=0.9, fused=fused, foreach=False)
    FrobeniusDecay(optimizer, [layer], alpha)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=scale != 1.0)
    x = torch.randn(8, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for _ in range(3):
        optimizer.zero_grad()
        for part in x.chunk(n_micro):
            scaler.scale(layer(part).square().sum() / 100).backward()
        scaler.step(optimizer)
        scaler.update()
    return layer.product().detach()


@pytest.mark.parametrize("kind", ["doped", "factorized"])
@pytest.mark.parametrize(("n_micro", "scale", "fused"), [(4, 1.0, False), (1, 2.0**16, False), (4, 2.0**16, True)])
def test_it_counts_once_a_step_whatever_the_backward_passes_and_the_scale(kind, n_micro, scale, fused):
    torch.testing.assert_close(_run(kind, n_micro, scale, fused), _run(kind, 1, 1.0), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(_run(kind, 1, 1.0), _run(kind, 1, 1.0, alpha=0.0), atol=1e-3)


@pytest.mark.parametrize("kind", ["doped", "factorized"])
def test_the_gradient_is_that_of_the_squared_norm_of_the_merged_matrix(kind):
    layer = _layer(kind)
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    weight = layer.product().detach()
    before = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    FrobeniusDecay(optimizer, [layer], 0.01)
    optimizer.step()
    moved = {name: before[name] - parameter.detach() for name, parameter in layer.named_parameters()}
    if kind == "doped":
        outer, inner = before["outer.weight"], before["inner.weight"]
        torch.testing.assert_close(moved["outer.weight"], 0.01 * weight @ inner.T)
        torch.testing.assert_close(moved["inner.weight"], 0.01 * outer.T @ weight)
        mask = layer.sparse.parametrizations.weight[0].fixed
        torch.testing.assert_close(moved["sparse.parametrizations.weight.original"], 0.01 * weight * mask)
    else:
        mask = layer.outer.parametrizations.weight[0].fixed
        inner = before["inner.parametrizations.weight.original"] * layer.inner.parametrizations.weight[0].fixed
        expected = 0.01 * (weight @ inner.T) * mask
        torch.testing.assert_close(moved["outer.parametrizations.weight.original"], expected)
    bias = "sparse.bias" if kind == "doped" else "outer.bias"
    assert not moved[bias].any()


def test_what_does_not_fit_is_refused():
    layer = _layer("doped")
    optimizer = torch.optim.SGD([layer.outer.weight], lr=0.1)
    with pytest.raises(ValueError, match="parameters must be those of the optimiser; number 0 is none of them"):
        FrobeniusDecay(optimizer, [layer], 0.1)
    with pytest.raises(ValueError, match="layers must be doped or factorised; number 0 is Linear"):
        FrobeniusDecay(optimizer, [nn.Linear(2, 2)], 0.1)
    with pytest.raises(ValueError, match="alpha must be"):
        FrobeniusDecay(torch.optim.SGD(layer.parameters(), lr=0.1), [layer], -1.0)


def test_frozen_factors_stay():
    layer = _layer("doped")
    layer.inner.weight.requires_grad_(False)
    before = layer.inner.weight.clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    FrobeniusDecay(optimizer, [layer], 0.1)
    layer(torch.ones(2, 12, dtype=torch.float64)).sum().backward()
    optimizer.step()
    assert torch.equal(layer.inner.weight, before)
