"""States of other objects within the state of an optimiser."""

import io

import pytest
import torch

from sparsetheory.gpu.core import TopologyController, attach_state
from sparsetheory.gpu.dynamic import magnitude, random_order

SIZE = 12


class _Counter:
    def __init__(self):
        self.count = 0

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def _run(n_steps, stored=None):
    """Train for some steps, after loading a stored run; return the weight, the controller and what a loop stores."""
    weight = torch.nn.Parameter(torch.linspace(-1.0, 1.0, SIZE))
    optimizer = torch.optim.Adam([weight], lr=0.1)
    mask = torch.arange(SIZE) < 4
    controller = TopologyController(
        optimizer, {weight: mask}, drop=magnitude, grow=random_order, fraction=0.5, every=2, generator=0
    )
    attach_state(optimizer, topology=controller)
    if stored is not None:
        kept = torch.load(io.BytesIO(stored), weights_only=True)
        weight.data.copy_(kept["weight"])
        # Wrappers load the present state once more before that of the checkpoint, to move it between devices.
        optimizer.load_state_dict(optimizer.state_dict())
        optimizer.load_state_dict(kept["optimizer"])
    for _ in range(n_steps):
        optimizer.zero_grad()
        (weight - torch.arange(SIZE)).square().sum().backward()
        optimizer.step()
    file = io.BytesIO()
    torch.save({"weight": weight.detach(), "optimizer": optimizer.state_dict()}, file)
    return weight.detach(), controller, file.getvalue()


def test_the_state_of_the_optimiser_alone_continues_a_run_to_the_bit():
    weight, controller, _ = _run(9)
    _, _, stored = _run(4)
    resumed, continued, _ = _run(5, stored)
    assert len(controller.history) == 4
    assert continued.history == controller.history
    assert continued.masks == controller.masks
    assert torch.equal(weight, resumed)


def test_states_without_an_entry_leave_the_part_and_new_parts_begin():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    plain = optimizer.state_dict()
    first, other = _Counter(), _Counter()
    attach_state(optimizer, first=first)
    first.count = 3
    with_first = optimizer.state_dict()
    assert with_first["attached"] == {"first": {"count": 3}}
    attach_state(optimizer, other=other)
    first.count, other.count = 5, 7
    optimizer.load_state_dict(plain)
    assert (first.count, other.count) == (5, 7)
    optimizer.load_state_dict(with_first)
    assert (first.count, other.count) == (3, 7)
    assert set(optimizer.state_dict()["attached"]) == {"first", "other"}


def test_a_detached_part_is_neither_stored_nor_loaded():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    counter = _Counter()
    detach = attach_state(optimizer, counter=counter)
    state = optimizer.state_dict()
    detach()
    counter.count = 1
    assert "attached" not in optimizer.state_dict()
    optimizer.load_state_dict(state)
    assert counter.count == 1


def test_bad_input():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    with pytest.raises(TypeError, match="counter must have state_dict and load_state_dict; got int"):
        attach_state(optimizer, counter=3)
    attach_state(optimizer, counter=_Counter())
    with pytest.raises(ValueError, match=r"parts must have names of their own; got \['counter'\] twice"):
        attach_state(optimizer, counter=_Counter())
    with pytest.raises(ValueError, match="optimizer must be a torch optimiser"):
        attach_state("SGD", counter=_Counter())
