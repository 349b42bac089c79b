"""Small networks in subspaces: drawn at random for identities, and trained on handwritten digits."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from sparsetheory.gpu import core, dimension
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits

__all__ = [
    "KINDS",
    "LR",
    "N_TRAIN",
    "Task",
    "accuracy",
    "digits",
    "fitted",
    "in_subspace",
    "map_seed",
    "network",
    "seed_of",
    "shifted",
]

KINDS = ("DenseProjection", "SparseProjection", "FastfoodProjection")
N_TRAIN = 1000
# Learning rates that direct training and a subspace want, with steps of Adam on all samples at once.
LR = {"direct": 3e-3, "subspace": 0.3}
_SIZE, _N_CLASSES = 8, 10


@dataclass(frozen=True, eq=False)
class Task:
    """Pictures and classes to train on, and those to judge by."""

    x: Any
    y: Any
    held_x: Any
    held_y: Any

    def few(self, n: int) -> "Task":
        """Return the task with fewer samples to train on."""
        return Task(self.x[:n], self.y[:n], self.held_x, self.held_y)

    def of_classes(self, first: int, last: int) -> "Task":
        """Return the task with a range of classes only."""
        rows, held = ((y >= first) & (y < last) for y in (self.y, self.held_y))
        return Task(self.x[rows], self.y[rows], self.held_x[held], self.held_y[held])


@cache
def digits(seed: int) -> Task:
    """Return the digits in the order of a seed: 1000 to train on, 797 to judge by."""
    x, y = shuffled_digits(seed)
    return Task(x[:N_TRAIN], y[:N_TRAIN], x[N_TRAIN:], y[N_TRAIN:])


def shifted(task: Task) -> Task:
    """Return the same task with all pictures one pixel further right."""
    from torch.nn import functional

    def moved(x: Any) -> Any:
        return functional.pad(x.reshape(-1, _SIZE, _SIZE), (1, 0))[..., :_SIZE].flatten(1)

    return Task(moved(task.x), task.y, moved(task.held_x), task.held_y)


def network(seed: int, width: int = 64, n_inputs: int = _SIZE**2) -> Any:
    """Return a perceptron with one hidden layer, as torch initialises linear layers."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(n_inputs, width), nn.ReLU(), nn.Linear(width, _N_CLASSES))


def fitted(
    model: Any, task: Task, lr: float, n_steps: int, *, batch_size: int | None = None, head_lr: float | None = None
) -> Any:
    """Train a model in place, by Adam with a cosine schedule, and return it.

    What a model in a subspace trains directly, its head, may have a rate of its own.
    """
    import torch

    trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
    # A model in a subspace has its t and scales beside the module, and what is trained directly within it.
    heads = [name for name in trained if head_lr is not None and name.startswith("module.")]
    groups: list[dict[str, Any]] = [{"params": [one for name, one in trained.items() if name not in heads], "lr": lr}]
    if heads:
        groups.append({"params": [trained[name] for name in heads], "lr": head_lr})
    optimizer = torch.optim.Adam(groups)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    with one_thread():
        core.train(
            model, task.x, task.y, optimizer=optimizer, scheduler=scheduler, n_steps=n_steps, batch_size=batch_size
        )
    return model


def in_subspace(module: Any, n_components: int, kind: str = KINDS[1], seed: int = 0, **options: Any) -> Any:
    """Return a network in a random subspace."""
    make: Callable[[int], Any] = partial(getattr(dimension, kind), n_components, generator=map_seed(seed))
    return dimension.SubspaceModel(module, make, **options)


def accuracy(model: Any, task: Task) -> float:
    """Return the share of held-out samples that are right."""
    import torch

    with torch.no_grad():
        return core.accuracy(model(task.held_x), task.held_y)


def map_seed(seed: int) -> int:
    """Return a seed for the map of a run, so that it is not drawn from the numbers that the weights are drawn from."""
    return int(np.random.default_rng([seed, 2]).integers(2**31))


def seed_of(rng: np.random.Generator) -> int:
    """Return a seed for an order of the digits, weights and a projection."""
    return int(rng.integers(2**31))
