"""Transitions that are a multiple of the identity plus a matrix of low rank, and what one step of them costs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.gpu.solvers.arguments import working_dtype

__all__ = ["LowRankTransition", "spectral_radius"]


def spectral_radius(matrix: Tensor) -> Tensor:
    """Return the largest absolute eigenvalue of square matrices, at least in single precision and without gradients.

    It is infinite where a matrix is not finite, as after a training that diverged: eigenvalue routines may end the
    process on such a matrix.
    """
    wide = matrix.detach().to(working_dtype(matrix))
    finite = torch.isfinite(wide).all(-1).all(-1)
    found = torch.linalg.eigvals(torch.where(finite[..., None, None], wide, 0.0)).abs().amax(-1)
    return torch.where(finite, found, torch.inf)


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
        found = spectral_radius(self.core)
        alone = self.scale.detach().abs().to(found.dtype)
        # Directions that the factors leave alone are multiplied by the scale.
        return torch.maximum(found, alone) if self.left.shape[-1] < self.left.shape[-2] else found

    def _shifted(self, matrix: Tensor) -> Tensor:
        eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        return matrix + self.scale[..., None, None] * eye
