"""Orthonormal columns in blocks, as a parametrisation of torch."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparsetheory.gpu.representation.molrg.subspaces import orthonormal_columns
from sparsetheory.gpu.solvers.arguments import working_dtype

__all__ = ["OrthonormalBlocks", "orthonormalised"]


class OrthonormalBlocks(nn.Module):
    r"""Turn a matrix into one whose columns are orthonormal within each block: a QR retraction after every step.

    What an optimiser moves is a matrix A; what the layer reads is the Q of each block of A = Q R with a positive
    diagonal of R. So any optimiser, any training loop and any checkpoint does, and the layer never sees anything else
    than orthonormal columns. Orthonormal blocks are left as they are.

    Parameters
    ----------
    widths : sequence of int
        Columns of each block.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = tuple(widths)

    def forward(self, matrix: Tensor) -> Tensor:
        """Return the orthonormal columns."""
        # There is no QR factorisation in half precision.
        blocks = matrix.to(working_dtype(matrix))
        if len(set(self.widths)) == 1:
            stacked = blocks.unflatten(1, (len(self.widths), self.widths[0])).transpose(0, 1)
            found = orthonormalised(stacked).transpose(0, 1).flatten(1)
        else:
            found = torch.cat([orthonormalised(block) for block in blocks.split(list(self.widths), dim=1)], dim=1)
        return found.to(matrix.dtype)

    def right_inverse(self, columns: Tensor) -> Tensor:
        """Return the matrix that stands for orthonormal columns: themselves."""
        for block in columns.split(list(self.widths), dim=1):
            orthonormal_columns("basis", block)
        return columns


def orthonormalised(matrix: Tensor) -> Tensor:
    """Return the Q of a matrix, or of a batch of them, for which the diagonal of R is positive."""
    Q, R = torch.linalg.qr(matrix)
    signs = R.diagonal(dim1=-2, dim2=-1).sign()
    return Q * torch.where(signs == 0, 1.0, signs).unsqueeze(-2)
