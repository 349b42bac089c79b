"""The small training loop of our own experiments; no method asks a user to adopt it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LRScheduler

from sparsetheory.constraints import COUNT, MISSING
from sparsetheory.gpu.core.modes import in_mode
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["Training", "class_loss", "row_batches", "train"]


@dataclass(frozen=True, eq=False)
class Training:
    """What a training run was.

    Parameters
    ----------
    losses : Tensor of float64 of shape (n_steps,)
        Loss of the batch of each step, before the step; on the CPU.
    """

    losses: Tensor


def class_loss(output: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats, for one label per sample or one per position.

    Parameters
    ----------
    output : Tensor of shape (..., n_classes)
        Logits.
    targets : Tensor of int64 of shape (...)

    Returns
    -------
    Tensor of shape ()

    Examples
    --------
    >>> import torch
    >>> class_loss(torch.zeros(3, 2), torch.tensor([0, 1, 1]))  # the logarithm of 2
    tensor(0.6931)
    """
    return functional.cross_entropy(output.flatten(0, -2), targets.flatten())


def train(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    optimizer: torch.optim.Optimizer,
    n_steps: int,
    batch_size: int | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = class_loss,
    scheduler: LRScheduler | None = None,
    generator: torch.Generator | int | None = 0,
) -> Training:
    """Train a model on data that fit in memory, for a number of optimiser steps.

    Methods join in by torch's own hooks: on the optimiser, on modules, by parametrisations.

    Parameters
    ----------
    model : torch.nn.Module
        Trained in place and in training mode; the modes of all its modules are restored.
    inputs : Tensor of shape (n, ...)
    targets : Tensor of shape (n, ...)
        On the device of the model, as the inputs.
    optimizer : torch.optim.Optimizer
        Of the parameters to train.
    n_steps : int
        Steps; an epoch has ``ceil(n / batch_size)``.
    batch_size : int, optional
        Rows of a batch; by default all. Each epoch has its own order, and its last batch may be smaller.
    loss : callable
        From the output of the model and the targets to a scalar; by default the mean cross-entropy.
    scheduler : torch.optim.lr_scheduler.LRScheduler, optional
        Stepped after each step of the optimiser.
    generator : torch.Generator, int or None
        Source of the orders, drawn on the CPU.

    Returns
    -------
    Training

    Raises
    ------
    ValueError
        If inputs and targets do not have equally many rows.
    FloatingPointError
        If the loss is not finite; the message names the step.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core.models import MLP
    >>> x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    >>> model = MLP([4, 16, 2])
    >>> adam = torch.optim.Adam(model.parameters(), lr=0.01)
    >>> run = train(model, x, (x[:, 0] > 0).long(), optimizer=adam, n_steps=100, batch_size=50)
    >>> bool(run.losses[-1] < 0.3 * run.losses[0])
    True
    """
    COUNT.require(n_steps=n_steps)
    (MISSING | COUNT).require(batch_size=batch_size)
    if len(inputs) != len(targets) or not len(inputs):
        raise ValueError(f"inputs and targets must have equally many rows; got {len(inputs)} and {len(targets)}")
    batches = row_batches(len(inputs), batch_size, cpu_generator(generator))
    losses = torch.empty(n_steps, dtype=torch.float64)
    with in_mode(model, training=True):
        for step in range(n_steps):
            rows = next(batches)
            # A full batch is the data themselves: no copy.
            x, y = (inputs, targets) if rows is None else (part[rows.to(part.device)] for part in (inputs, targets))
            optimizer.zero_grad()
            value = loss(model(x), y)
            if not value.isfinite():
                raise FloatingPointError(f"the loss is {value.item()} at step {step}")
            value.backward()
            optimizer.step()
            losses[step] = value.detach()
            if scheduler is not None:
                scheduler.step()
    return Training(losses)


def row_batches(n: int, batch_size: int | None, generator: torch.Generator) -> Iterator[Tensor | None]:
    """Yield the rows of batches without end; None stands for all rows in their order."""
    while True:
        if batch_size is None or batch_size >= n:
            yield None
        else:
            yield from torch.randperm(n, generator=generator).split(batch_size)
