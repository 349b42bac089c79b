"""Training of a subnetwork: the rest keeps its bits, whatever the optimiser does."""

import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu import analysis, core


def problem(device="cpu", seed=0):
    generator = torch.Generator().manual_seed(seed)
    model = core.models.MLP([5, 8, 3], generator=seed).to(device)
    x, y = torch.randn(32, 5, generator=generator), torch.randint(3, (32,), generator=generator)
    masks = {name: (torch.rand(p.shape, generator=generator) < 0.5).to(device) for name, p in model.named_parameters()}
    return model, x.to(device), y.to(device), masks


def steps(model, optimizer, x, y, count=10):
    for _ in range(count):
        optimizer.zero_grad()
        core.class_loss(model(x), y).backward()
        optimizer.step()


OPTIMISERS = [
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}),
    (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    (torch.optim.RMSprop, {"lr": 0.01}),
]


@pytest.mark.parametrize(("kind", "options"), OPTIMISERS)
def test_only_the_subnetwork_moves_after_free_steps(kind, options, device):
    """Momentum and weight decay would move entries whose gradients are zeroed: the gate holds the update itself."""
    model, x, y, masks = problem(device)
    optimizer = kind(model.parameters(), **options)
    steps(model, optimizer, x, y, 3)
    before = copy.deepcopy(model)
    gate = analysis.train_subnetwork(optimizer, model, masks)
    steps(model, optimizer, x, y)
    changed = analysis.update_mask(before, model, tol=0.0)
    for name, mask in masks.items():
        assert not bool((changed[name] & ~mask).any())
        assert bool((changed[name] & mask).any())
    gate.remove()
    steps(model, optimizer, x, y, 1)
    assert bool((analysis.update_mask(before, model, tol=0.0)["0.weight"] & ~masks["0.weight"]).any())


def test_an_error_in_the_loop_takes_the_gate_off():
    model, x, y, masks = problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RuntimeError, match="stop"), analysis.train_subnetwork(optimizer, model, masks):
        raise RuntimeError("stop")
    before = copy.deepcopy(model)
    steps(model, optimizer, x, y, 1)
    assert bool((analysis.update_mask(before, model, tol=0.0)["0.weight"] & ~masks["0.weight"]).any())


def test_an_update_that_bfloat16_hides_is_not_replayed():
    """In float32 the frozen rest did move, and the gradient of the subnetwork feels it."""
    model, x, y, _ = problem()
    start = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in start.parameters():
            parameter.copy_(parameter.bfloat16())
    full, alone, ever = (copy.deepcopy(start) for _ in range(3))
    steps(full, torch.optim.Adam(full.parameters(), lr=1e-4), x, y)
    mask = analysis.update_mask(start, full, dtype=torch.bfloat16)
    optimizer = torch.optim.Adam(alone.parameters(), lr=1e-4)
    with analysis.train_subnetwork(optimizer, alone, mask):
        steps(alone, optimizer, x, y)
    assert 0.05 < mask.density < 0.95
    assert analysis.update_sparsity(full, alone, tol=0.0).total < 1.0
    # What float32 shows is the whole run.
    optimizer = torch.optim.Adam(ever.parameters(), lr=1e-4)
    with analysis.train_subnetwork(optimizer, ever, analysis.update_mask(start, full, tol=0.0)):
        steps(ever, optimizer, x, y)
    assert analysis.update_sparsity(full, ever, tol=0.0).total == 1.0


def test_masks_of_buffers_are_passed_over_and_ties_need_one_name():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2), nn.Linear(2, 2))
    model[2].weight = model[1].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    masks = {name: torch.zeros_like(t, dtype=torch.bool) for name, t in model.state_dict().items() if t.ndim}
    del masks["1.weight"]
    with analysis.train_subnetwork(optimizer, model, masks):
        model(torch.randn(8, 2)).square().sum().backward()
        optimizer.step()
    moved = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert moved == ["0.running_mean", "0.running_var", "0.num_batches_tracked"]
    same = masks | {"1.weight": masks["2.weight"].clone()}
    analysis.train_subnetwork(optimizer, model, same).remove()
    with pytest.raises(ValueError, match=r"masks must agree on a shared parameter; 1\.weight has another one"):
        analysis.train_subnetwork(optimizer, model, masks | {"1.weight": ~masks["2.weight"]})


def test_bad_arguments():
    model, _, _, masks = problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"unknown are \['x'\]"):
        analysis.train_subnetwork(optimizer, model, {**masks, "x": torch.ones(1, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"missing are \['0.weight', '0.bias'\]"):
        analysis.train_subnetwork(optimizer, model, {k: v for k, v in masks.items() if not k.startswith("0")})
    with pytest.raises(TypeError, match="bool"):
        analysis.train_subnetwork(optimizer, model, {**masks, "0.bias": torch.ones(8)})
    with pytest.raises(ValueError, match="shapes"):
        analysis.train_subnetwork(optimizer, model, {**masks, "0.bias": torch.ones(7, dtype=torch.bool)})
    with pytest.raises(ValueError, match="parameters of the model"):
        analysis.train_subnetwork(torch.optim.SGD([nn.Parameter(torch.ones(3))], lr=0.1), model, masks)
    with pytest.raises(ValueError, match="LBFGS"):
        analysis.train_subnetwork(torch.optim.LBFGS(model.parameters()), model, masks)
    assert not optimizer._optimizer_step_pre_hooks
