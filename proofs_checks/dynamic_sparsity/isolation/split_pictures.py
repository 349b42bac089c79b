"""Digits two by two, one pair after the other, in one small network: accuracies after each pair."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from sparsetheory.gpu import core, dynamic
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits
from sparsetheory.typing import Float64Array

__all__ = [
    "DIGITS",
    "GROWTHS",
    "MNIST",
    "Arm",
    "Pictures",
    "Sequence",
    "fit",
    "fraction_of",
    "judge",
    "judge_all",
    "learn",
    "make_network",
    "n_steps",
    "outputs_of",
    "pairs",
]

N_TASKS, CLASSES = 5, 2
HIDDEN, EPOCHS, BATCH, RATE, EVERY = 64, 12, 32, 5e-3, 10
HEAD = "4"


@dataclass(frozen=True)
class Pictures:
    """Pictures of digits, and how they are divided.

    Parameters
    ----------
    title : str
    loader : str
        Of :mod:`sparsetheory.gpu.core.datasets`.
    n_train : int
        Pictures to train on; the others judge.
    """

    title: str
    loader: str
    n_train: int


DIGITS = Pictures("digits, 8 x 8", "load_digits", 1258)
MNIST = Pictures("MNIST, 28 x 28", "load_mnist_5k", 3500)


# How masks change: what grows, and the count of :func:`training_flops`. A static mask grows nothing.
GROWTHS: dict[str, tuple[Callable[[], Any], str]] = {
    "static": (lambda: dynamic.random_order, "static"),
    "random": (lambda: dynamic.random_order, "set"),
    "unfired": (lambda: dynamic.unfired_first, "set"),
    "gradient": (lambda: dynamic.gradient_magnitude, "rigl"),
    "masked moment": (lambda: dynamic.MomentumScore(dense=False), "set"),
    "dense moment": (lambda: dynamic.MomentumScore(0.9, 0.999), "dense_gradient"),
}


@dataclass(frozen=True)
class Arm:
    """One way to learn the pairs.

    Parameters
    ----------
    density : float
    init : str
    grow : str
        A key of `GROWTHS`.
    seed : int
        Of the order of the pictures, the network, the masks and the batches.
    fresh : str
        As :class:`TaskIsolation` takes it.
    own_outputs : bool
        Whether the masks of a pair keep clear of the outputs of other pairs. Published code has masks over the whole
        last layer: a pair then also uses weights of outputs that it does not train, and later pairs find them random.
    share : float
        Of the steps on each pair.
    """

    density: float
    init: str
    grow: str
    seed: int
    fresh: str = "init"
    own_outputs: bool = True
    share: float = 1.0


@dataclass(frozen=True, eq=False)
class Sequence:
    """What came of it.

    Parameters
    ----------
    accuracies : ndarray of float64 of shape (n_tasks, n_tasks)
        Entry (i, t): on pair t after pair i; NaN where t is later.
    tasks : TaskIsolation
        With the masks and weights of all pairs.
    """

    accuracies: Float64Array
    tasks: Any

    @property
    def metrics(self) -> Any:
        """Averages and backward transfer."""
        return dynamic.continual_metrics(self.accuracies)


@cache
def pairs(pictures: Pictures, seed: int) -> list[tuple[Any, Any, Any, Any]]:
    """Return for each pair of classes inputs and labels, 0 or 1, to train on, then those to judge by."""
    x, y = shuffled_digits(seed, pictures.loader)
    found = []
    for task in range(N_TASKS):
        part = []
        for rows in (slice(pictures.n_train), slice(pictures.n_train, None)):
            own = y[rows] // CLASSES == task
            part += [x[rows][own], y[rows][own] - CLASSES * task]
        found.append(tuple(part))
    return found


def outputs_of(task: int) -> range:
    """Return the outputs of the network that belong to a pair."""
    return range(CLASSES * task, CLASSES * (task + 1))


def judge(model: Any, task: int, pictures: Pictures, seed: int) -> float:
    """Return the share of pictures of a pair that are told apart, by the outputs of the pair."""
    import torch

    x, y = pairs(pictures, seed)[task][2:]
    own = outputs_of(task)
    with torch.no_grad():
        return core.accuracy(model(x)[:, own.start : own.stop], y)


def make_network(pictures: Pictures, seed: int) -> Any:
    """Return a network with an output for each digit."""
    inputs = pairs(pictures, seed)[0][0].shape[1]
    return core.models.MLP((inputs, HIDDEN, HIDDEN, CLASSES * N_TASKS), bias=False, generator=seed)


def n_steps(pictures: Pictures, seed: int) -> list[int]:
    """Return the steps on each pair."""
    return [EPOCHS * math.ceil(len(part[0]) / BATCH) for part in pairs(pictures, seed)]


def fraction_of(arm: Arm, pictures: Pictures) -> Any:
    """Return which share of a task's own weights moves, by its steps: none after three quarters of the task."""
    least = round(arm.share * min(n_steps(pictures, arm.seed)))
    return 0.0 if arm.grow == "static" else core.Cosine(0.3, 3 * least // 4)


def fit(model: Any, optimizer: Any, task: int, pictures: Pictures, seed: int, share: float = 1.0) -> None:
    """Train on a pair, by the loss of its own outputs, for a share of its steps."""
    x, y, _, _ = pairs(pictures, seed)[task]
    own, steps = outputs_of(task), round(share * n_steps(pictures, seed)[task])

    def loss(output: Any, targets: Any) -> Any:
        return core.class_loss(output[:, own.start : own.stop], targets)

    with one_thread():
        core.train(model, x, y, optimizer=optimizer, n_steps=steps, batch_size=BATCH, loss=loss, generator=seed + task)


def judge_all(tasks: Any, n_learned: int, pictures: Pictures, seed: int) -> Float64Array:
    """Return the accuracies of isolated pairs, each shown as it ended; NaN for those that come later."""
    found = np.full(N_TASKS, np.nan)
    for task in range(n_learned):
        with tasks.masked(task) as shown:
            found[task] = judge(shown, task, pictures, seed)
    return found


def learn(arm: Arm, pictures: Pictures = DIGITS) -> Sequence:
    """Learn all pairs with task isolation, and judge after each pair on all so far."""
    import torch

    model = make_network(pictures, arm.seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    grow, _ = GROWTHS[arm.grow]
    tasks = dynamic.TaskIsolation(
        model,
        optimizer,
        arm.density,
        arm.init,
        grow(),
        fraction=fraction_of(arm, pictures),
        every=EVERY,
        fresh=arm.fresh,
        generator=arm.seed,
        head=HEAD,
    )
    accuracies = []
    for task in range(N_TASKS):
        tasks.begin_task(task, outputs_of(task) if arm.own_outputs else None)
        fit(model, optimizer, task, pictures, arm.seed, arm.share)
        tasks.end_task()
        accuracies.append(judge_all(tasks, task + 1, pictures, arm.seed))
    return Sequence(np.array(accuracies), tasks)
