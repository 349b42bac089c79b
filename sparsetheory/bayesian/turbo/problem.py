"""The data of a sparse linear model, prepared once: live columns, products that every sweep reuses."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["TurboProblem", "row_squares"]


def row_squares(block: AnyArray) -> Float64Array:
    """Return the squared norms of the rows of a C-ordered array, real or complex, without a copy of its size."""
    flat = block.view(block.real.dtype) if np.iscomplexobj(block) else block
    return np.asarray(np.einsum("ij,ij->i", flat, flat))


@dataclass(frozen=True, eq=False)
class TurboProblem:
    """Observations ``Y = F X + noise`` whose rows may carry weights, which are part of `F` and `Y` already.

    Parameters
    ----------
    F : ndarray of shape (M, N)
        Columns that are not zero, in Fortran order, double precision.
    Y : ndarray of shape (M, L)
        One column per snapshot.
    n_rows : float
        Observations per snapshot: M, or the sum of the row weights.
    live : ndarray of int, shape (N,)
        Which columns of the user's matrix these are.
    n_total : int
        Number of columns of the user's matrix.
    """

    F: AnyArray
    Y: AnyArray
    n_rows: float
    live: IndexArray
    n_total: int

    @property
    def n_snapshots(self) -> int:
        """Number of snapshots, which share their support and their precisions."""
        return self.Y.shape[1]

    @property
    def n_coefficients(self) -> int:
        """Number of columns that are not zero."""
        return self.F.shape[1]

    @property
    def wide(self) -> bool:
        """Whether the system of the observations is the smaller one."""
        return self.F.shape[0] < self.F.shape[1]

    @cached_property
    def correlations(self) -> AnyArray:
        """Inner products of the columns with the data, shape (N, L)."""
        return np.asarray(self.F.conj().T @ self.Y)

    @cached_property
    def gram(self) -> AnyArray:
        """Inner products of the columns, shape (N, N)."""
        return np.asarray(self.F.conj().T @ self.F)

    @cached_property
    def column_squares(self) -> Float64Array:
        """Squared norms of the columns."""
        return row_squares(self.F.T)

    @cached_property
    def energy(self) -> float:
        """Mean over the snapshots of the squared norm of the data."""
        return float(np.sum(np.abs(self.Y) ** 2) / self.n_snapshots)

    @cached_property
    def scale(self) -> float:
        """Variance of the data about zero per observation; one where the data are zero, for want of a unit."""
        mean_square = self.energy / self.n_rows
        return mean_square if mean_square > 0 else 1.0
