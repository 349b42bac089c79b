import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from sparsetheory.gpu.core import MaskSet, random_masks
from sparsetheory.gpu.weights import fix_masks, fixed_masks, release_masks


def _model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def _masks(seed=0):
    return random_masks({"0.weight": (5, 6), "2.weight": (3, 5)}, {"0.weight": 0.4, "2.weight": 0.6}, seed)


def test_masks_go_on_and_off(device):
    dense, model = _model().to(device), _model().to(device)
    masks = _masks()
    fix_masks(model, {"0": masks["0.weight"], "2.weight": masks["2.weight"]})
    assert fixed_masks(model) == masks
    assert MaskSet.of(model) == masks
    masks.apply(dense)
    x = torch.ones(4, 6, device=device)
    assert torch.equal(model(x), dense(x))
    assert release_masks(model) == masks
    assert not any(parametrize.is_parametrized(layer) for layer in model)
    assert torch.equal(model(x), dense(x))


def test_gradients_are_zero_off_the_mask_and_others_are_those_of_the_dense_weight():
    model, masks = _model(), _masks()
    fix_masks(model, masks)
    model(torch.ones(4, 6)).square().sum().backward()
    gradient = model[0].parametrizations.weight.original.grad
    assert not gradient[~masks["0.weight"]].any()
    assert bool(gradient[masks["0.weight"]].any())


def test_infinite_numbers_off_the_mask_do_no_harm():
    model, masks = _model(), _masks()
    with torch.no_grad():
        model[0].weight[~masks["0.weight"]] = torch.inf
    fix_masks(model, masks)
    assert bool(model(torch.ones(4, 6)).isfinite().all())


def test_masks_are_copies_and_travel_with_copies_of_the_model():
    model, masks = _model(), _masks()
    fix_masks(model, masks)
    masks["0.weight"].zero_()
    assert fixed_masks(model) == _masks()
    fixed_masks(model)["0.weight"].zero_()
    assert fixed_masks(copy.deepcopy(model)) == _masks()


def test_what_is_computed_already_is_refused():
    model = _model()
    with pytest.raises(ValueError, match="model must have weights under fixed masks; it has none"):
        release_masks(model)
    fix_masks(model, _masks())
    with pytest.raises(ValueError, match=r"0.weight must be a parameter; got one that is computed from others"):
        fix_masks(model, _masks())
    parametrize.register_parametrization(model[0], "weight", nn.Identity())
    with pytest.raises(ValueError, match=r"0.weight must have no other parametrisation than its mask"):
        release_masks(model)
    with pytest.raises(ValueError, match="shape"):
        fix_masks(_model(), {"0": torch.ones(6, 5, dtype=torch.bool)})
