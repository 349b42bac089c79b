"""Weights on grids of states."""

import pytest
import torch

from sparsetheory.gpu.bayesian import WeightGrid
from sparsetheory.gpu.bayesian.turbo.layout import STRUCTURES, grid_of


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 2, 5)])
def test_packing_is_undone(structure, shape):
    grid = grid_of(structure, len(shape))
    weight = torch.arange(torch.Size(shape).numel()).reshape(shape)
    packed = grid.pack(weight)
    assert packed.shape == grid.shape(shape)
    assert torch.equal(grid.unpack(packed, shape), weight)


def test_rows_of_a_linear_weight_are_its_units():
    weight = torch.arange(6).reshape(2, 3)
    assert torch.equal(grid_of("chain_rows", 2).pack(weight)[..., 0], weight)
    assert torch.equal(grid_of("chain_columns", 2).pack(weight)[..., 0], weight.T)


def test_kernels_stay_together_on_the_grid_of_a_convolution():
    out, channels, k = 3, 2, 4
    weight = torch.arange(out * channels * k * k).reshape(out, channels, k, k)
    packed = grid_of("chain_rows", 4).pack(weight)[..., 0]
    assert packed.shape == (channels * k, out * k)
    assert torch.equal(packed[k : 2 * k, 2 * k : 3 * k], weight[2, 1])
    # With the places before the channels a kernel is scattered.
    scattered = weight.permute(2, 1, 3, 0).reshape(k * channels, k * out)
    assert not torch.equal(scattered[k : 2 * k, 2 * k : 3 * k], weight[2, 1])


def test_groups_hold_what_one_unit_or_channel_needs():
    weight = torch.arange(3 * 2 * 2 * 2).reshape(3, 2, 2, 2)
    outputs, inputs, kernels = (grid_of(f"group_{part}", 4).pack(weight) for part in ("outputs", "inputs", "kernels"))
    assert torch.equal(outputs[0, 1], weight[1].flatten())
    assert torch.equal(inputs[0, 1].sort().values, weight[:, 1].flatten())
    assert torch.equal(kernels[2, 1], weight[2, 1].flatten())


def test_a_view_cuts_rows_of_pixels():
    grid = WeightGrid(rows=(0, 1), columns=(2,), view=(2, 3, 4))
    weight = torch.arange(24).reshape(2, 12)
    assert torch.equal(grid.pack(weight)[..., 0], weight.reshape(6, 4))
    assert torch.equal(grid.unpack(grid.pack(weight), (2, 12)), weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": (0,), "columns": (0,)}, "must name every axis once"),
        ({"rows": (), "columns": ()}, "must name every axis once"),
        ({"rows": (0,), "columns": (2,)}, "must name every axis once"),
        ({"rows": (-1,), "columns": (0,)}, "rows must be"),
        ({"rows": 0, "columns": (1,)}, "rows must be axes; got 0"),
        ({"rows": (0,), "columns": (1,), "group": None}, "group must be axes; got None"),
        ({"view": (3, 4, 5)}, "view must have 2 axes"),
        ({"view": (0, 4)}, "view must be"),
    ],
)
def test_grids_that_are_none_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        WeightGrid(**arguments)


def test_a_grid_of_other_axes_is_refused():
    with pytest.raises(ValueError, match=r"grid must fit a weight of shape \(3, 2, 1, 1\); got 2 axes"):
        WeightGrid().pack(torch.zeros(3, 2, 1, 1))
    with pytest.raises(ValueError, match="grid must fit"):
        WeightGrid(view=(3, 3)).pack(torch.zeros(2, 4))
