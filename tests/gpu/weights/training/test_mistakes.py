"""Mistakes that are easily made around a training loop are told where they are made."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from sparsetheory.gpu.core import NM, Cubic
from sparsetheory.gpu.weights import PST, MaskedWeight, SparseSTE, StepCounter, merge, set_sparsity, sparsify


def _model():
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 4))


def test_names_that_fit_no_layer_are_those_of_the_argument():
    for argument in ("include", "exclude"):
        with pytest.raises(ValueError, match=f"{argument} must name .* layers; 'head' matches none"):
            sparsify(_model(), "2:4", **{argument: "head"})


def test_what_cannot_have_the_pattern_may_be_excluded():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1))
    with pytest.raises(ValueError, match=r"0\.weight must have a multiple of 4 entries .*; or exclude it"):
        sparsify(model, "2:4")
    assert list(sparsify(model, "2:4", exclude="0")) == ["1.weight"]


def test_one_parametrisation_is_not_that_of_all_weights():
    with pytest.raises(TypeError, match=r"as lambda weight: SparseSTE\(\.\.\.\); got one SparseSTE"):
        sparsify(_model(), SparseSTE(NM(2, 4)))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (lambda weight: (weight > 0).float(), r"torch.float32 of shape \(12, 8\)"),
        (lambda weight: weight[0] > 0, r"torch.bool of shape \(8,\)"),
    ],
)
def test_masks_of_own_methods_must_be_masks(mask, message):
    class Own(MaskedWeight):
        def mask(self, weight):
            return mask(weight)

        def soft(self, weight):
            return weight

    model = _model()
    with pytest.raises(ValueError, match=r"mask of 0\.weight must be bool of its shape \(12, 8\); got " + message):
        sparsify(model, lambda weight: Own())
    assert not parametrize.is_parametrized(model[0])


def test_an_optimiser_of_before_does_not_train_the_factors():
    layer = nn.Linear(8, 4)
    optimizer = torch.optim.Adam(layer.parameters())
    sparsify(layer, lambda weight: PST(weight.shape))
    with pytest.raises(ValueError, match=r"optimizer must train the weight_left, .* of weight; make it after sparsify"):
        StepCounter(optimizer, layer)


def test_schedules_that_stand_still_are_told():
    layer = nn.Linear(8, 4)
    sparsify(layer, lambda weight: PST(weight.shape))
    set_sparsity(layer, Cubic(0.0, 10, 0.5))
    with pytest.warns(RuntimeWarning, match="schedules of 1 weights are at step 0"):
        merge(layer)


def test_the_weight_itself_is_no_shape():
    with pytest.raises(TypeError, match=r"shape must be that of a weight, as weight\.shape; got Tensor"):
        PST(torch.ones(4, 4))
