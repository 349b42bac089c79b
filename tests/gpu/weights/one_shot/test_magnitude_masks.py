from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sparsetheory.gpu.core import PerTensor
from sparsetheory.gpu.weights import one_shot_masks


def _params(device="cpu", dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (7, 5), "b": (3, 4, 3, 3), "c": (11,)}
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype)
        for name, shape in shapes.items()
    }


def _torch_masks(params, sparsity):
    modules = {name: nn.Module() for name in params}
    for name, module in modules.items():
        module.weight = nn.Parameter(params[name].clone())
    prune.global_unstructured(
        [(module, "weight") for module in modules.values()], pruning_method=prune.L1Unstructured, amount=sparsity
    )
    return {name: module.weight_mask.bool() for name, module in modules.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 1 / 3, 0.5, 0.77, 0.9, 1.0])
def test_masks_are_those_of_torch(device, dtype, sparsity):
    params = _params(device, dtype)
    masks = one_shot_masks(params, sparsity)
    for name, mask in _torch_masks(params, sparsity).items():
        assert torch.equal(masks[name], mask)
        assert masks[name].device == params[name].device


@pytest.mark.parametrize("n", [5, 15, 25, 101, 1000])
def test_counts_round_as_torch_rounds(n):
    # 0.1 n is often exactly a half; 1 - (1 - 0.1) is not 0.1.
    for sparsity in (0.1, 0.3, 0.5, 0.7, 0.9):
        masks = one_shot_masks({"w": torch.arange(1.0, n + 1)}, sparsity)
        assert masks.size - masks.n_nonzero == round(sparsity * n)
        assert not masks["w"][: round(sparsity * n)].any()


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_masks_of_growing_sparsity_are_nested_even_with_ties(device, scope, dtype):
    params = {name: (3 * weight).round().to(dtype) for name, weight in _params(device).items()}
    kept = [one_shot_masks(params, s / 50, scope) for s in range(51)]
    for larger, smaller in pairwise(kept):
        assert (larger & smaller) == smaller
    assert kept[0].density == 1
    assert kept[-1].n_nonzero == 0


def test_first_entries_of_a_constant_weight_stay():
    masks = one_shot_masks({"a": torch.ones(3), "b": torch.zeros(4), "c": -torch.ones(3)}, 0.6)
    assert masks["a"].tolist() == [True, True, True]
    assert not masks["b"].any()
    assert masks["c"].tolist() == [True, False, False]


def test_layer_scope_is_the_pattern_of_each_tensor():
    params = _params()
    masks = one_shot_masks(params, 0.4, "layer")
    for name, weight in params.items():
        assert torch.equal(masks[name], PerTensor(0.6).mask(weight.abs()))


def test_params_stay_as_they_are():
    params = {name: nn.Parameter(weight) for name, weight in _params().items()}
    before = {name: weight.detach().clone() for name, weight in params.items()}
    one_shot_masks(params, 0.5)
    assert all(torch.equal(params[name], before[name]) for name in params)
    assert len(one_shot_masks({}, 0.5)) == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: one_shot_masks(_params(), 1.5), ValueError, r"sparsity must be .*; got 1.5"),
        (lambda: one_shot_masks(_params(), 0.5, "row"), ValueError, "scope must be one of .*; got 'row'"),
        (lambda: one_shot_masks(nn.Linear(2, 2), 0.5), ValueError, "params must be a mapping of names to tensors"),
        (lambda: one_shot_masks({"a": torch.arange(3)}, 0.5), TypeError, "a must be a tensor of real floating-point"),
        (lambda: one_shot_masks({"a": torch.tensor([torch.nan])}, 0.5), ValueError, "a must not hold NaN"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
