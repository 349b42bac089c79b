"""Scales of blocks of inputs: which entries they multiply, and that they leave with finalize."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from sparsetheory.gpu.weights import WeightScaling, finalize, hard_masked, scale_weights, sparsify


def _numbered(scaling):
    with torch.no_grad():
        scaling.scales.copy_(torch.arange(1.0, scaling.scales.numel() + 1).reshape_as(scaling.scales))


def test_each_entry_meets_the_scale_of_its_output_and_block():
    layer = nn.Linear(6, 2, dtype=torch.float64)
    before = layer.weight.detach().clone()
    (name,) = scale_weights(layer, groups=3)
    assert name == ""
    scaling = layer.parametrizations.weight[0]
    assert torch.equal(layer.weight, before)
    assert scaling.scales.dtype == torch.float64
    _numbered(scaling)
    for row in range(2):
        for column in range(6):
            assert layer.weight[row, column] == before[row, column] * (1 + 3 * row + column // 2)


def test_convolutions_and_transposed_layers_are_scaled_by_inputs():
    conv = nn.Conv2d(4, 3, kernel_size=2)
    before = conv.weight.detach().clone()
    scale_weights(conv)
    scaling = conv.parametrizations.weight[0]
    _numbered(scaling)
    assert torch.equal(conv.weight[2, 3], before[2, 3] * 6)
    assert torch.equal(conv.weight[2, 1], before[2, 1] * 5)
    weight = torch.randn(4, 6)  # four inputs, six outputs
    transposed = WeightScaling(2, transposed=True)
    assert torch.equal(transposed(weight), weight)
    assert transposed.scales.shape == (6, 2)
    _numbered(transposed)
    assert torch.equal(transposed(weight)[3, 5], weight[3, 5] * 12)


def test_an_assigned_weight_is_the_one_that_is_computed_with():
    layer = nn.Linear(4, 2)
    scale_weights(layer)
    _numbered(layer.parametrizations.weight[0])
    value = torch.randn(2, 4)
    layer.weight = value
    torch.testing.assert_close(layer.weight.detach(), value, rtol=1e-6, atol=0)


def test_scales_fold_into_the_weight_with_and_without_a_mask():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 4))
    sparsify(model, "2:4", include="0")
    parametrize.register_parametrization(model[0], "weight", WeightScaling())
    scale_weights(model, include="1")
    for layer in model:
        _numbered(layer.parametrizations.weight[-1])
    x = torch.randn(3, 8)
    with hard_masked(model):
        expected = model(x)
    finalize(model)
    assert torch.equal(model(x), expected)
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert (model[0].weight.reshape(-1, 4) != 0).sum(1).eq(2).all()


def test_inputs_that_the_groups_do_not_divide_are_refused_and_nothing_is_attached():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"1.weight must have a multiple of 2 inputs .* got \(2, 3\)"):
        scale_weights(model)
    assert not any(map(parametrize.is_parametrized, model.modules()))
    with pytest.raises(ValueError, match="groups must be"):
        WeightScaling(0)
