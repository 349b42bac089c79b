"""Densities under one budget, against all choices there are."""

from itertools import product

import pytest
import torch
from torch import nn

from sparsetheory.gpu import core, weights
from sparsetheory.gpu.search import allocate_densities

DENSITIES = (0.1, 0.25, 0.5, 1.0)


def _problem():
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.2, 3, 6)
    return core.models.MLP([6, 12, 9, 3], generator=1), x


@pytest.mark.parametrize("budget", [0.12, 0.3, 0.55, 0.8, 1.0])
def test_the_choice_is_the_best_of_all(budget):
    model, x = _problem()
    found = allocate_densities(model, [x[:90], x[90:]], DENSITIES, budget)
    sizes = {name: weight.numel() for name, weight in model.named_parameters() if weight.ndim == 2}
    counts = [[core.PerTensor(d).count((n,)) for d in DENSITIES] for n in sizes.values()]
    sums = {
        options: sum(errors[i] for errors, i in zip(found.errors.values(), options, strict=True))
        for options in product(range(len(DENSITIES)), repeat=3)
        if sum(row[i] for row, i in zip(counts, options, strict=True)) <= budget * sum(sizes.values())
    }
    assert found.choices.loss == pytest.approx(min(sums.values()), rel=1e-12)
    assert found.choices.cost <= budget * sum(sizes.values())
    assert found.choices.lower_bound <= found.choices.loss * (1 + 1e-12)
    assert list(found.densities) == list(sizes)
    assert [DENSITIES.index(density) for density in found.densities.values()] == list(found.choices.options)


def test_errors_are_those_of_pruned_layers():
    model, x = _problem()
    found = allocate_densities(model, [x], DENSITIES, 0.5)
    hidden = model[1](model[0](x)).detach()
    W = model[2].weight.detach()
    for density, error in zip(DENSITIES, found.errors["2.weight"], strict=True):
        pruned = core.PerTensor(density).project(W)
        expected = float(((W - pruned) @ hidden.T).square().sum() / (W @ hidden.T).square().sum())
        assert error == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert all(list(curve) == sorted(curve, reverse=True) for curve in found.errors.values())


def test_other_methods_prune_the_layers():
    model, x = _problem()
    magnitude, alps = (allocate_densities(model, [x], DENSITIES, 0.5, method=name) for name in ("magnitude", "alps"))
    pairs = zip(magnitude.errors.values(), alps.errors.values(), strict=True)
    assert all(better < worse for curve, other in pairs for worse, better in zip(curve[:2], other[:2], strict=True))
    assert alps.choices.loss < magnitude.choices.loss


def test_layers_can_be_chosen_and_the_model_stays():
    model, x = _problem()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = allocate_densities(model, [x], DENSITIES, 0.5, layers=["2", "4"])
    assert list(found.densities) == ["2.weight", "4.weight"]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    reference = weights.layerwise_prune(
        model[4].weight.detach(), core.collect_grams(model, [x], "4")["4"], core.PerTensor(0.25), "magnitude"
    )
    assert found.errors["4.weight"][1] == pytest.approx(reference.relative_error, rel=1e-12)


def test_bad_allocations_are_refused():
    model, x = _problem()
    with pytest.raises(ValueError, match="budget must be at least the cost of the cheapest"):
        allocate_densities(model, [x], DENSITIES, 0.05)
    with pytest.raises(ValueError, match="budget must be a number in"):
        allocate_densities(model, [x], DENSITIES, 0.0)
    with pytest.raises(ValueError, match="densities must be a sequence"):
        allocate_densities(model, [x], [0.0, 0.5], 0.5)
    with pytest.raises(ValueError, match="densities must hold at least one number"):
        allocate_densities(model, [x], [], 0.5)
    convolution = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    with pytest.raises(ValueError, match="layers must be linear; got 0"):
        allocate_densities(convolution, [torch.zeros(1, 1, 4, 4)], DENSITIES, 0.5)


@pytest.mark.parametrize("share", [0.29, 0.57, 0.58])
def test_a_share_that_binary_numbers_round_down_still_pays_for_itself(share):
    # 0.29 * 100 is 28.999999999999996.
    found = allocate_densities(nn.Linear(10, 10), [torch.eye(10)], [share], share)
    assert found.choices.cost == round(100 * share)


def test_every_budget_that_some_choice_meets_to_the_last_operation_is_used():
    model, x = _problem()
    first = allocate_densities(model, [x], DENSITIES, 1.0)
    counts = [[core.PerTensor(d).count((n,)) for d in DENSITIES] for n in (72, 108, 27)]
    for options in product((1, 2, 3), repeat=3):
        cost = sum(row[i] for row, i in zip(counts, options, strict=True))
        loss = sum(errors[i] for errors, i in zip(first.errors.values(), options, strict=True))
        assert allocate_densities(model, [x], DENSITIES, cost / 207).choices.loss <= loss * (1 + 1e-12)
