"""A rectifier that keeps the k largest activations of each token."""

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.activations.selectors import Largest

__all__ = ["TopK", "topk_relu"]


def topk_relu(x: Tensor, n_nonzero: int) -> Tensor:
    """Return the rectified inputs, of which each token keeps the largest only.

    Parameters
    ----------
    x : Tensor of shape (..., features)
        Without NaN.
    n_nonzero : int
        How many stay, from 1 to all features; the lowest index wins ties. Where fewer are positive, all of these do.

    Returns
    -------
    Tensor of shape (..., features)
        The closest vector to ``relu(x)`` with so few entries, in every l_p norm. Gradients pass through kept positive
        entries.

    Notes
    -----
    As a projection onto sparse vectors this is the step of iterative hard thresholding. O(features) for each token.

    Examples
    --------
    >>> import torch
    >>> topk_relu(torch.tensor([[1.0, 3.0, -9.0, 2.0], [-1.0, -2.0, 0.5, -4.0]]), 2)
    tensor([[0.0000, 3.0000, 0.0000, 2.0000],
            [0.0000, 0.0000, 0.5000, 0.0000]])
    """
    return torch.relu(x).masked_fill(~Largest(n_nonzero)(x), 0)


class TopK(nn.Module):
    """The activation :func:`topk_relu`, in training and in inference.

    Parameters
    ----------
    n_nonzero : int
        Activations that each token keeps.

    Notes
    -----
    A network of widths d and f then needs ``2 d f + 2 d k`` operations in place of ``4 d f``, if the second product
    skips zeros, as :class:`SparseLinear` does.

    Source: Z. Li et al., "The Lazy Neuron Phenomenon: On Emergence of Activation Sparsity in Transformers", ICLR 2023,
    arXiv 2210.06313. The formula is reconstructed from its words.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(8, 64), TopK(4), nn.Linear(64, 2))
    >>> int((model[:2](torch.ones(1, 8)) != 0).sum()) <= 4
    True
    """

    def __init__(self, n_nonzero: int) -> None:
        super().__init__()
        self.n_nonzero = COUNT.check("n_nonzero", n_nonzero)

    def forward(self, x: Tensor) -> Tensor:
        """Return activations of the shape of ``x``, (..., features)."""
        return topk_relu(x, self.n_nonzero)

    def extra_repr(self) -> str:
        """Return what a printed model says of it."""
        return f"n_nonzero={self.n_nonzero}"
