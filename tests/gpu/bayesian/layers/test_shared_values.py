"""Entries of means and rho on the support that calls of one step share, and changes that must not be missed."""

import copy

import pytest
import torch
from torch.autograd import forward_ad

from sparsetheory.gpu.bayesian import BayesLinear


def _layer(backend="sparse", density=0.3):
    torch.manual_seed(0)
    layer = BayesLinear(11, 6, dtype=torch.float64, prior_std=1.0, backend=backend, sampling="mean")
    layer.set_mask(torch.rand(layer.mask.shape) < density)
    return layer


@pytest.mark.parametrize("backend", ["dense", "sparse"])
@pytest.mark.parametrize("sampling", ["mean", "local", "weights"])
def test_derivatives_of_calls_add_up_together_or_one_after_the_other(backend, sampling):
    layer, x = _layer(backend), torch.randn(4, 11, dtype=torch.float64)
    layer.sampling = sampling
    parts = [lambda: layer(x).square().sum(), layer.kl, lambda: layer.mean.sum() + layer.sigma.sum()]
    torch.manual_seed(1)
    sum(part() for part in parts).backward()
    together = layer.weight.grad, layer.rho.grad
    layer.zero_grad()
    torch.manual_seed(1)
    for one in [part() for part in parts]:
        one.backward()
    for mine, theirs in zip((layer.weight.grad, layer.rho.grad), together, strict=True):
        if theirs is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
            assert not mine[~layer.mask].any()


@pytest.mark.parametrize("name", ["weight", "rho"])
def test_one_step_makes_one_dense_derivative(name):
    layer, x = _layer(), torch.randn(4, 11, dtype=torch.float64)
    layer.sampling = "local"
    nodes, waiting = set(), [(layer(x).square().sum() + layer.kl()).grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            waiting += [one for one, _ in node.next_functions]
    ends = [
        node
        for node in nodes
        for one, _ in node.next_functions
        if getattr(one, "variable", None) is not None and one.variable is getattr(layer, name)
    ]
    assert len(ends) == 1


@pytest.mark.parametrize("name", ["weight", "rho"])
def test_values_that_change_unnoticed_by_torch_are_seen(name):
    layer = _layer()
    before = layer.kl()
    getattr(layer, name).data.mul_(2)
    after = layer.kl()
    assert after != before
    fresh = copy.deepcopy(layer)
    assert torch.equal(fresh.kl(), after)
    after.backward()
    fresh.kl().backward()
    assert torch.equal(getattr(fresh, name).grad, getattr(layer, name).grad)


@pytest.mark.parametrize("change", [lambda mask: mask.numpy().__setitem__(0, True), lambda m: m.data.fill_(True)])
def test_a_mask_that_changes_unnoticed_by_torch_is_seen(change):
    layer, x = _layer(), torch.randn(4, 11, dtype=torch.float64)
    layer(x)
    version = layer.mask._version
    change(layer.mask)
    assert layer.mask._version == version
    with torch.no_grad():
        layer.weight.normal_()
        expected = torch.nn.functional.linear(x, torch.where(layer.mask, layer.weight, 0.0), layer.bias)
        torch.testing.assert_close(layer(x), expected)


def test_dtypes_freezing_and_copies_after_a_call():
    layer = _layer()
    with torch.no_grad():
        # Equal numbers in both precisions.
        layer.weight.fill_(1.0)
        layer.rho.fill_(-1.0)
    layer.kl()
    layer.float()
    assert layer.kl().dtype == torch.float32
    layer.weight.requires_grad_(False)
    layer.kl().backward()
    assert layer.weight.grad is None
    layer.weight.requires_grad_(True)
    layer.kl().backward()
    assert layer.weight.grad is not None
    with torch.no_grad():
        assert not layer.kl().requires_grad
    assert copy.deepcopy(layer).kl() == layer.kl()


def test_second_derivatives_and_forward_ones():
    layer = _layer("dense")
    (first,) = torch.autograd.grad(layer.kl(), layer.weight, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), layer.weight)
    assert torch.equal(second, layer.mask.double())
    rows = torch.eye(6, dtype=torch.float64)
    x = torch.randn(11, dtype=torch.float64)
    (batched,) = torch.autograd.grad(layer(x), layer.weight, rows, is_grads_batched=True)
    torch.testing.assert_close(batched, torch.where(layer.mask, rows[:, :, None] * x, 0.0))
    weight, tangent = layer.weight, torch.randn(6, 11, dtype=torch.float64)
    with forward_ad.dual_level():
        del layer.weight
        layer.weight = forward_ad.make_dual(weight.detach(), tangent)
        found = forward_ad.unpack_dual(layer(x)).tangent
    torch.testing.assert_close(found, torch.where(layer.mask, tangent, 0.0) @ x)


def test_values_without_a_gradient_are_not_shared_with_calls_that_have_one():
    layer = _layer()
    with torch.no_grad():
        layer.kl()
    layer.kl().backward()
    assert layer.rho.grad.any()


def test_gradients_go_to_a_new_parameter_of_equal_values():
    layer = _layer()
    layer.kl()
    old, layer.weight = layer.weight, torch.nn.Parameter(layer.weight.detach().clone())
    layer.kl().backward()
    assert old.grad is None
    assert layer.weight.grad.any()


def test_gradients_follow_a_mask_that_moves_to_equal_values():
    layer = _layer()
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.rho.fill_(-1.0)
    for _ in range(2):
        layer.zero_grad()
        layer.kl().backward()
        assert torch.equal(layer.weight.grad != 0, layer.mask)
        layer.mask.copy_(layer.mask.roll(1, 1))
