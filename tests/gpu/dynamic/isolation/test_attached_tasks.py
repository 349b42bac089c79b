"""Tasks in the state of the optimiser: a run stops in the middle of one and goes on to the same bits."""

import io
from collections import UserDict

import numpy as np
import pytest
import torch

from sparsetheory.gpu.core import Cosine, attach_state
from sparsetheory.gpu.dynamic import TaskIsolation

CLASSES = 2


class _Run:
    """A user's loop, and what it stores: the model and the optimiser."""

    def __init__(self, make_mlp, train_steps, *, seed=0, **options):
        self.model = make_mlp(seed=seed)
        self.optimizer = torch.optim.AdamW(self.model.named_parameters(), lr=0.02, weight_decay=0.1)
        settings = {"grow": "momentum", "share": "allow", "fraction": Cosine(0.4, 20), "every": 2, "generator": 0}
        self.tasks = TaskIsolation(self.model, self.optimizer, 0.25, head="head", **(settings | options))
        attach_state(self.optimizer, tasks=self.tasks)
        self._train_steps = train_steps

    def begin(self, task):
        self.tasks.begin_task(task, np.arange(CLASSES * task, CLASSES * (task + 1)))

    def end(self):
        self.tasks.end_task(probe={"input": torch.ones(2, 6)})

    def train(self, task, seed=0):
        self._train_steps(self.model, self.optimizer, task, 5, seed=seed)

    def first_half(self):
        self.begin(0)
        self.train(0)
        self.end()
        self.begin(1)
        self.train(1)

    def second_half(self):
        self.train(1, seed=1)
        self.end()
        self.begin(2)
        self.train(2)

    def stored(self):
        file = io.BytesIO()
        torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, file)
        return file.getvalue()

    def resume(self, stored):
        state = torch.load(io.BytesIO(stored), weights_only=True)
        self.model.load_state_dict(state["model"])
        # Wrappers load the present state once more before that of the checkpoint, to move it between devices.
        self.optimizer.load_state_dict(self.optimizer.state_dict())
        self.optimizer.load_state_dict(state["optimizer"])


def _clip(optimizer, *_):
    torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 0.1)


def _assert_equal(run, other):
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name]), name
    for mine, theirs in zip(run.model.parameters(), other.model.parameters(), strict=True):
        for key, kept in run.optimizer.state[mine].items():
            assert torch.equal(kept, other.optimizer.state[theirs][key]), key
    assert run.tasks.tasks == other.tasks.tasks == (0, 1)
    assert run.tasks.used == other.tasks.used
    for task in range(3):
        assert run.tasks.masks(task) == other.tasks.masks(task)
        assert run.tasks.trajectory(task) == other.tasks.trajectory(task)
    assert run.tasks.forgetting_ == other.tasks.forgetting_ == {0: 0.0, 1: 0.0}


# What the process that goes on has done before it loads.
BEFORE = {
    "nothing": lambda run: None,
    "begun the first task": lambda run: run.begin(0),
    "begun the same task": lambda run: run.begin(1),
    "begun it with other outputs": lambda run: run.tasks.begin_task(1, [0]),
    "learned other things": lambda run: (run.begin(0), run.train(0, seed=3)),
}


@pytest.mark.parametrize("share", ["forbid", "allow"])
@pytest.mark.parametrize("before", BEFORE)
def test_the_state_of_the_optimiser_continues_in_the_middle_of_a_task(make_mlp, train_steps, before, share):
    run = _Run(make_mlp, train_steps, share=share)
    run.first_half()
    stored = run.stored()
    run.second_half()
    other = _Run(make_mlp, train_steps, seed=1, share=share)
    BEFORE[before](other)
    other.resume(stored)
    assert other.tasks.state_dict()["begun"]["outputs"] == [2, 3]
    other.second_half()
    _assert_equal(run, other)


def test_a_run_goes_back_to_an_earlier_state_of_itself(make_mlp, train_steps):
    run, other = (_Run(make_mlp, train_steps) for _ in range(2))
    run.first_half()
    run.second_half()
    other.first_half()
    stored = other.stored()
    other.train(1, seed=9)
    other.resume(stored)
    other.second_half()
    _assert_equal(run, other)


def test_loading_the_present_state_changes_nothing_and_keeps_the_order_of_hooks(make_mlp, train_steps):
    run, other = (_Run(make_mlp, train_steps) for _ in range(2))
    for one in (run, other):
        one.begin(0)
        # Clipping is to see masked gradients: its hook comes after those of the controller.
        one.optimizer.register_step_pre_hook(_clip)
    controller = other.tasks.controller
    weights = other.model.first.weight.detach().clone() + 1.0
    with torch.no_grad():
        other.model.first.weight.copy_(weights)
    other.optimizer.load_state_dict(other.optimizer.state_dict())
    assert torch.equal(other.model.first.weight, weights)
    assert other.tasks.controller is controller
    with torch.no_grad():
        other.model.first.weight.copy_(run.model.first.weight)
    for one in (run, other):
        one.train(0)
    for mine, theirs in zip(run.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_state_without_a_task_gives_up_the_one_that_has_begun(make_mlp, train_steps):
    run, other = (_Run(make_mlp, train_steps) for _ in range(2))
    run.begin(0)
    run.train(0)
    run.end()
    other.begin(2)
    other.resume(run.stored())
    assert other.tasks.tasks == (0,)
    other.begin(1)
    run.begin(1)
    assert other.tasks.masks(1) == run.tasks.masks(1)


def test_a_kept_state_does_not_change_when_training_goes_on(make_mlp, train_steps):
    run = _Run(make_mlp, train_steps)
    run.first_half()
    state, weights = run.tasks.state_dict(), run.stored()
    moments = state["begun"]["controller"]["scores"][1]["first"][0].clone()
    run.train(1)
    assert torch.equal(state["begun"]["controller"]["scores"][1]["first"][0], moments)
    # Nor does the one that was loaded.
    run.model.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True)["model"])
    run.tasks.load_state_dict(state)
    run.train(1)
    assert torch.equal(state["begun"]["controller"]["scores"][1]["first"][0], moments)


class _Elsewhere:
    """The state of a generator that a loop has moved to another device: it must come back first."""

    def __init__(self, state):
        self.cpu = lambda: state


def test_generators_come_back_from_other_devices(make_mlp, train_steps):
    run, other = (_Run(make_mlp, train_steps) for _ in range(2))
    run.first_half()
    state = run.tasks.state_dict()
    state["generator"] = _Elsewhere(state["generator"])
    state["begun"]["controller"]["generator"] = _Elsewhere(state["begun"]["controller"]["generator"])
    other.model.load_state_dict(run.model.state_dict())
    other.tasks.load_state_dict(state)
    for one in (run, other):
        one.end()
        one.begin(2)
    assert run.tasks.masks(2) == other.tasks.masks(2)


def test_a_probe_is_a_copy_that_any_checkpoint_may_hold(make_mlp, train_steps):
    run = _Run(make_mlp, train_steps)
    run.begin(0)
    run.train(0)
    probe = UserDict(input=torch.ones(2, 6))
    run.tasks.end_task(probe=probe)
    probe["input"].zero_()
    assert run.tasks.forgetting_ == {0: 0.0}
    other = _Run(make_mlp, train_steps)
    other.resume(run.stored())
    assert other.tasks.forgetting_ == {0: 0.0}


def test_states_that_were_moved_to_another_device(make_mlp, train_steps, device):
    """Loops load states on the device of the model; generators and counts stay on the CPU."""
    run = _Run(make_mlp, train_steps)
    run.first_half()
    state = torch.load(io.BytesIO(run.stored()), weights_only=True, map_location=device)
    other = _Run(make_mlp, train_steps, seed=1)
    other.model.load_state_dict(state["model"])
    other.optimizer.load_state_dict(state["optimizer"])
    run.second_half()
    other.second_half()
    _assert_equal(run, other)
