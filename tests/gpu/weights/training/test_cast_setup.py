"""What a run with AdamS is made of, from groups to a plain model."""

import pytest
import torch
from torch import nn

from sparsetheory.gpu.weights import AdamS, adam_s_groups, decay_budget, finalize, scale_weights


def test_groups_of_a_model_with_layers_that_store_their_weights_otherwise():
    conv1d = pytest.importorskip("transformers").pytorch_utils.Conv1D
    model = nn.Sequential(nn.Linear(4, 8), conv1d(4, 8), nn.LayerNorm(4))
    scale_weights(model, include="0")
    groups = adam_s_groups(model)
    names = [[name for name, _ in group["params"]] for group in groups]
    assert names[:2] == [["0.parametrizations.weight.original"], ["1.weight"]]
    assert [group.get("transposed", False) for group in groups] == [False, True, False]
    assert sum(map(len, names)) == len(list(model.parameters()))
    optimizer = AdamS(groups, 0.1, total_steps=5, alpha=0.1, pattern="1:4")
    found = finalize(model, optimizer.masks)
    assert list(found) == ["0.weight", "1.weight"]
    assert found["1.weight"].T.reshape(4, 2, 4).sum(-1).eq(1).all()


def test_a_trained_model_is_pruned_by_the_last_masks_and_scales_are_folded():
    model = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 4))
    scale_weights(model, include="0")
    optimizer = AdamS(adam_s_groups(model, include="0"), 0.05, total_steps=25, alpha=0.1, pattern="2:4")
    x = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    for _ in range(25):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    steps = model[0].parametrizations.weight
    stored, scaling = steps.original.detach().clone(), steps[0]
    assert not torch.equal(scaling.scales, torch.ones(6, 2))
    mask = optimizer.masks[steps.original]
    before_or_after = scaling(stored) * mask, scaling(stored * mask)
    assert torch.equal(*before_or_after)
    found = finalize(model, optimizer.masks)
    assert torch.equal(model[0].weight, before_or_after[0])
    assert torch.equal(found["0.weight"], mask)
    assert (model[0].weight.reshape(6, 2, 4) != 0).sum(-1).eq(2).all()


def test_the_budget_is_the_sum_of_rates_times_the_part_of_the_run():
    assert decay_budget([0.1, 0.2, 0.3, 0.4], 2) == pytest.approx(0.0 + 0.1 + 0.3 + 0.4)
    with pytest.raises(ValueError, match=r"lrs\[1\] must be"):
        decay_budget([0.1, -0.2], 4)


@pytest.mark.parametrize(("noise", "reach"), [(0.0, 3.3), (1.0, 2.5), (10.0, 0.6)])
def test_weights_of_no_use_come_as_far_as_the_budget_says(noise, reach):
    lr, n_steps, alpha = 2e-3, 600, 1e-3
    # Far from zero, so that none arrives; the first two of each row are kept.
    start = torch.tensor([50.0, 50.0, 10.0, 10.0]).repeat(200, 1)
    weight = torch.nn.Parameter(start.clone())
    optimizer = AdamS([{"params": [weight], "sparse": True}], lr, total_steps=n_steps, alpha=alpha, pattern="2:4")
    generator = torch.Generator().manual_seed(0)
    for _ in range(n_steps):
        weight.grad = noise * alpha * torch.randn(start.shape, generator=generator)
        optimizer.step()
    moved = float((start - weight.detach())[:, 2:].mean())
    assert moved / decay_budget([lr] * n_steps, n_steps) == pytest.approx(reach, rel=0.15)
