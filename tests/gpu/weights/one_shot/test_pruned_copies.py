import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import MaskSet, PerRow, erk_densities, random_masks
from sparsetheory.gpu.core.models import MLP
from sparsetheory.gpu.weights import essential_sparsity, evaluate_pruned, one_shot_masks, prune_model_layerwise

NAMES = ["0.weight", "2.weight"]


def _model(device="cpu"):
    return MLP([16, 12, 8], generator=3).to(device)


def _batches(device="cpu"):
    return [torch.randn(64, 16, generator=torch.Generator().manual_seed(1)).cumsum(1).to(device)]


def _seen(method, sparsity, model, batches=None, **options):
    """Return the model that is evaluated."""
    found = []
    evaluate_pruned(lambda pruned: found.append(pruned) or 0.0, model, method, batches, **options)(sparsity)
    return found[0]


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_magnitude_masks(device, scope):
    model = _model(device)
    wanted = one_shot_masks({name: model.get_parameter(name) for name in NAMES}, 0.6, scope)
    assert MaskSet.of(_seen(scope, 0.6, model)) == wanted


def test_random_masks_have_a_seed_and_a_rule():
    model = _model()
    shapes = {name: model.get_parameter(name).shape for name in NAMES}
    seeds = [MaskSet.of(_seen("random", 0.5, model, random_state=seed)) for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]
    assert set(seeds[0].densities.values()) == {0.5}
    assert MaskSet.of(_seen("random_erk", 0.5, model)) == random_masks(shapes, erk_densities(shapes, 0.5), 0)


@pytest.mark.parametrize("method", ["wanda", "sparsegpt", "swap"])
def test_methods_of_layerwise_pruning(method):
    model, batches = _model(), _batches()
    wanted = copy.deepcopy(model)
    prune_model_layerwise(wanted, batches, PerRow(density=0.5), method, n_jobs=1)
    found = _seen(method, 0.5, model, iter(batches), n_jobs=1)
    assert all(torch.equal(p, wanted.get_parameter(name)) for name, p in found.named_parameters())


def test_sparsity_zero_is_the_dense_model_and_the_model_stays():
    model = _model()
    before = copy.deepcopy(model.state_dict())
    quality = evaluate_pruned(lambda pruned: pruned(_batches()[0]).square().mean().item(), model)
    assert quality(0.0) == model(_batches()[0]).square().mean().item()
    assert quality(0.9) != quality(0.0)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_only_the_chosen_layers_are_pruned():
    found = _seen("global", 0.5, _model(), layers="2")
    assert MaskSet.of(found).densities == {"0.weight": 1.0, "2.weight": 0.5}


def test_a_shared_weight_counts_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    masks = MaskSet.of(_seen("global", 0.5, model, layers="*"))
    assert masks.n_nonzero == 16
    assert list(masks) == ["0.weight", "1.weight"]


def test_better_methods_have_a_larger_essential_sparsity():
    model, (x,) = _model(), _batches()
    wanted = model(x).detach()

    def explained(pruned):
        return 1 - ((pruned(x) - wanted).square().mean() / wanted.var()).item()

    found = {
        method: essential_sparsity(
            evaluate_pruned(explained, model, method, [x], n_jobs=1), [k / 8 for k in range(8)], tol=0.05
        ).s_star
        for method in ("random", "layer", "swap")
    }
    assert found["random"] < found["layer"] < found["swap"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _seen("wanda", 0.5, _model()), "batches must be given for method 'wanda'; got None"),
        (lambda: _seen("best", 0.5, _model(), _batches()), "method must be one of"),
        (lambda: evaluate_pruned(float, _model(), "wand"), "method must be one of"),
        (lambda: _seen("global", 1.5, _model()), "sparsity must be"),
        (lambda: _seen("global", 0.5, _model(), layers="7"), "'7' matches none"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
