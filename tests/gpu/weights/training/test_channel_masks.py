"""Channels to prune by the scales of batch normalisations."""

import pytest
import torch
from torch import nn

from sparsetheory.gpu.weights import energy_masks, threshold_masks


def _model(*scales, device="cpu"):
    """Return a model with one batch normalisation of two-dimensional features for each list of scales."""
    norms = [nn.BatchNorm2d(len(values)) for values in scales]
    with torch.no_grad():
        for norm, values in zip(norms, scales, strict=True):
            norm.weight.copy_(torch.tensor(values))
    return nn.Sequential(*norms).to(device)


def _lists(masks):
    return {name: mask.int().tolist() for name, mask in masks.items()}


def test_the_threshold_belongs_to_what_is_pruned(device):
    masks = threshold_masks(_model([0.25, -0.5, 0.51, 0.0], [1.0, -1.0], device=device), 0.5)
    assert _lists(masks) == {"0.weight": [1, 1, 0, 1], "1.weight": [0, 0]}
    assert {mask.device.type for mask in masks.values()} == {device}


def test_a_layer_keeps_its_largest_channels_the_first_of_equal_ones():
    assert _lists(threshold_masks(_model([0.001, -0.002, 0.002, 0.0]))) == {"0.weight": [1, 0, 1, 1]}
    assert _lists(threshold_masks(_model([0.0, 0.0, 0.0]), min_channels=2)) == {"0.weight": [0, 0, 1]}
    assert _lists(threshold_masks(_model([0.0, 0.0]), min_channels=5)) == {"0.weight": [0, 0]}


def test_tied_channels_go_only_where_all_their_scales_are_small():
    model = _model([0.0, 0.0, 1.0, 0.0], [0.5], [0.0, -1.0, 0.0, 0.001])
    masks = threshold_masks(model, ties=[("0", "2")])
    assert _lists(masks) == {"0.weight": [1, 0, 0, 1], "1.weight": [0], "2.weight": [1, 0, 0, 1]}


def test_the_energy_of_what_is_pruned_stays_below_its_share():
    # Squares 1/16, 1/16, 1/4 and 5/8 of 1: a share of 1/8 is not below 1/8.
    scales = [0.5, -0.25, 0.625**0.5, 0.25]
    assert _lists(energy_masks(_model(scales), 0.126)) == {"0.weight": [0, 1, 0, 1]}
    assert _lists(energy_masks(_model(scales), 0.0626)) == {"0.weight": [0, 0, 0, 1]}
    assert _lists(energy_masks(_model([0.5, 0.5, 0.5, 0.5]), 0.25)) == {"0.weight": [0, 0, 0, 0]}


def test_a_layer_of_negligible_scales_is_pruned_but_for_its_least_width():
    assert _lists(energy_masks(_model([9e-4, 8e-4, 9e-4]))) == {"0.weight": [0, 1, 1]}
    assert _lists(energy_masks(_model([1.1e-3, 8e-4, 9e-4]))) == {"0.weight": [0, 0, 0]}


def test_energies_of_tied_channels_are_those_of_their_largest_scales():
    model = _model([1.0, 0.001, 0.001], [0.001, 0.001, 1.0])
    assert _lists(energy_masks(model, ties=[["0", "1"]])) == {"0.weight": [0, 1, 0], "1.weight": [0, 1, 0]}


def test_normalisations_without_scales_do_not_count():
    model = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.BatchNorm1d(2))
    assert list(threshold_masks(model)) == ["1.weight"]
    with pytest.raises(ValueError, match="model must have batch normalisations with scales"):
        threshold_masks(nn.Linear(2, 2))


def test_errors_name_what_is_wrong():
    model = _model([1.0, 1.0], [1.0])
    for ties, words in (
        ([["0", "2"]], "ties must name batch normalisations with scales, one of 0.weight, 1.weight; got '2'"),
        ([["0"], ["0"]], "ties must name each normalisation once"),
        ([["0", "1"]], "2 of 0.weight, 1 of 1.weight"),
    ):
        with pytest.raises(ValueError, match=words):
            threshold_masks(model, ties=ties)
    with pytest.raises(ValueError, match=r"0\.weight must not hold NaN"):
        threshold_masks(_model([torch.nan]))
    with pytest.raises(ValueError, match=r"0\.weight must be finite"):
        threshold_masks(_model([torch.inf]))
    with pytest.raises(ValueError, match="min_channels"):
        threshold_masks(model, min_channels=0)
    with pytest.raises(ValueError, match="energy"):
        energy_masks(model, 1.0)


def test_energy_that_is_pruned_stays_below_its_share():
    model = nn.Sequential(nn.BatchNorm1d(4))
    for energy, pruned in ((0.25, 0), (0.26, 1), (0.5, 1), (0.51, 2)):
        # The last of equal channels go first.
        assert energy_masks(model, energy)["0.weight"].tolist() == [False] * (4 - pruned) + [True] * pruned
