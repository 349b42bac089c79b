"""Losses that rehearse stored samples beside new ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.constraints import COUNT, MISSING, NONNEGATIVE, Choice
from sparsetheory.gpu.dynamic.sparcl.replay_buffer import ReplayBuffer, Replayed

__all__ = ["ReplayLoss", "replay_loss"]


@dataclass(frozen=True, eq=False)
class ReplayLoss:
    """A loss, and what the model said of the new samples.

    Parameters
    ----------
    loss : Tensor of shape ()
        To go backward from.
    logits : Tensor of shape (n, n_classes)
        Detached; those to store in the buffer with the samples.
    """

    loss: Tensor
    logits: Tensor


def replay_loss(
    model: nn.Module,
    buffer: ReplayBuffer,
    inputs: Tensor,
    labels: Tensor,
    *,
    method: str = "der++",
    alpha: float = 0.1,
    beta: float = 0.5,
    classes: Sequence[int] | None = None,
    batch_size: int | None = None,
) -> ReplayLoss:
    """Return the loss of a batch of new samples and of samples from a buffer.

    It is the mean cross-entropy of the new samples, plus

    ========  ================================================================================================
    method    what is added
    ========  ================================================================================================
    "er"      beta times the mean cross-entropy of stored samples
    "der"     alpha times the mean squared difference of logits of stored samples to those stored with them
    "der++"   both, for two separate draws
    ========  ================================================================================================

    Nothing is added while the buffer is empty. The buffer is not changed: after the step,
    ``buffer.add(inputs, labels, found.logits)`` shows it the new samples.

    Parameters
    ----------
    model : torch.nn.Module
        From inputs to logits of all classes.
    buffer : ReplayBuffer
    inputs : Tensor of shape (n, ...)
    labels : Tensor of int64 of shape (n,)
    method : {"er", "der", "der++"}
    alpha, beta : float
        Weights of logits and of labels, at least 0.
    classes : sequence of int, optional
        Classes of the present task. The cross-entropy of new samples then sees no other logits, so that it does not
        push down classes of earlier tasks.
    batch_size : int, optional
        Stored samples of a draw; by default as many as there are new ones.

    Returns
    -------
    ReplayLoss

    Raises
    ------
    ValueError
        If an argument is out of range or without rows, a label is not one of `classes`, or logits are needed and not
        stored.

    References
    ----------
    Buzzega et al., "Dark Experience for General Continual Learning: a Strong, Simple Baseline", NeurIPS 2020.

    Examples
    --------
    >>> import torch
    >>> model, buffer = torch.nn.Linear(2, 4), ReplayBuffer(8, generator=0)
    >>> x, y = torch.ones(3, 2), torch.tensor([2, 3, 3])
    >>> found = replay_loss(model, buffer, x, y, classes=[2, 3])
    >>> buffer.add(x, y, found.logits)
    >>> replay_loss(model, buffer, x, y, classes=[2, 3]).loss > found.loss
    tensor(True)
    """
    Choice("er", "der", "der++").check("method", method)
    NONNEGATIVE.require(alpha=alpha, beta=beta)
    if not len(inputs):
        raise ValueError("inputs must have at least 1 row; got none")
    n = len(inputs) if (MISSING | COUNT).check("batch_size", batch_size) is None else int(batch_size or 0)
    logits = model(inputs)
    loss = functional.cross_entropy(_only(logits, labels, classes), labels)
    if len(buffer) and method != "er":
        stored = buffer.draw(n)
        loss = loss + alpha * functional.mse_loss(model(stored.inputs), _logits(stored, method))
    if len(buffer) and method != "der":
        stored = buffer.draw(n)
        loss = loss + beta * functional.cross_entropy(model(stored.inputs), stored.labels)
    return ReplayLoss(loss, logits.detach())


def _only(logits: Tensor, labels: Tensor, classes: Sequence[int] | None) -> Tensor:
    """Return logits that are -inf for all other classes."""
    if classes is None:
        return logits
    allowed = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
    allowed[list(classes)] = True
    if not bool(allowed[labels].all()):
        raise ValueError(f"labels must be among classes, {list(classes)}; got {labels.unique().tolist()}")
    return logits.masked_fill(~allowed, -torch.inf)


def _logits(stored: Replayed, method: str) -> Tensor:
    if stored.logits is None:
        raise ValueError(f"method {method!r} must have logits in the buffer; it was filled without them")
    return stored.logits
