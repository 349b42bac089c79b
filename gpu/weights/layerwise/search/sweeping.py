"""Start of a search: the matrix that is swept with the kept columns as pivots, from one Cholesky factorisation.

With S the kept columns, N the others, ``H_SS = L L'`` and ``V = L^{-1} H_SN``, the blocks are

    -P = -(L L')^{-1},    Z = P H_SN = L^{-T} V,    H_NN - V' V,

and for a response the coefficients are ``s = P b_S``, the correlations of the others with the residual
``b_N - Z' b_S``, and the residual sum of squares ``y'y - b_S' s``.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsetheory.numba_kernels.layerwise.blocks import assemble, pick
from sparsetheory.numba_kernels.layerwise.pivots import Tableau
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["FLOOR", "Starter", "factor", "picked", "stiffened"]

FLOOR = 1e-12
"""Least Schur complement with which a column may enter, relative to its diagonal entry."""

# Added to the diagonal where a kept block is singular to working precision, relative to the diagonal.
_STIFFENING = 1e-10


def stiffened(H: Tensor) -> Tensor:
    """Return a matrix with a little more on its diagonal."""
    return H + torch.diag(_STIFFENING * H.diagonal())


def factor(block: Tensor) -> Tensor:
    """Return the lower Cholesky factor; of the stiffened matrix where the matrix is singular to working precision.

    Raises
    ------
    RuntimeError
        If it has a negative eigenvalue.
    """
    lower, info = torch.linalg.cholesky_ex(block)
    if not _is_definite(lower, info, block.diagonal()):
        block = stiffened(block)
        lower, info = torch.linalg.cholesky_ex(block)
        if not _is_definite(lower, info, block.diagonal()):
            raise RuntimeError("H must be positive semidefinite; got a negative eigenvalue")
    return lower


def _is_definite(lower: Tensor, info: Tensor, diagonal: Tensor) -> bool:
    """Whether the pivots are more than what rounding makes of zero."""
    # In NumPy, because each operation of torch on so few numbers takes several times as long.
    return int(info) == 0 and bool((lower.diagonal().numpy() ** 2 > FLOOR * diagonal.numpy()).all())


def picked(matrix: Tensor, rows: Any, columns: Any, out: Tensor | None = None) -> Tensor:
    """Return ``matrix[rows][:, columns]``; several times as fast as by indices of torch."""
    out = torch.empty(len(rows), len(columns), dtype=matrix.dtype) if out is None else out
    pick(matrix.numpy(), rows, columns, out.numpy())
    return out


class Starter:
    """Fills tableaus of p columns, always in the same memory: fresh pages for every row would cost much of the time."""

    def __init__(self, p: int) -> None:
        self._room = torch.empty(5, p * p, dtype=torch.float64)
        self._info = torch.empty((), dtype=torch.int32)

    def _block(self, number: int, rows: int, columns: int) -> Tensor:
        return self._room[number, : rows * columns].view(rows, columns)

    def start(self, tableau: Tableau, H: Tensor, b: Float64Array, energies: Float64Array, inside: BoolArray) -> bool:
        """Fill a tableau with the matrix swept with the columns `inside` as pivots.

        Parameters
        ----------
        tableau : Tableau
            Overwritten.
        H : Tensor of shape (p, p)
            Contiguous Gram matrix.
        b : ndarray of shape (R, p)
            Correlations with the responses.
        energies : ndarray of shape (R,)
            Squared norms of the responses.
        inside : ndarray of shape (p,)
            Kept columns.

        Returns
        -------
        bool
            Whether the kept block is positive definite to working precision; if not, the tableau is as it was.
        """
        kept, others = np.flatnonzero(inside), np.flatnonzero(~inside)
        k, rest = kept.size, others.size
        # LAPACK wants columns contiguous: factors and solutions are transposed views of contiguous blocks.
        lower = self._block(0, k, k).mT
        block = picked(H, kept, kept, self._block(1, k, k))
        torch.linalg.cholesky_ex(block, out=(lower, self._info))
        if not _is_definite(lower, self._info, block.diagonal()):
            return False
        reduced, cross = self._block(2, rest, k).mT, self._block(3, rest, k).mT
        block = picked(H, others, kept, self._block(3, rest, k)).mT
        torch.linalg.solve_triangular(lower, block, upper=False, out=reduced)
        torch.linalg.solve_triangular(lower.mT, reduced, upper=True, out=cross)
        inverse = torch.cholesky_inverse(lower, out=self._block(1, k, k).mT)
        schur = picked(H, others, others, self._block(4, rest, rest))
        torch.addmm(schur, reduced.mT, reduced, alpha=-1.0, out=schur)
        target = torch.from_numpy(b[:, kept])
        coefficients = torch.cholesky_solve(target.mT, lower).mT
        parts = inverse.mT.numpy(), cross.mT.numpy(), schur.numpy(), coefficients.contiguous().numpy()
        assemble(kept, others, *parts, b, tableau)
        tableau.losses[:] = energies - (target * coefficients).sum(1).numpy()
        return True
