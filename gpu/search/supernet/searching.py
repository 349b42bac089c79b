"""Differentiable search over the operations of a chain, and what it found."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsetheory.gpu.core.fit import class_loss
from sparsetheory.gpu.search.random_masks.masked_run import Data
from sparsetheory.gpu.search.supernet.chain import SuperChain

__all__ = ["Architecture", "SkipDominanceWarning", "derive", "search"]


class SkipDominanceWarning(UserWarning):
    """Every edge of a searched chain chose the identity: the known collapse of differentiable search."""


@dataclass(frozen=True, eq=False)
class Architecture:
    """One operation for each edge, and how clear the choice was.

    Parameters
    ----------
    ops : tuple of str
        Names of the chosen operations: of the largest probability, "zero" left out.
    probabilities : Tensor of float64 of shape (n_edges, n_ops)
        Softmax of the architecture parameters at the end; on the CPU.
    entropy : tuple of float
        Of each row of it, in nats. The logarithm of n_ops says that nothing was chosen.
    cost : float
        Of the chosen operations, in dense edges.
    expected_cost : float
        Mean cost under the probabilities, in dense edges.
    losses : Tensor of float64 of shape (n_steps, 2)
        Loss of the training and of the validation batch of each alternating step, without the cost; on the CPU.
    """

    ops: tuple[str, ...]
    probabilities: Tensor
    entropy: tuple[float, ...]
    cost: float
    expected_cost: float
    losses: Tensor


def search(
    model: SuperChain,
    train: Data,
    val: Data,
    steps: int,
    *,
    cost: float = 0.0,
    warmup: int = 0,
    lr: float = 2e-3,
    alpha_lr: float = 2e-2,
    batch_size: int | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = class_loss,
    generator: torch.Generator | int | None = 0,
) -> Architecture:
    raise NotImplementedError


def derive(model: SuperChain) -> nn.Sequential:
    raise NotImplementedError
