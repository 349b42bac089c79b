"""Digits learned two classes at a time, with sparse weights, sparse gradients and fewer data, or without."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from sparsetheory.gpu import core, dynamic
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits
from sparsetheory.typing import Float64Array

__all__ = ["ARMS", "DENSITY", "EPOCHS", "SHARE_REMOVED", "Learned", "Q", "learn"]

DENSITY, Q, SHARE_REMOVED = 0.25, 0.8, 0.3
EPOCHS, N_TASKS = 10, 5
_BATCH, _BUFFER, _WIDTH = 32, 50, 128
# Expansion in the first two epochs of a task, a fixed mask in the last two; data leave in epochs 1 to 4.
_SETTLE, _FREEZE, _EXCHANGE_EVERY, _REMOVAL_EPOCHS = 2, 8, 2, (1, 2, 3, 4)
_TRAINED, _LR = 0.7, 0.06

ARMS: dict[str, tuple[str, ...]] = {
    "dense": (),
    "sparse weights": ("weights",),
    "sparse gradients": ("weights", "gradients"),
    "fewer data": ("data",),
    "all three": ("weights", "gradients", "data"),
}


@dataclass(frozen=True, eq=False)
class Learned:
    """A learner after its last task.

    Parameters
    ----------
    accuracies : ndarray of shape (tasks, tasks)
        Accuracy on the test samples of task t after task i, among all ten classes; nan for t > i.
    data_fraction : float
        Mean share of the samples that an epoch was trained with.
    density : float
        Mean density of the sparse layers over the epochs.
    report : SparsityReport or None
        What a sparse arm is and how it became so.
    """

    accuracies: Float64Array
    data_fraction: float
    density: float
    report: Any

    @property
    def accuracy(self) -> float:
        """Mean accuracy of all tasks at the end."""
        return float(self.accuracies[-1].mean())

    @property
    def forgetting(self) -> float:
        """How much accuracy the earlier tasks have lost since they were learned, on average."""
        return float((np.diag(self.accuracies) - self.accuracies[-1])[:-1].mean())


@cache
def _tasks(seed: int, loader: str) -> list[tuple[Any, ...]]:
    """Return training inputs and labels, then those to judge by, of each task."""
    x, y = shuffled_digits(seed, loader)
    n = int(_TRAINED * len(y))
    parts = []
    for task in range(N_TASKS):
        own = (y // 2) == task
        own_train, own_test = own[:n], own[n:]
        parts.append((x[:n][own_train], y[:n][own_train], x[n:][own_test], y[n:][own_test]))
    return parts


@cache
def learn(arm: str, seed: int, loader: str = "load_digits") -> Learned:
    """Learn all tasks with the parts of an arm, by DER++ with a buffer of 50 samples."""
    import torch

    tasks = _tasks(seed, loader)
    model = core.models.MLP([tasks[0][0].shape[1], _WIDTH, _WIDTH, 10], generator=seed)
    optimizer = torch.optim.SGD(model.named_parameters(), lr=_LR, momentum=0.9)
    source = torch.Generator().manual_seed(seed)
    buffer = dynamic.ReplayBuffer(_BUFFER, source)
    method = _method(arm, model, optimizer, source)
    accuracies, densities, fractions = np.full((N_TASKS, N_TASKS), np.nan), [], []
    with one_thread():
        for task, (x, y, _, _) in enumerate(tasks):
            if method is not None:
                method.begin_task(y)
            for _ in range(EPOCHS):
                rows = torch.arange(len(y)) if method is None else method.begin_epoch()
                fractions.append(len(rows) / len(y))
                for ids in rows[torch.randperm(len(rows), generator=source)].split(_BATCH):
                    found = dynamic.replay_loss(model, buffer, x[ids], y[ids], classes=[2 * task, 2 * task + 1])
                    optimizer.zero_grad()
                    found.loss.backward()
                    optimizer.step()
                    buffer.add(x[ids], y[ids], found.logits)
                    if method is not None:
                        method.observe(ids, found.logits)
                densities.append(method.masks.density if method is not None and len(method.masks) else 1.0)
            accuracies[task, : task + 1] = [_accuracy(model, *tasks[t][2:]) for t in range(task + 1)]
    report = _report(model, method, tasks[0][0])
    return Learned(accuracies, float(np.mean(fractions)), float(np.mean(densities)), report)


def _accuracy(model: Any, x: Any, y: Any) -> float:
    import torch

    with torch.no_grad():
        return float((model(x).argmax(1) == y).double().mean())


def _method(arm: str, model: Any, optimizer: Any, generator: Any) -> Any:
    chosen = ARMS[arm]
    if not chosen:
        return None
    return dynamic.SparCL(
        model,
        optimizer,
        DENSITY if "weights" in chosen else None,
        q=Q if "gradients" in chosen else None,
        remove_fraction=SHARE_REMOVED if "data" in chosen else 0.0,
        removal_epochs=_REMOVAL_EPOCHS,
        path=lambda epoch: dynamic.density_path(epoch, DENSITY, settle=_SETTLE, freeze=_FREEZE),
        exchange_every=_EXCHANGE_EVERY,
        generator=generator,
    )


def _report(model: Any, method: Any, batch: Any) -> Any:
    if method is None or not len(method.masks):
        return None
    return core.sparsity_report(model, method.masks, method.trajectory, batch[:1])
