import inspect

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core.hooks.optimiser_state import MAGNITUDES, clear_state, start_state, state_tensors

# Means of gradients and of weights, whose sign matters.
SIGNED = {"ax", "exp_avg", "grad_avg", "momentum_buffer", "prev"}
NAMES = sorted(
    name
    for name in set(torch.optim.__all__) - {"Optimizer", "LBFGS", "SparseAdam"}
    if inspect.isclass(getattr(torch.optim, name)) and issubclass(getattr(torch.optim, name), torch.optim.Optimizer)
)


def _stepped(name):
    kind = getattr(torch.optim, name)
    known = inspect.signature(kind).parameters
    extra = {"momentum": 0.9, "amsgrad": True, "centered": True}
    weight = nn.Parameter(torch.ones(4, 3))
    optimizer = kind([weight], lr=0.01, **{key: value for key, value in extra.items() if key in known})
    for gradient in torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(0)):
        weight.grad = gradient
        optimizer.step()
    return optimizer, weight


@pytest.mark.parametrize("name", NAMES)
def test_all_that_optimisers_keep_for_each_entry_is_known_and_starts_as_told(name):
    optimizer, weight = _stepped(name)
    kept = state_tensors(optimizer, weight)
    assert set(kept) <= SIGNED | MAGNITUDES
    assert all(bool((kept[key] >= 0).all()) for key in MAGNITUDES & set(kept))
    new, survivors = torch.zeros(4, 3) > 0, torch.zeros(4, 3) > 0
    new[0], survivors[2:] = True, True
    before = {key: tensor.clone() for key, tensor in kept.items()}
    for rule in ("zero", "mean"):
        start_state(optimizer, weight, new, survivors, rule)
        for key, tensor in state_tensors(optimizer, weight).items():
            value = before[key][survivors].mean() if rule == "mean" and key in MAGNITUDES else 0
            assert bool((tensor[0] == value).all())
            assert torch.equal(tensor[1:], before[key][1:])


def test_nothing_is_kept_before_the_first_step_and_nothing_survives_alone():
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight])
    clear_state(optimizer, weight, torch.ones(2) > 0)
    assert state_tensors(optimizer, weight) == {}
    optimizer, weight = _stepped("Adam")
    start_state(optimizer, weight, torch.ones(4, 3) > 0, torch.zeros(4, 3) > 0, "mean")
    assert not any(bool(tensor.any()) for tensor in state_tensors(optimizer, weight).values())


def test_the_step_count_of_a_scalar_is_not_taken_for_a_moment():
    scalar = nn.Parameter(torch.tensor(1.0))
    optimizer = torch.optim.Adam([scalar])
    scalar.grad = torch.tensor(1.0)
    optimizer.step()
    assert state_tensors(optimizer, scalar) == {}
