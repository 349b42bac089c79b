"""How far the probabilities of a gate are from the block maxima of the attention that it imitates."""

import math
from typing import Literal

import torch
from torch import Tensor

from sparsetheory.constraints import Choice, Real

__all__ = ["Reduction", "gate_loss", "kl_rows"]

Reduction = Literal["mean_elements", "kl_row"]


def gate_loss(
    logits: Tensor, target: Tensor, reduction: Reduction = "mean_elements", *, skip_rows: float = 0.0
) -> Tensor:
    """Return the Kullback-Leibler divergence of a gate from its target.

    Parameters
    ----------
    logits : Tensor of shape (..., query blocks, key blocks)
        Scores of a gate; minus infinity where nothing may be seen, and there the target must be 0.
    target : Tensor of the same shape
        Rows sum to 1, or are zero where a row does not count.
    reduction : {"mean_elements", "kl_row"}
        "mean_elements" divides the sum of all divergences by the number of all elements, as ``torch.nn.KLDivLoss``
        does by default and as the gate was trained: rows that do not count and pairs that are not seen add to that
        number. "kl_row" is the mean divergence of the rows that count, in nats.
    skip_rows : float
        Share of the block rows that are left out, the first ones; 0.25 in the training of the paper.

    Returns
    -------
    Tensor of shape ()

    Raises
    ------
    ValueError
        If an argument is not as above, or no row counts.

    Examples
    --------
    >>> import torch
    >>> target = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    >>> gate_loss(torch.zeros(2, 2), target, "kl_row")  # half the logarithm of 2
    tensor(0.3466)
    >>> gate_loss(torch.zeros(2, 2), target)
    tensor(0.1733)
    """
    Choice("mean_elements", "kl_row").check("reduction", reduction)
    Real(0, 1, "left").check("skip_rows", skip_rows)
    if logits.shape != target.shape:
        raise ValueError(f"target must have the shape of logits, {tuple(logits.shape)}; got {tuple(target.shape)}")
    first = math.floor(skip_rows * logits.shape[-2])
    logits, target = logits[..., first:, :], target[..., first:, :]
    divergences = kl_rows(logits, target)
    if reduction == "mean_elements":
        return divergences.sum() / target.numel()
    counted = target.sum(-1) > 0
    if not bool(counted.any()):
        raise ValueError("target must hold a row that is not zero")
    return divergences.sum() / counted.sum()


def kl_rows(logits: Tensor, target: Tensor) -> Tensor:
    """Return ``sum_j t_j log(t_j / softmax(logits)_j)`` of every row; terms with ``t_j = 0`` are 0."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    # A row that sees nothing has no softmax. It has no target either, so any finite scores give it the loss 0.
    blind = (logits == -torch.inf).all(-1, keepdim=True)
    log_p = torch.log_softmax(logits.to(wide).masked_fill(blind, 0.0), dim=-1)
    target = target.to(wide)
    # Not 0 * (-inf), which is not a number: pairs without target have no part in the sum.
    return torch.where(target > 0, torch.xlogy(target, target) - target * log_p, 0.0).sum(-1)
