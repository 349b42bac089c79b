"""Digits learned two classes at a time, with sparse weights, sparse gradients and fewer data, or without."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from sparsetheory.gpu import core, dynamic
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits
from sparsetheory.typing import Float64Array

__all__ = ["ARMS", "DENSITY", "SHARE_REMOVED", "Arm", "Learned", "Q", "learn"]

DENSITY, Q, SHARE_REMOVED = 0.25, 0.8, 0.3
_N_TASKS, _BATCH, _BUFFER, _LR, _TRAINED = 5, 32, 50, 0.06, 0.7
_WIDTH = 128
# Expansion in the first two epochs of a task, a fixed mask in the last two; data leave in epochs 1 to 4.
_SETTLE, _FREEZE, _EXCHANGE_EVERY, _REMOVAL_EPOCHS = 2, 8, 2, (1, 2, 3, 4)


@dataclass(frozen=True)
class Arm:
    """A way to learn: which parts of the method it has, the width of its layers, and the epochs of each task.

    Parameters
    ----------
    density : float or None
        Of the hidden layers.
    fixed : bool
        Whether their masks stay as they are.
    q : float or None
        Share of the gradients that is not used.
    removed : float
        Share of the data that is removed.
    width : int or None
        None for as many weights as a sparse arm has.
    epochs : int
    """

    density: float | None = None
    fixed: bool = False
    q: float | None = None
    removed: float = 0.0
    width: int | None = _WIDTH
    epochs: int = 10

    def widths(self, n_inputs: int) -> list[int]:
        """Return the units of all layers."""
        width = self.width
        if width is None:
            kept = DENSITY * (n_inputs * _WIDTH + _WIDTH**2) + 10 * _WIDTH
            width = next(w for w in range(_WIDTH, 0, -1) if w * (n_inputs + w + 10) <= kept)
        return [n_inputs, width, width, 10]

    def bounds(self, epoch: int) -> tuple[float, float]:
        """Return the densities after dropping and after growing in an epoch."""
        if self.fixed:
            return DENSITY, DENSITY
        return dynamic.density_path(epoch, DENSITY, settle=_SETTLE, freeze=_FREEZE)

    def hooks(self, model: Any, optimizer: Any, generator: Any) -> Any:
        """Return the method for a model, or None for dense learning with all data."""
        if self.density is None and not self.removed:
            return None
        return dynamic.SparCL(
            model,
            optimizer,
            self.density,
            q=self.q,
            remove_fraction=self.removed,
            removal_epochs=_REMOVAL_EPOCHS,
            path=self.bounds,
            exchange_every=_EXCHANGE_EVERY,
            generator=generator,
        )


# The last three are peers: as many weights that stay where they are, as many weights in a narrow dense network, and as
# many operations of training with all weights and data.
ARMS = {
    "dense": Arm(),
    "sparse weights": Arm(DENSITY),
    "sparse weights and gradients": Arm(DENSITY, q=Q),
    "fewer data": Arm(removed=SHARE_REMOVED),
    "all three": Arm(DENSITY, q=Q, removed=SHARE_REMOVED),
    "fixed random mask": Arm(DENSITY, fixed=True),
    "dense, as many weights": Arm(width=None),
    "dense, 2 epochs a task": Arm(epochs=2),
}


@dataclass(frozen=True, eq=False)
class Learned:
    """A learner after its last task.

    Parameters
    ----------
    accuracies : ndarray of shape (tasks, tasks)
        Accuracy on the test samples of task t after task i, among all ten classes; nan for t > i.
    data_fraction, density : float
        Mean share of the samples, and of the weights of hidden layers, over all epochs.
    n_steps : int
        Steps of the optimiser.
    model : torch.nn.Module
    method : SparCL or None
    """

    accuracies: Float64Array
    data_fraction: float
    density: float
    n_steps: int
    model: Any
    method: Any

    @cached_property
    def report(self) -> Any:
        """What a sparse network is, and how it became so; None for a dense one."""
        import torch

        if self.method is None or not len(self.method.masks):
            return None
        batch = torch.zeros(1, self.model[0].in_features)
        return core.sparsity_report(self.model, self.method.masks, self.method.trajectory, batch)

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
    own = [(y // 2) == task for task in range(_N_TASKS)]
    return [(x[:n][rows[:n]], y[:n][rows[:n]], x[n:][rows[n:]], y[n:][rows[n:]]) for rows in own]


@cache
def learn(name: str, seed: int, loader: str = "load_digits") -> Learned:
    """Learn all tasks in the way of an arm, by DER++ with a buffer of 50 samples."""
    import torch

    arm, tasks = ARMS[name], _tasks(seed, loader)
    model = core.models.MLP(arm.widths(tasks[0][0].shape[1]), generator=seed)
    optimizer = torch.optim.SGD(model.named_parameters(), lr=_LR, momentum=0.9)
    source = torch.Generator().manual_seed(seed)
    buffer = dynamic.ReplayBuffer(_BUFFER, source)
    method = arm.hooks(model, optimizer, source)
    accuracies, densities, fractions, n_steps = np.full((_N_TASKS, _N_TASKS), np.nan), [], [], 0
    with one_thread():
        for task, (x, y, _, _) in enumerate(tasks):
            if method is not None:
                method.begin_task(y)
            for _ in range(arm.epochs):
                rows = torch.arange(len(y)) if method is None else method.begin_epoch()
                for ids in rows[torch.randperm(len(rows), generator=source)].split(_BATCH):
                    found = dynamic.replay_loss(model, buffer, x[ids], y[ids], classes=[2 * task, 2 * task + 1])
                    optimizer.zero_grad()
                    found.loss.backward()
                    optimizer.step()
                    buffer.add(x[ids], y[ids], found.logits)
                    if method is not None:
                        method.observe(ids, found.logits)
                    n_steps += 1
                fractions.append(len(rows) / len(y))
                densities.append(method.masks.density if method is not None and len(method.masks) else 1.0)
            accuracies[task, : task + 1] = [_accuracy(model, *tasks[t][2:]) for t in range(task + 1)]
    return Learned(accuracies, float(np.mean(fractions)), float(np.mean(densities)), n_steps, model, method)


def _accuracy(model: Any, x: Any, y: Any) -> float:
    import torch

    with torch.no_grad():
        return float((model(x).argmax(1) == y).double().mean())
