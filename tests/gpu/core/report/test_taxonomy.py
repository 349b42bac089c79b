"""The kind of a run, read from histories of every kind."""

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import taxonomy_of
from sparsetheory.gpu.core.hooks.topology import TopologyController
from sparsetheory.gpu.core.masks import MaskSet


@pytest.mark.parametrize(
    ("history", "kind", "start", "n_changes", "explored"),
    [
        ([(0, "a", 1.0)], "dense", "dense", 0, 1.0),
        ([(0, "a", 1.0), (9, "a", 1.0)], "dense", "dense", 0, 1.0),
        ([(0, "a", 0.1), (5, "a", 0.1), (9, "a", 0.1)], "before", "sparse", 0, 0.1),
        # Pruning at initialisation: what happens before the first step is not training.
        ([(0, "a", 1.0), (0, "b", 0.1), (9, "b", 0.1)], "before", "sparse", 0, 0.1),
        ([(0, "a", 0.1), (5, "b", 0.1), (9, "c", 0.1)], "during/dynamic", "sparse", 2, None),
        ([(0, "a", 0.1, 0.1), (5, "b", 0.1, 0.15), (9, "c", 0.1, 0.2)], "during/dynamic", "sparse", 2, 0.2),
        # Masks that come back are changes as well.
        ([(0, "a", 0.1), (5, "b", 0.1), (9, "a", 0.1)], "during/dynamic", "sparse", 2, None),
        # A density that falls and rises again is no gradual pruning.
        ([(0, "a", 0.2), (5, "b", 0.1), (9, "c", 0.2)], "during/dynamic", "sparse", 2, None),
        ([(0, "a", 0.1), (5, "b", 0.2)], "during/dynamic", "sparse", 1, None),
        ([(0, "a", 1.0), (5, "b", 0.5), (9, "c", 0.1)], "during/gradual", "dense", 2, 1.0),
        ([(0, "a", 0.5), (5, "b", 0.5), (9, "c", 0.1)], "during/gradual", "sparse", 2, None),
        # Pruned once and then tuned: training goes on after the change.
        ([(0, "a", 1.0), (5, "b", 0.1), (9, "b", 0.1)], "during/gradual", "dense", 1, 1.0),
        ([(0, "a", 1.0), (9, "a", 1.0), (9, "b", 0.1)], "post", "dense", 1, 1.0),
        ([(0, "a", 0.5), (9, "a", 0.5), (9, "b", 0.1)], "during/gradual", "sparse", 1, None),
    ],
)
def test_kinds(history, kind, start, n_changes, explored):
    found = taxonomy_of(history)
    assert (found.kind, found.start, found.n_changes, found.explored) == (kind, start, n_changes, explored)


def test_a_controller_keeps_such_a_history_even_of_a_single_event():
    torch.manual_seed(0)
    model = nn.Linear(8, 6)
    masks = MaskSet({"weight": torch.arange(48).reshape(6, 8) % 4 == 0})
    masks.apply(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    controller = TopologyController(
        optimizer,
        masks.by_parameter(model),
        drop=lambda snapshot: snapshot.weight.abs(),
        grow=lambda snapshot: snapshot.gradient.abs(),
        fraction=0.3,
        every=5,
    )
    assert taxonomy_of(controller.trajectory).kind == "before"
    for _ in range(7):
        optimizer.zero_grad()
        model(torch.randn(4, 8)).square().sum().backward()
        optimizer.step()
    found = taxonomy_of(controller.trajectory)
    assert (found.kind, found.start, found.n_steps, found.n_changes) == ("during/dynamic", "sparse", 7, 1)
    assert 0.25 < found.explored == controller.fired.density < 0.5
    with pytest.raises(ValueError, match=r"history must hold .*TopologyEvent"):
        taxonomy_of(controller.history)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([], "history must have at least 1 entry"),
        ([(5, "a", 0.1), (3, "b", 0.1)], "history must be in the order of its steps; got 3 after 5"),
        ([(0, "a", 1.1)], r"density must be a number in \[0, 1\]"),
        ([(0, "a", 0.1), (1, "a", 0.2)], "one density for one mask; got 0.2 and 0.1"),
        ([(0, "a")], r"history must hold \(step, hash, density\)"),
    ],
)
def test_bad_histories_are_refused(history, message):
    with pytest.raises(ValueError, match=message):
        taxonomy_of(history)
