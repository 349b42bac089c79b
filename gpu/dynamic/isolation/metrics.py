"""Accuracies of tasks learned one after the other: what is kept, what is lost, what helps later ones."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sparsetheory.typing import Float64Array

__all__ = ["ContinualMetrics", "continual_metrics"]


@dataclass(frozen=True, eq=False)
class ContinualMetrics:
    """What a matrix of accuracies says of a sequence of tasks.

    Parameters
    ----------
    acc : float
        Mean accuracy on all tasks after the last one.
    bwt : ndarray of float64 of shape (n_tasks,)
        Backward transfer after each task: the mean change on earlier tasks since each was learned. Negative values are
        forgetting; NaN after the first task.
    fwt : float
        Forward transfer: the mean gain on a task before it is learned, over an untrained network; NaN without those
        accuracies, and for a single task.
    incremental : ndarray of float64 of shape (n_tasks,)
        Mean accuracy after the last task, on the tasks up to each.
    """

    acc: float
    bwt: Float64Array
    fwt: float
    incremental: Float64Array


def continual_metrics(acc_matrix: ArrayLike | Tensor, baseline: ArrayLike | Tensor | None = None) -> ContinualMetrics:
    """Summarise accuracies that were measured after each task.

    Parameters
    ----------
    acc_matrix : array-like or Tensor of float of shape (n_tasks, n_tasks)
        Entry (i, t) is the accuracy on task t after task i was learned, from 0 to 1. Row i must be measured before task
        i + 1 starts: a matrix whose rows are all filled at the end has no backward transfer, whatever was forgotten.
        Entries above the diagonal may be NaN; forward transfer needs the first ones, (t - 1, t).
    baseline : array-like or Tensor of float of shape (n_tasks,), optional
        Accuracy of the untrained network on each task.

    Numbers of any precision are taken as they are, and counted with in float64.

    Returns
    -------
    ContinualMetrics

    Raises
    ------
    ValueError
        If the matrix is not square, or an entry that is needed is not a number from 0 to 1.

    References
    ----------
    D. Lopez-Paz, M. Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017.

    Examples
    --------
    >>> found = continual_metrics([[0.9, 0.5], [0.8, 1.0]], baseline=[0.5, 0.4])
    >>> round(found.acc, 6), round(float(found.bwt[1]), 6), round(found.fwt, 6)
    (0.9, -0.1, 0.1)
    """
    matrix = _array("acc_matrix", acc_matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ValueError(f"acc_matrix must have shape (n_tasks, n_tasks); got {matrix.shape}")
    n_tasks = len(matrix)
    _require_shares("acc_matrix, up to its diagonal,", matrix[np.tril_indices(n_tasks)])
    learned, last = np.diagonal(matrix), matrix[-1]
    bwt = np.array([np.mean(matrix[i, :i] - learned[:i]) if i else math.nan for i in range(n_tasks)])
    fwt = math.nan
    if baseline is not None:
        untrained = _array("baseline", baseline)
        if untrained.shape != (n_tasks,):
            raise ValueError(f"baseline must have shape ({n_tasks},); got {untrained.shape}")
        before = np.diagonal(matrix, 1)
        _require_shares("baseline", untrained)
        _require_shares("acc_matrix above its diagonal, with a baseline,", before)
        fwt = float(np.mean(before - untrained[1:])) if n_tasks > 1 else math.nan
    return ContinualMetrics(float(last.mean()), bwt, fwt, np.cumsum(last) / np.arange(1, n_tasks + 1))


def _array(name: str, values: Any) -> Float64Array:
    """Return numbers as an array, from tensors of any device and dtype, and from sequences of these."""
    try:
        return np.array(_plain(values), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers in rows of one length; got {values!r}") from error


def _plain(values: Any) -> Any:
    # numpy would call the older protocol of tensors, with a warning, and cannot read those of a GPU, of bfloat16 or
    # with a gradient.
    if isinstance(values, Tensor):
        return values.detach().to("cpu", torch.float64).numpy()
    return [_plain(part) for part in values] if isinstance(values, list | tuple) else values


def _require_shares(name: str, values: Float64Array) -> None:
    # Written so that NaN is refused too.
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"{name} must hold numbers from 0 to 1; got {values[~((values >= 0) & (values <= 1))][0]}")
