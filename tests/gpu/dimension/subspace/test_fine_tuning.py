"""Structure-aware fine-tuning: its dimensions, its scales, and the published wrapper by a second way."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from torch import nn

from sparsetheory.gpu.core.models import MLP
from sparsetheory.gpu.dimension import SAID, FastfoodProjection, SubspaceModel
from sparsetheory.gpu.dimension.subspace.stacked import StackedFastfood


def _filled(model, seed=3):
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=source).to(parameter))
    return model


def _published(t, size, signs, permutation, gauss):
    """Return what the published wrapper adds to a tensor of some entries, from dense Hadamard matrices."""
    inner = 2 ** int(np.ceil(np.log2(size)))
    padded = np.zeros(inner)
    padded[: min(len(t), inner)] = t[:inner]
    mixed = gauss * (hadamard(inner) @ (signs * padded))[permutation]
    return (hadamard(inner) @ mixed)[:size] / (np.sqrt(inner * (gauss**2).sum()) * np.sqrt(size / inner))


def _numbers(source, size):
    """Draw signs, a permutation and Gaussian numbers of the inner size, in the order of the package."""
    inner = 2 ** int(np.ceil(np.log2(size)))
    signs = 2 * torch.randint(2, (inner,), generator=source, dtype=torch.int8) - 1
    permutation = torch.randperm(inner, generator=source)
    gauss = torch.randn(inner, generator=source, dtype=torch.float64)
    return signs.double().numpy(), permutation.numpy(), gauss.numpy()


def test_per_tensor_is_the_published_wrapper():
    module = MLP([6, 9, 3])
    model = _filled(SAID(module, 30, per_tensor=True, generator=2))
    t, scales = model.t.detach().double().numpy(), model.layer_scales.detach().double().numpy()
    assert (len(t), len(scales)) == (26, 4)
    merged, source = dict(model.merge().named_parameters()), torch.Generator().manual_seed(2)
    for scale, (name, start) in zip(scales, module.named_parameters(), strict=True):
        change = _published(t, start.numel(), *_numbers(source, start.numel()))
        expected = start.detach().double().numpy().ravel() + scale * change
        assert np.abs(scale * change).max() > 0.1
        np.testing.assert_allclose(merged[name].detach().numpy().ravel(), expected, atol=1e-5)


def test_tensors_have_their_own_numbers_and_short_ones_see_only_the_first_coordinates():
    model = SAID(MLP([6, 9, 3]), 30, per_tensor=True)
    weight, bias, *_ = model.projection.blocks
    assert (weight.n_features, bias.n_features) == (64, 16)
    assert not torch.equal(weight.signs[:16], bias.signs[:16])
    columns = model.projection.to_dense()
    assert torch.count_nonzero(columns[54:63, 16:]) == 0
    assert torch.count_nonzero(columns[54:63, :16]) > 100


@pytest.mark.parametrize("n_tensors", [1, 4, 9])
def test_columns_of_the_stack_are_as_long_as_the_root_of_the_number_of_tensors(n_tensors):
    # Powers of two: nothing is cut off, and each map has unit columns exactly.
    stack = StackedFastfood(20, 32 * n_tensors, sizes=[32] * n_tensors, dtype=torch.float64)
    expected = torch.full((20,), n_tensors**0.5, dtype=torch.float64)
    torch.testing.assert_close(stack.column_norms(), expected)
    cut = StackedFastfood(20, 700 * n_tensors, sizes=[700] * n_tensors, dtype=torch.float64)
    assert (cut.column_norms() / n_tensors**0.5 - 1).abs().max() < 0.2


@pytest.mark.parametrize("layers", ["tensor", "module"])
def test_with_scales_of_one_it_is_the_plain_subspace_of_what_is_left(layers):
    module, x = MLP([6, 9, 3]), torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    model = SAID(module, 12, layers, generator=7)
    n_left = 8 if layers == "tensor" else 10
    plain = SubspaceModel(module, partial(FastfoodProjection, n_left, generator=7))
    assert model.n_trained == 12
    with torch.no_grad():
        for one in (model, plain):
            one.t.copy_(torch.linspace(-1, 1, n_left))
    torch.testing.assert_close(model(x), plain(x), rtol=1e-6, atol=1e-6)
    assert not torch.allclose(model(x), module(x))


@pytest.mark.parametrize(
    ("given", "found"), [(torch.float64, torch.float64), (torch.bfloat16, torch.float32), (torch.float32,) * 2]
)
@pytest.mark.parametrize("per_tensor", [False, True])
def test_coordinates_are_as_precise_as_the_module(given, found, per_tensor):
    model = SAID(MLP([6, 9, 3]).to(given), 12, per_tensor=per_tensor)
    assert model.t.dtype == model.projection.dtype == found
    assert model(torch.ones(2, 6, dtype=given)).dtype == given


def test_the_first_gradient_of_the_scales_is_zero_and_later_ones_are_not():
    model = SAID(MLP([6, 9, 3]), 12)
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(x).square().sum().backward()
    assert torch.equal(model.layer_scales.grad, torch.zeros(4))
    assert model.t.grad.norm() > 0
    optimizer.step()
    model(x).square().sum().backward()
    assert (model.layer_scales.grad != 0).all()


def test_adjoint_copies_and_states_of_the_stack(device):
    stack = StackedFastfood(20, 73, sizes=[54, 9, 10], dtype=torch.float64, device=device)
    source = torch.Generator().manual_seed(0)
    t, g = (torch.randn(2, n, generator=source, dtype=torch.float64).to(device) for n in (20, 73))
    torch.testing.assert_close((stack.apply(t) * g).sum(-1), (t * stack.adjoint(g)).sum(-1))
    torch.testing.assert_close(stack.adjoint(g), g @ stack.to_dense())
    other = StackedFastfood(20, 73, sizes=[54, 9, 10], generator=1, dtype=torch.float64, device=device)
    assert not torch.allclose(other.apply(t), stack.apply(t))
    other.load_state_dict(stack.state_dict())
    assert torch.equal(other.apply(t), stack.apply(t))
    third = StackedFastfood(20, 73, sizes=[54, 9, 10], generator=2)
    state = {name: value.clone() for name, value in third.state_dict().items()}
    # The last block alone reads beyond the coordinates.
    state["2.index"][0] = 16
    for wrong in ({}, {**stack.state_dict(), "0.signs": torch.ones(3)}, state):
        with pytest.raises(ValueError, match="state"):
            other.load_state_dict(wrong)
    assert torch.equal(other.apply(t), stack.apply(t))
    single = stack.to(dtype=torch.float32)
    torch.testing.assert_close(single.apply(t.float()), stack.apply(t).float())
    assert stack.apply(t).dtype == torch.float64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 4}, "n_components must be above the number of layer scales, 4; got 4"),
        ({"n_components": 2, "layers": "module"}, "n_components must be above the number of layer scales, 2; got 2"),
        ({"layers": "block"}, "layers must be one of 'tensor', 'module'; got 'block'"),
        ({"module": "MLP"}, "module must be a torch module; got 'MLP'"),
        ({"per_tensor": 1}, "per_tensor must be True or False; got 1"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        SAID(**{"module": MLP([6, 9, 3]), "n_components": 12, **options})
    with pytest.raises(ValueError, match="sizes must sum to n_features = 9"):
        StackedFastfood(2, 9, sizes=[4, 4])


def test_a_head_is_trained_beside_the_subspace_and_counts():
    module = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))
    model = SAID(module, 12, direct="2", layers="module")
    assert (len(model.t), len(model.layer_scales), model.n_trained) == (11, 1, 12 + 30)
