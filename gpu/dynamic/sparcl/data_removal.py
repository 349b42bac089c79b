"""Take the samples that are forgotten least out of the training data of a task, a part at a time."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import SIZE, Integer, Several
from sparsetheory.gpu.dynamic.sparcl.forgetting import ForgettingCounter

__all__ = ["DataRemoval", "check_epochs"]

_EPOCHS = Several(Integer(1))


def check_epochs(name: str, epochs: Sequence[int]) -> Sequence[int]:
    """Return epochs at whose beginning data may leave.

    Raises
    ------
    ValueError
        If they are none, do not rise, or one of them is the first, when nothing is known of the data.
    """
    _EPOCHS.check(name, epochs)
    if not len(epochs) or any(b <= a for a, b in pairwise(epochs)):
        raise ValueError(f"{name} must be in rising order, at least one; got {list(epochs)}")
    return epochs


class DataRemoval:
    """Remove the samples of a task that are forgotten least, in equal parts at the beginning of some epochs.

    What counts is what happened since the removal before: right and wrong presentations, see
    :class:`ForgettingCounter`. The parts are as equal as whole numbers allow, and their sum is exactly `n_remove`.

    Parameters
    ----------
    labels : Tensor of int64 of shape (n,)
        Classes of the samples, whose ids are their places.
    n_remove : int
        Samples to remove in all, below n.
    epochs : sequence of int
        At the beginning of which epochs, counted from 0, in rising order; not 0, when nothing is known.

    Attributes
    ----------
    kept : Tensor of int64
        Ids of the samples that remain, rising.
    counter : ForgettingCounter
        What is known since the last removal.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Wang et al., "SparCL: Sparse Continual Learning on the Edge", NeurIPS 2022, arXiv 2209.09476.

    Examples
    --------
    >>> import torch
    >>> labels = torch.tensor([0, 0, 0, 1, 1])
    >>> removal = DataRemoval(labels, 2, epochs=[1, 2])
    >>> logits = torch.tensor([[3.0, 0.0], [0.0, 3.0], [1.0, 0.0], [0.0, 2.0], [0.0, 1.0]])
    >>> removal.observe(torch.arange(5), logits)
    >>> removal.begin_epoch(1), removal.kept
    (tensor([0]), tensor([1, 2, 3, 4]))
    """

    def __init__(self, labels: Tensor, n_remove: int, epochs: Sequence[int]) -> None:
        labels = torch.as_tensor(labels)
        if labels.ndim != 1 or labels.is_floating_point() or not len(labels):
            raise ValueError(f"labels must be integers of shape (n,); got {labels.dtype} {tuple(labels.shape)}")
        self.labels = labels.detach().cpu().long()
        self.n_remove = Integer(0, len(labels) - 1).check("n_remove", n_remove)
        check_epochs("epochs", epochs)
        parts = [round(n_remove * i / len(epochs)) for i in range(len(epochs) + 1)]
        self._parts = {int(epoch): b - a for epoch, (a, b) in zip(epochs, pairwise(parts), strict=True)}
        self.kept = torch.arange(len(labels))
        self.counter = ForgettingCounter(len(labels))

    @property
    def data_fraction(self) -> float:
        """Share of the samples that remains."""
        return len(self.kept) / len(self.labels)

    def observe(self, ids: Tensor, logits: Tensor) -> None:
        """Add what the model said of some samples before it was updated with them.

        Parameters
        ----------
        ids : Tensor of integers of shape (n,)
        logits : Tensor of shape (n, n_classes)
            Of all classes: a sample that is taken for one of another task is wrong.
        """
        own = torch.as_tensor(ids).to(logits.device)
        self.counter.observe(own, logits, self.labels.to(logits.device)[own])

    def begin_epoch(self, epoch: int) -> Tensor:
        """Remove samples, if the epoch is one to do so.

        Parameters
        ----------
        epoch : int
            Counted from 0.

        Returns
        -------
        Tensor of int64
            Ids of what is removed.

        Raises
        ------
        ValueError
            If a class would be left without samples, or too few samples were presented since the last removal. Nothing
            is changed then.
        """
        n = self._parts.get(SIZE.check("epoch", epoch), 0)
        if not n:
            return torch.empty(0, dtype=torch.int64)
        removed = self.counter.easiest(n, self.kept)
        rest = self.kept[~torch.isin(self.kept, removed)]
        empty = sorted(set(self.labels[self.kept].tolist()) - set(self.labels[rest].tolist()))
        if empty:
            raise ValueError(
                f"n_remove must leave samples of each class; after {n} more at epoch {epoch} class {empty[0]} has none"
            )
        self.kept = rest
        self.counter.reset()
        return removed

    def state_dict(self) -> dict[str, Any]:
        """Return what remains and all counts."""
        return {"kept": self.kept.clone(), "counter": self.counter.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of the same samples."""
        self.counter.load_state_dict(state["counter"])
        self.kept = state["kept"].to("cpu", copy=True)
