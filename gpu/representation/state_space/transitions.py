"""Transitions that are a multiple of the identity plus a matrix of low rank, and what one step of them costs."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LowRankTransition"]


@dataclass(frozen=True, eq=False)
class LowRankTransition:
    """The matrix ``scale I + left right'`` that takes a state to the next one.

    Parameters
    ----------
    scale : Tensor of shape (...)
        Zero where the transition itself has low rank.
    left, right : Tensor of shape (..., n, r)

    Examples
    --------
    >>> import torch
    >>> left = torch.tensor([[1.0], [0.0]])
    >>> LowRankTransition(torch.tensor(0.5), left, left).dense()
    tensor([[1.5000, 0.0000],
            [0.0000, 0.5000]])
    """

    scale: Tensor
    left: Tensor
    right: Tensor

    @property
    def core(self) -> Tensor:
        """The matrix of shape (..., r, r) by which ``right' h`` goes on: ``scale I + right' left``."""
        return self._shifted(self.right.mT @ self.left)

    def apply(self, h: Tensor) -> Tensor:
        """Return the next states of states, both of shape (..., k, n), in O(k n r) operations."""
        return self.scale[..., None, None] * h + (h @ self.right) @ self.left.mT

    def dense(self) -> Tensor:
        """Return the matrix, of shape (..., n, n)."""
        return self._shifted(self.left @ self.right.mT)

    def double(self) -> "LowRankTransition":
        """Return the transition in double precision."""
        return LowRankTransition(self.scale.double(), self.left.double(), self.right.double())

    def spectral_radius(self) -> Tensor:
        """Return the largest absolute eigenvalue, of shape (...), from the r x r matrix; without gradients."""
        wide = torch.float64 if self.left.dtype == torch.float64 else torch.float32
        found = torch.linalg.eigvals(self.core.detach().to(wide)).abs().amax(-1)
        alone = self.scale.detach().abs().to(wide)
        # Directions that the factors leave alone are multiplied by the scale.
        return torch.maximum(found, alone) if self.left.shape[-1] < self.left.shape[-2] else found

    def _shifted(self, matrix: Tensor) -> Tensor:
        eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        return matrix + self.scale[..., None, None] * eye
