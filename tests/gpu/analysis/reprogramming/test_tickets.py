"""Magnitude pruning with rewinding: rounds by hand, exact counts, weights that stay zero."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from sparsetheory.gpu import core
from sparsetheory.gpu.analysis import lottery_tickets
from sparsetheory.gpu.core.models import MLP

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] * X[:, 1] > 0).long()


def fit_with(make, n_steps=15):
    def fit(model):
        core.train(model, X, Y, optimizer=make(model.parameters()), n_steps=n_steps)

    return fit


OPTIMISERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-2, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05),
}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_counts_are_exact_masks_nested_and_pruned_weights_zero(optimiser):
    tickets = lottery_tickets(MLP([6, 10, 2]), fit_with(OPTIMISERS[optimiser]), [1.0, 0.5, 0.2, 0.1])
    assert [ticket.masks.n_nonzero for ticket in tickets] == [80, 40, 16, 8]
    assert [ticket.density for ticket in tickets] == [1.0, 0.5, 0.2, 0.1]
    for before, after in pairwise(tickets):
        assert after.masks.overlap(before.masks) == 1.0
    for ticket in tickets:
        for name, mask in ticket.masks.items():
            assert not bool(ticket.model.get_parameter(name)[~mask].any())


def test_two_rounds_by_hand():
    start, fit = MLP([6, 8, 2], generator=1), fit_with(OPTIMISERS["adamw"])
    found = lottery_tickets(start, fit, [0.5])[0]
    dense = copy.deepcopy(start)
    fit(dense)
    sizes = torch.cat([dense[0].weight.abs().flatten(), dense[2].weight.abs().flatten()])
    cut = sizes.sort(descending=True).values[31]
    # Train by hand from the same start: after each step what is pruned is set to zero again.
    rewound = copy.deepcopy(start)
    masks = {name: dense.get_parameter(name).abs() >= cut for name in ("0.weight", "2.weight")}
    optimizer = OPTIMISERS["adamw"](rewound.parameters())
    for _ in range(15):
        with torch.no_grad():
            for name, mask in masks.items():
                rewound.get_parameter(name).mul_(mask)
        optimizer.zero_grad()
        core.class_loss(rewound(X), Y).backward()
        for name, mask in masks.items():
            rewound.get_parameter(name).grad.mul_(mask)
        optimizer.step()
    assert found.masks == core.MaskSet(masks)
    for name, weight in rewound.named_parameters():
        torch.testing.assert_close(found.model.get_parameter(name), weight)


def test_every_round_starts_from_the_same_weights_and_buffers():
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))
    model[1].running_mean.fill_(7.0)
    seen = []

    def fit(trained):
        seen.append(copy.deepcopy(trained.state_dict()))
        fit_with(OPTIMISERS["sgd"])(trained)

    lottery_tickets(model, fit, [0.6, 0.3])
    assert len(seen) == 3
    before = model.state_dict()
    for state in seen:
        assert torch.equal(state["1.running_mean"], torch.full((5,), 7.0))
        assert torch.equal(state["0.bias"], before["0.bias"])
        kept = state["0.weight"] != 0
        assert torch.equal(state["0.weight"][kept], before["0.weight"][kept])
    counts = [int((state["0.weight"] != 0).sum() + (state["3.weight"] != 0).sum()) for state in seen]
    assert counts == [40, 24, 12]


def test_the_model_is_not_touched_and_no_hook_stays():
    model = MLP([6, 8, 2])
    before = copy.deepcopy(model.state_dict())
    ticket = lottery_tickets(model, fit_with(OPTIMISERS["sgd"]), [0.5])[0]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    weight = ticket.model[0].weight
    ticket.model(X).square().sum().backward()
    # The gradient is dense again.
    assert bool(weight.grad[~ticket.masks["0.weight"]].any())


def test_hooks_are_removed_if_training_fails():
    seen = []

    def fit(model):
        seen.append(model)
        if len(seen) == 2:
            raise RuntimeError("out of time")

    with pytest.raises(RuntimeError, match="out of time"):
        lottery_tickets(MLP([6, 8, 2]), fit, [0.1])
    model = seen[1]
    pruned = model[0].weight.detach() == 0
    model(X).square().sum().backward()
    assert bool(model[0].weight.grad[pruned].any())


def test_kept_weights_that_become_zero_stay_before_pruned_ones():
    model = nn.Linear(6, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]))
    rounds = []

    def fit(trained):
        rounds.append(trained)
        if len(rounds) == 2:
            # Of the four that are left three become zero: two of these must stay, not two of the pruned first ones.
            with torch.no_grad():
                trained.weight[0, 2:5] = 0.0

    found = lottery_tickets(model, fit, [4 / 6, 3 / 6])
    assert found[1].masks["weight"].tolist() == [[False, False, True, True, False, True]]


def test_scope_of_each_layer_and_choice_of_layers():
    fit = fit_with(OPTIMISERS["sgd"])
    each = lottery_tickets(MLP([6, 10, 2]), fit, [0.5], scope="layer")[0]
    assert each.masks.densities == {"0.weight": 0.5, "2.weight": 0.5}
    first = lottery_tickets(MLP([6, 10, 2]), fit, [0.5], layers="0")[0]
    assert list(first.masks) == ["0.weight"]
    assert bool(first.model[2].weight.all())


def test_shared_weights_are_pruned_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
            self.last.weight = self.first.weight

        def forward(self, x):
            return self.head(self.last(self.first(x).relu()).relu())

    ticket = lottery_tickets(Twice(), fit_with(OPTIMISERS["adamw"]), [0.25])[0]
    assert ticket.masks.n_nonzero == 12
    assert ticket.model.first.weight is ticket.model.last.weight
    assert not bool(ticket.model.last.weight[~ticket.masks["first.weight"]].any())


def test_a_ticket_counts_as_gradual_pruning_from_dense():
    tickets = lottery_tickets(MLP([6, 10, 2]), fit_with(OPTIMISERS["sgd"]), [1.0, 0.5, 0.2])
    history = [(15 * i, ticket.masks.digest(), ticket.masks.density) for i, ticket in enumerate(tickets)]
    found = core.taxonomy_of([*history, (45, *history[-1][1:])])
    assert (found.kind, found.start) == ("during/gradual", "dense")


@pytest.mark.parametrize("densities", [[], [0.5, 0.5], [0.2, 0.5], [0.0], [1.2], [float("nan")], "half"])
def test_bad_densities(densities):
    with pytest.raises(ValueError, match="densities"):
        lottery_tickets(MLP([6, 8, 2]), fit_with(OPTIMISERS["sgd"]), densities)


def test_bad_scope_and_layers():
    with pytest.raises(ValueError, match="scope"):
        lottery_tickets(MLP([6, 8, 2]), fit_with(OPTIMISERS["sgd"]), [0.5], scope="block")
    with pytest.raises(ValueError, match="none"):
        lottery_tickets(MLP([6, 8, 2]), fit_with(OPTIMISERS["sgd"]), [0.5], layers="none")


def test_a_frozen_layer_is_pruned_too():
    model = MLP([6, 8, 2])
    model[0].requires_grad_(False)
    ticket = lottery_tickets(model, fit_with(OPTIMISERS["sgd"]), [0.5], scope="layer")[0]
    assert ticket.masks.densities == {"0.weight": 0.5, "2.weight": 0.5}
    assert torch.equal(ticket.model[0].weight, model[0].weight.where(ticket.masks["0.weight"], 0.0))


def test_pruned_weights_are_zero_whatever_the_training_did_to_them():
    def fit(model):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 1.0

    ticket = lottery_tickets(MLP([6, 8, 2]), fit, [0.5])[0]
    assert not any(bool(ticket.model.get_parameter(name)[~mask].any()) for name, mask in ticket.masks.items())
