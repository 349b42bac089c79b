import pytest
import torch
from torch import nn

from sparsetheory.gpu.bayesian import bayesianise, structured_masks
from sparsetheory.gpu.core import BlockNM, mask_units


def network(density=0.25, dense_first=False):
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
    return bayesianise(model, density, dense_first=dense_first, mu_std=0.3, generator=0)


@pytest.mark.parametrize("units", ["rows", "columns", (2, 4), "1:4", BlockNM(2, 1, 4)])
def test_masks_are_whole_units_of_the_density(units):
    model = network()
    parameters = list(model.parameters())
    masks = [layer.mask for layer in (model[0], model[2])]
    assert structured_masks(model, units, generator=1) is model
    for layer, mask in zip((model[0], model[2]), masks, strict=True):
        assert layer.mask is mask
        mask_units(units, mask.shape).check_mask(mask, "mask")
        assert int(mask.sum()) == 0.25 * mask.numel()
        assert not bool(layer.weight[~mask].any())
        assert not bool(layer.rho[~mask].any())
        assert bool((layer.weight[mask] != 0).all())
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))


def pairs(layer):
    return set(zip(layer.weight[layer.mask].tolist(), layer.rho[layer.mask].tolist(), strict=True))


def test_values_move_with_their_deviations():
    model = network()
    layer = model[0]
    before, in_order = pairs(layer), layer.weight[layer.mask].tolist()
    structured_masks(model, "rows", generator=1)
    assert pairs(layer) == before
    assert layer.weight[layer.mask].tolist() != in_order


def test_seeds_decide():
    masks = [structured_masks(network(), "columns", generator=seed)[0].mask for seed in (1, 1, 2)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_dense_layers_and_those_without_units_stay():
    model = network(dense_first=True)
    last = model[2].mask.clone()
    structured_masks(model, {"0": "rows"}, density=0.5, generator=1)
    assert bool(model[0].mask.all())
    assert torch.equal(model[2].mask, last)


def test_one_unit_at_least_and_more_values_than_there_were():
    model = network(density=0.01)
    assert int(model[2].mask.sum()) == 3
    structured_masks(model, "rows", generator=1)
    assert int(model[2].mask.all(1).sum()) == 1
    assert bool((model[2].weight[model[2].mask] != 0).all())
    structured_masks(model, "rows", density=0.5, generator=1)
    assert int(model[2].mask.all(1).sum()) == 4


def test_filters_of_a_convolution():
    model = bayesianise(nn.Sequential(nn.Conv2d(4, 8, 3)), 0.5, dense_first=False, generator=0)
    structured_masks(model, "rows", generator=0)
    assert sorted(model[0].mask.flatten(1).float().mean(1).tolist()) == [0.0] * 4 + [1.0] * 4


def test_errors_change_nothing():
    model = network()
    before = [layer.mask.clone() for layer in (model[0], model[2])]
    for units, density, message in (
        ("3:5", None, "0 must have a multiple of 5"),
        ({"1": "rows"}, None, "units must be given for layers with normal weights; got 1"),
        ("rows", 1.5, "density must be"),
        ({"0": "rows", "2": (3, 3)}, None, "2 must have a multiple of 3"),
    ):
        with pytest.raises(ValueError, match=message):
            structured_masks(model, units, density=density)
    with pytest.raises(ValueError, match="units must be given for layers with normal weights; got none"):
        structured_masks(nn.Linear(2, 2), "rows")
    assert all(torch.equal(a, layer.mask) for a, layer in zip(before, (model[0], model[2]), strict=True))


def test_a_mask_without_weights_has_no_values_to_give_and_all_layers_stay():
    model = network()
    first = model[0].mask.clone()
    model[2].set_mask(torch.zeros_like(model[2].mask))
    with pytest.raises(ValueError, match="masks must keep at least 1 weight, whose values the new ones take; 2 keeps"):
        structured_masks(model, "rows")
    assert torch.equal(model[0].mask, first)
    with pytest.raises(ValueError, match="model must be"):
        structured_masks(3, "rows")
