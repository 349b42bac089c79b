"""Scales of blocks of a weight, trained beside it and folded into it."""

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT

__all__ = ["WeightScaling"]


class WeightScaling(nn.Module):
    """Multiply a weight by one trained scale for each row and block of columns.

    The columns are cut into `groups` consecutive blocks of equal width. Scales start at 1. They do not change which
    entries are zero, and :func:`finalize` folds them into the weight. Attach it with
    ``torch.nn.utils.parametrize.register_parametrization(layer, "weight", WeightScaling(layer.weight.shape))``.

    Parameters
    ----------
    shape : sequence of int
        Of the weight, (out, in).
    groups : int
        Blocks of columns; it must divide their number.
    dtype, device : optional
        Of the scales; those of the weight, usually.

    Notes
    -----
    Source: Huang, Hu, Zhu, Chen, "CAST: Continuous and Differentiable Semi-Structured Sparsity-Aware Training for
    Large Language Models", 2025.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from torch.nn.utils import parametrize
    >>> layer = nn.Linear(4, 2)
    >>> _ = parametrize.register_parametrization(layer, "weight", WeightScaling(layer.weight.shape))
    >>> layer(torch.ones(1, 4)).shape
    torch.Size([1, 2])
    """

    def __init__(
        self,
        shape: "torch.Size | tuple[int, int]",
        groups: int = 2,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        COUNT.check("groups", groups)
        if len(shape) != 2 or shape[1] % groups:
            raise ValueError(f"shape must have two axes and a multiple of {groups} columns; got {tuple(shape)}")
        self.scales = nn.Parameter(torch.ones(shape[0], groups, dtype=dtype, device=device))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the scaled weight."""
        rows, groups = self.scales.shape
        return (weight.reshape(rows, groups, -1) * self.scales.unsqueeze(2)).reshape(weight.shape)
