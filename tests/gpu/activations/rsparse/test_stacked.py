"""One basis for several layers: the best one, its certificate, and who may share."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from sparsetheory.gpu.activations import SparseLinear, basis_groups, shared_basis
from sparsetheory.gpu.activations.selectors import ColumnScaled


def _layers(dtype=torch.float32, device="cpu", seed=0):
    source = torch.Generator().manual_seed(seed)
    layers = [nn.Linear(30, out, dtype=dtype) for out in (20, 12, 12)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=source, dtype=torch.float64))
    return [layer.to(device) for layer in layers]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rank", [1, 7, 30])
def test_the_basis_is_the_best_one(device, dtype, rank):
    layers = _layers(dtype, device)
    shared = shared_basis(layers, rank)
    stack = torch.cat([layer.weight.detach().double() for layer in layers]).cpu()
    values = torch.linalg.svdvals(stack)
    best = float(values[rank:].norm() / values.norm())
    lost = torch.cat(
        [
            layer.weight.detach().double() - left.double() @ shared.right.double()
            for layer, left in zip(layers, shared.left, strict=True)
        ]
    )
    error = float(lost.norm()) / float(values.norm())
    assert error == pytest.approx(best, abs=0.02 if dtype == torch.bfloat16 else 2e-6)
    assert shared.certificate.measured == pytest.approx(error, rel=1e-9, abs=1e-12)
    assert shared.certificate.lower_bound <= best <= error + 1e-12 <= shared.certificate.bound + 2e-12
    assert shared.certificate.valid
    assert shared.certificate.check(layers).valid
    assert shared.right.dtype == dtype


def test_changed_certificates_are_found_out():
    layers = _layers()
    certificate = shared_basis(layers, 7).certificate
    for fake in (
        replace(certificate, bound=certificate.bound * 0.9),
        replace(certificate, lower_bound=certificate.bound * 1.1).stated(),
        replace(certificate, left=(certificate.left[0] * 2, *certificate.left[1:])),
    ):
        assert not fake.check(layers).valid
    assert not certificate.check(layers[:2]).valid
    assert not certificate.check(_layers(seed=1)).valid
    with pytest.raises(TypeError, match="options must be empty"):
        certificate.check(layers, x=1)


def test_paths_over_the_basis_make_layers():
    layers = _layers(torch.float64)
    shared = shared_basis(layers, 7)
    x = torch.randn(50, 30, dtype=torch.float64)
    mask = x.abs() > 0.7
    for layer, residual in zip(layers, shared.residuals(), strict=True):
        made = SparseLinear(layer.weight, ColumnScaled(None, torch.tensor(0.7, dtype=torch.float64)), residual)
        V = shared.right.T
        expected = (x * mask) @ layer.weight.T + (x * ~mask) @ V @ V.T @ layer.weight.T
        torch.testing.assert_close(made(x), expected)


def test_groups_are_those_that_fit_together():
    source = torch.Generator().manual_seed(0)
    layers, planes = [], [torch.linalg.qr(torch.randn(40, 3, generator=source)).Q for _ in range(2)]
    for number in range(6):
        layers.append(nn.Linear(40, 10))
        layers[-1].weight.data = torch.randn(10, 3, generator=source) @ planes[number % 2].T
    found = basis_groups(layers, 3, eps=0.05)
    assert sorted(found.groups) == [(0, 2, 4), (1, 3, 5)]
    assert found.certificate.check([layer.weight.detach().double().numpy().T for layer in layers]).valid
    for members, basis in zip(found.groups, found.bases, strict=True):
        assert basis.certificate.bound <= 0.05
        assert basis.certificate.check([layers[k] for k in members]).valid
    # At a tolerance that nothing meets every layer stays alone.
    apart = basis_groups(_layers(), 3, eps=0.01)
    assert sorted(apart.groups) == [(0,), (1,), (2,)]


@pytest.mark.parametrize(
    ("layers", "rank", "words"),
    [
        ([], 1, "layers must have the same number of inputs; got"),
        ([nn.Linear(3, 4), nn.Linear(4, 4)], 1, "layers must have the same number of inputs; got"),
        ([nn.Linear(3, 4), nn.Conv2d(1, 1, 1)], 1, r"layers\[1\] must be a linear layer; got Conv2d"),
        ([nn.Linear(3, 4)], 4, "rank must be"),
        ([nn.Linear(3, 4)], 0, "rank must be"),
    ],
)
def test_arguments(layers, rank, words):
    with pytest.raises(ValueError, match=words):
        shared_basis(layers, rank)
