"""Other ways to learn pairs of digits: pruning after each pair, one network for all in turn, and all at once."""

from typing import Any

import numpy as np

from sparsetheory.gpu import core, dynamic
from sparsetheory.proofs_checks.dynamic_sparsity.isolation.split_pictures import (
    BATCH,
    CLASSES,
    HEAD,
    N_TASKS,
    RATE,
    Pictures,
    Sequence,
    fit,
    judge,
    judge_all,
    make_network,
    n_steps,
    outputs_of,
    pairs,
)
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread

__all__ = ["DENSE_SHARE", "learn_jointly", "learn_packnet"]

# Share of the steps on a pair before it is pruned.
DENSE_SHARE = 2 / 3


def learn_packnet(density: float, pictures: Pictures, seed: int) -> Sequence:
    """Train each pair on all that is free, prune to a density, and train what is left."""
    import torch

    model = make_network(pictures, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    tasks = dynamic.TaskIsolation(
        model, optimizer, 1.0, fraction=0.0, fresh="zero", generator=seed, head=HEAD, init="uniform"
    )
    accuracies = []
    for task in range(N_TASKS):
        tasks.begin_task(task, outputs_of(task))
        fit(model, optimizer, task, pictures, seed, DENSE_SHARE)
        tasks.prune(density)
        fit(model, optimizer, task, pictures, seed, 1 - DENSE_SHARE)
        tasks.end_task()
        accuracies.append(judge_all(tasks, task + 1, pictures, seed))
    return Sequence(np.array(accuracies), tasks)


def learn_jointly(pictures: Pictures, seed: int) -> float:
    """Train a dense network on all pairs at once, for as many steps in all; return the mean accuracy."""
    import torch

    model, data = make_network(pictures, seed), pairs(pictures, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    x = torch.cat([part[0] for part in data])
    y = torch.cat([part[1] + CLASSES * task for task, part in enumerate(data)])

    def loss(output: Any, targets: Any) -> Any:
        own = output.reshape(len(output), N_TASKS, CLASSES)[torch.arange(len(output)), targets // CLASSES]
        return core.class_loss(own, targets % CLASSES)

    steps = sum(n_steps(pictures, seed))
    with one_thread():
        core.train(model, x, y, optimizer=optimizer, n_steps=steps, batch_size=BATCH, loss=loss, generator=seed)
    return float(np.mean([judge(model, task, pictures, seed) for task in range(N_TASKS)]))
