"""A linear layer of selected inputs: what it computes, what its residual does, gradients and errors."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsetheory.gpu.activations import Largest, Nonzero, ReluThreshold, SparseLinear, SvdResidual


def _normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _everything(x):
    return torch.ones_like(x, dtype=torch.bool)


def test_it_takes_selected_inputs_and_the_rest_goes_to_the_residual(device):
    weight, bias, x = (_normal(*shape).to(device) for shape in ((5, 8), (5,), (3, 2, 8)))
    mask = Largest(3)(x)
    plain = SparseLinear(weight, Largest(3), bias=bias)
    assert torch.allclose(plain(x), functional.linear(x * mask, weight, bias), rtol=0.0, atol=1e-12)
    other = _normal(5, 8, seed=1).to(device)
    residual = nn.Linear(8, 5, bias=False, dtype=torch.float64, device=device)
    residual.weight.data = other
    both = SparseLinear(weight, Largest(3), residual, bias)
    expected = (x * mask) @ weight.T + (x * ~mask) @ other.T + bias
    assert torch.allclose(both(x), expected, rtol=0.0, atol=1e-12)
    assert torch.equal(both.weight, weight)


def test_all_inputs_or_the_full_rank_give_the_dense_layer():
    weight, x = _normal(4, 6), _normal(7, 6, seed=1)
    assert torch.allclose(SparseLinear(weight, _everything)(x), x @ weight.T, rtol=0.0, atol=1e-12)
    full = SparseLinear(weight, Largest(2), SvdResidual(weight, 4))
    assert torch.allclose(full(x), x @ weight.T, rtol=0.0, atol=1e-12)


def test_what_the_residual_loses_is_bounded_and_never_makes_it_worse():
    weight, x = _normal(10, 12), _normal(50, 12, seed=1)
    dense, dropped = x @ weight.T, x * ~Largest(4)(x)
    singular = torch.linalg.svdvals(weight)
    errors = [(dense - SparseLinear(weight, Largest(4))(x)).norm(dim=1)]
    for rank in range(1, 10):
        errors.append((dense - SparseLinear(weight, Largest(4), SvdResidual(weight, rank))(x)).norm(dim=1))
        assert (errors[-1] <= errors[-2] + 1e-12).all()
        assert (errors[-1] <= singular[rank] * dropped.norm(dim=1) + 1e-12).all()


def test_gradients_reach_selected_inputs_and_their_weights():
    weight, x = nn.Parameter(_normal(4, 6)), _normal(2, 6, seed=1).requires_grad_()
    layer = SparseLinear(weight, ReluThreshold(0.2), crossing=1.0)
    layer(x).sum().backward()
    mask = x.detach() >= 0.2
    assert torch.allclose(x.grad, weight.detach().sum(0) * mask, rtol=0.0, atol=1e-12)
    assert torch.allclose(layer.by_input.grad, (x.detach() * mask).sum(0)[:, None].expand(6, 4), rtol=0.0, atol=1e-12)
    assert not SparseLinear(weight.detach(), Nonzero()).by_input.requires_grad


def test_the_residual_of_half_precision_keeps_its_type():
    weight = _normal(4, 6).to(torch.bfloat16)
    layer = SparseLinear(weight, Largest(2), SvdResidual(weight, 2))
    assert layer(_normal(3, 6).to(torch.bfloat16)).dtype == torch.bfloat16


def test_it_is_saved_and_loaded():
    weight = _normal(4, 6)
    one, two = (SparseLinear(w, Largest(2), SvdResidual(w, 2), w[:, 0]) for w in (weight, torch.zeros_like(weight)))
    two.load_state_dict(one.state_dict())
    assert torch.equal(one(_normal(3, 6)), two(_normal(3, 6)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SparseLinear(torch.ones(3), Nonzero()), r"weight must be a matrix; got shape \(3,\)"),
        (lambda: SparseLinear(torch.ones(3, 2), Nonzero(), bias=torch.ones(2)), r"bias must have shape \(3,\)"),
        (lambda: SparseLinear(torch.ones(3, 2), Nonzero(), crossing=1.5), r"crossing must be None or a number in"),
        (lambda: SparseLinear(torch.ones(3, 2), Nonzero())(torch.ones(4, 3)), "x must have 2 features"),
        (lambda: SvdResidual(torch.ones(3, 2), 3), "rank must be at most the smaller side of weight; got 3"),
        (lambda: SvdResidual(torch.ones(3, 2), 0), "rank must be an integer from 1"),
    ],
)
def test_wrong_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_weight_stored_by_columns_is_copied_too():
    weight = torch.ones(3, 2).T
    layer = SparseLinear(weight, Nonzero())
    weight.zero_()
    assert layer(torch.ones(3)).tolist() == [3.0, 3.0]
