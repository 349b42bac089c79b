"""A frozen network with a prompt: what is trained, what is not, and what is kept."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from sparsetheory.gpu import core
from sparsetheory.gpu.analysis import ExpansivePrompt, frequency_label_map, map_logits, reprogram
from sparsetheory.gpu.core.models import MLP

X = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = (X.mean(dim=(1, 2, 3)) > 0.5).long()


def network(device="cpu"):
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 5)
    )
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    return model.to(device)


def state_of(model):
    """Return all that must be as before."""
    return (
        copy.deepcopy(model.state_dict()),
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [None if parameter.grad is None else parameter.grad.clone() for parameter in model.parameters()],
        [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
    )


def assert_as_before(model, before):
    state, *rest = state_of(model)
    assert all(torch.equal(value, before[0][name]) for name, value in state.items())
    assert rest[0] == before[1]
    assert rest[1] == before[2]
    for now, then in zip(rest[2], before[3], strict=True):
        assert (now is None) == (then is None)
        assert now is None or torch.equal(now, then)
    assert rest[3] == before[4]


def mixed_network():
    """Return a network in mixed modes, some of it frozen, with gradients and a hook."""
    model = network().train()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    model[5].weight.grad = torch.ones_like(model[5].weight)
    model[2].register_forward_hook(lambda *_: None)
    return model


def test_only_the_prompt_is_trained(device):
    model, prompt = network(device), ExpansivePrompt(4, 6).to(device)
    found = reprogram(model, (X.to(device), Y.to(device)), prompt, n_epochs=20, lr=0.05, batch_size=16)
    assert found.prompt is prompt
    assert found.losses.shape == (20 * 3,)
    assert found.accuracies.shape == (0,)
    assert found.epoch == 20
    assert found.label_map.unique().numel() == 2
    assert not torch.equal(prompt.weight, torch.zeros_like(prompt.weight))
    assert torch.equal(prompt.weight[:, ~prompt.border], torch.zeros_like(prompt.weight[:, ~prompt.border]))
    assert prompt.weight.grad is None


def test_the_network_is_as_before():
    model = mixed_network()
    before = state_of(model)
    found = reprogram(model, (X, Y), ExpansivePrompt(4, 6), n_epochs=3)
    assert_as_before(model, before)
    found.logits(model, X)
    assert_as_before(model, before)


@pytest.mark.parametrize("call", [1, 4])
def test_the_network_and_the_prompt_are_as_before_after_an_exception(call):
    model, prompt, calls = mixed_network(), ExpansivePrompt(4, 6, init=0.2).eval(), []

    def interrupt(*_):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt

    model[4].register_forward_hook(interrupt)
    before = state_of(model)
    with pytest.raises(KeyboardInterrupt):
        reprogram(model, (X, Y), prompt, n_epochs=5, lr=0.5)
    assert_as_before(model, before)
    assert torch.equal(prompt.weight, torch.full_like(prompt.weight, 0.2))
    assert not prompt.training


def test_one_epoch_by_hand():
    model, prompt = network().eval(), ExpansivePrompt(4, 6)
    copied = copy.deepcopy(prompt)
    found = reprogram(model, (X, Y), prompt, n_epochs=2, batch_size=None, lr=0.1, milestones=(0.5,))
    rates = (0.1, 0.01)
    adam = torch.optim.Adam(copied.parameters(), lr=0.1)
    for rate in rates:
        adam.param_groups[0]["lr"] = rate
        with torch.no_grad():
            label_map = frequency_label_map(model(copied(X)).argmax(1), Y, 5, 2)
        adam.zero_grad()
        nn.functional.cross_entropy(model(copied(X))[:, label_map], Y).backward()
        adam.step()
    torch.testing.assert_close(prompt.weight, copied.weight)
    assert torch.equal(found.label_map, label_map)
    torch.testing.assert_close(found.logits(model, X), map_logits(model(copied(X)), label_map).detach())


def test_map_is_chosen_every_so_many_epochs(monkeypatch):
    from sparsetheory.gpu.analysis.reprogramming import visual_prompting

    calls = []

    def counted(*args, **kwargs):
        calls.append(1)
        return frequency_label_map(*args, **kwargs)

    monkeypatch.setattr(visual_prompting, "frequency_label_map", counted)
    reprogram(network(), (X, Y), ExpansivePrompt(4, 6), n_epochs=10, map_every=4)
    assert len(calls) == 3


def test_a_fixed_map_stays():
    fixed = torch.tensor([4, 1])
    found = reprogram(network(), (X, Y), ExpansivePrompt(4, 6), n_epochs=3, label_map=fixed)
    assert torch.equal(found.label_map, fixed)


def test_validation_keeps_the_first_best_epoch():
    model = network()
    held = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    classes = (held.mean(dim=(1, 2, 3)) > 0.5).long()
    found = reprogram(model, (X, Y), ExpansivePrompt(4, 6), validation=(held, classes), n_epochs=25, lr=0.3)
    assert found.accuracies.shape == (25,)
    assert found.epoch == int((found.accuracies == found.accuracies.max()).nonzero()[0]) + 1
    assert core.accuracy(found.logits(model, held), classes) == found.accuracies.max()
    # The same training, stopped there.
    milestones = [share * 25 / found.epoch for share in (0.5, 0.72) if share * 25 <= found.epoch]
    again = reprogram(model, (X, Y), ExpansivePrompt(4, 6), n_epochs=found.epoch, lr=0.3, milestones=milestones)
    torch.testing.assert_close(again.prompt.weight, found.prompt.weight)


def test_several_labels_and_assignment():
    model = network()
    for method in ("greedy", "assignment"):
        found = reprogram(model, (X, Y), ExpansivePrompt(4, 6), n_epochs=2, n_labels=2, method=method)
        assert found.label_map.shape == (2, 2)
        assert found.logits(model, X).shape == (40, 2)


def test_seeds_repeat_and_the_global_generator_is_left_alone():
    model = network()
    state = torch.get_rng_state()
    weights = []
    for seed in (1, 1, 2):
        prompt = ExpansivePrompt(4, 6)
        reprogram(model, (X, Y), prompt, n_epochs=2, batch_size=8, generator=seed)
        weights.append(prompt.weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_half_precision():
    model = MLP([36, 8, 5]).bfloat16()
    found = reprogram(model, (X.bfloat16(), Y), ExpansivePrompt(4, 6), n_epochs=2)
    assert found.logits(model, X.bfloat16()).dtype == torch.bfloat16


def frozen_prompt():
    return ExpansivePrompt(4, 6).requires_grad_(False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": frozen_prompt()}, "prompt must have a parameter that requires a gradient"),
        ({"data": (X, Y * 5)}, r"y must have a sample of each of 6 classes; there is none of \[1, 2, 3, 4\]"),
        ({"data": (X[:3], torch.tensor([0, 1, 2])), "n_target": 4}, r"there is none of \[3\]"),
        ({"data": (X[:6], torch.arange(6))}, "n_source must be at least"),
        ({"data": (X, Y[:5])}, "data must be images"),
        ({"data": (X, Y.float())}, "data must be images"),
        ({"validation": (X, Y[:5])}, "validation must be images"),
        ({"validation": (X, Y + 1)}, "validation must hold classes from 0 to 1; got 1 to 2"),
        ({"label_map": [1, 0]}, "label_map must be a tensor"),
        ({"label_map": torch.tensor([1, 1])}, "label_map must hold different source classes"),
        ({"label_map": torch.tensor([1, 2, 3])}, "label_map must hold different source classes"),
        ({"label_map": torch.tensor([1, 7])}, "label_map must hold classes from 0 to 4"),
        ({"method": "best"}, "method"),
        ({"map_every": 0}, "map_every"),
        ({"n_epochs": 0}, "n_epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"lr": 0.0}, "lr"),
        ({"milestones": (2.0,)}, "milestones"),
        ({"data": (X[:, :, :3], Y)}, "x must have shape"),
    ],
)
def test_bad_input(options, words):
    model = mixed_network()
    before = state_of(model)
    good = {"data": (X, Y), "prompt": ExpansivePrompt(4, 6)}
    with pytest.raises(ValueError, match=words):
        reprogram(model, **{**good, **options})
    assert_as_before(model, before)


def test_a_loss_that_is_no_number_ends_it():
    model = network()
    with torch.no_grad():
        model[5].weight.fill_(math.inf)
    prompt = ExpansivePrompt(4, 6)
    with pytest.raises(FloatingPointError):
        reprogram(model, (X, Y), prompt, n_epochs=2)
    assert torch.equal(prompt.weight, torch.zeros_like(prompt.weight))


def test_of_equal_epochs_the_first_is_kept():
    prompt = ExpansivePrompt(4, 6)
    # Steps too small to change a prediction.
    found = reprogram(network(), (X, Y), prompt, validation=(X, Y), n_epochs=3, lr=1e-12)
    assert found.accuracies.unique().numel() == 1
    assert found.epoch == 1


def test_a_failure_between_epochs_leaves_no_gradient():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.maps = network(), 0

        def forward(self, x):
            self.maps += not torch.is_grad_enabled()
            if self.maps == 2:
                raise KeyError("second map")
            return self.inner(x)

    prompt = ExpansivePrompt(4, 6)
    with pytest.raises(KeyError):
        reprogram(Fails(), (X, Y), prompt, n_epochs=2)
    assert prompt.weight.grad is None


@pytest.mark.parametrize(
    ("options", "n_steps", "drops"),
    [
        # Half of 25 epochs is rounded to the even 12; 0.72 of them is 18.
        ({"n_epochs": 25, "batch_size": None}, 25, [12, 18]),
        ({"n_epochs": 4, "batch_size": 20, "milestones": (0.5,)}, 8, [4]),
    ],
)
def test_steps_are_divided_by_ten_at_shares_of_the_epochs(options, n_steps, drops):
    prompt, weights = ExpansivePrompt(4, 6), []
    prompt.register_forward_pre_hook(
        lambda module, args: weights.append(module.weight.detach().clone()) if torch.is_grad_enabled() else None
    )
    reprogram(network(), (X, Y), prompt, label_map=torch.tensor([1, 0]), **options)
    moves = [float((new - old).abs().sum()) for old, new in pairwise([*weights, prompt.weight.detach()])]
    assert len(moves) == n_steps
    assert [step for step in range(1, n_steps) if moves[step] < 0.3 * moves[step - 1]] == drops
