"""FATReLU: a rectifier that also drops what is positive and small."""

import torch
from torch import Tensor, nn

from sparsetheory.constraints import NONNEGATIVE

__all__ = ["FATReLU"]


class FATReLU(nn.Module):
    """The activation ``x if x >= threshold else 0``; with threshold 0 it is ReLU.

    It differs from ReLU by at most the threshold t, and only on ``0 < x < t``. It is the proximal operator of
    ``(t^2 / 2) ||z||_0`` over ``z >= 0``: zero costs ``x^2 / 2`` there, and x itself costs ``t^2 / 2``. At ``x = t``
    both are minimisers, and x is taken.

    Parameters
    ----------
    threshold : float
        At least 0.

    Notes
    -----
    Gradients pass where x is kept. The jump at the threshold has none, so training does not see it; the paper sets a
    threshold after training.

    Source: C. Song et al., "ProSparse: Introducing and Enhancing Intrinsic Activation Sparsity within Large Language
    Models", COLING 2025, arXiv 2402.13516.

    Examples
    --------
    >>> import torch
    >>> FATReLU(0.5)(torch.tensor([-1.0, 0.2, 0.5, 2.0]))
    tensor([0.0000, 0.0000, 0.5000, 2.0000])
    """

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = NONNEGATIVE.check("threshold", threshold)

    def forward(self, x: Tensor) -> Tensor:
        """Return activations of the shape of ``x``; NaN stays."""
        return x.masked_fill(x < self.threshold, 0) if self.threshold > 0 else torch.relu(x)

    def extra_repr(self) -> str:
        """Return what a printed model says of it."""
        return f"threshold={self.threshold:g}"
