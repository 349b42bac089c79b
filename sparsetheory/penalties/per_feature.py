"""A penalty with its numbers laid out per feature, as the loops over batches of codes want it."""

import numpy as np

from sparsetheory.numba_kernels.penalties.rows import penalty_rows
from sparsetheory.numba_kernels.penalties.thresholding import prox_array
from sparsetheory.penalties.base import Penalty
from sparsetheory.typing import Float64Array, FloatArray

__all__ = ["PenaltyRows"]


class PenaltyRows:
    """A penalty with its numbers laid out per atom.

    Parameters
    ----------
    penalty : Penalty
        Numbers that differ between features need one entry per atom.
    n_atoms : int
        Columns of the codes.
    dtype : dtype
        Of the codes.

    Raises
    ------
    TypeError
        If `penalty` is not one.
    ValueError
        If a number per feature does not have `n_atoms` entries, or one is out of its interval in `dtype`.
    """

    def __init__(self, penalty: Penalty, n_atoms: int, dtype: np.dtype) -> None:
        if not isinstance(penalty, Penalty):
            raise TypeError(f"penalty must be a Penalty; got {penalty!r}")
        if np.ndim(penalty.shape) and penalty.shape.size != n_atoms:
            raise ValueError(f"penalty must have one number per atom, {n_atoms}; it has {penalty.shape.size}")
        self.kind, self.convex = penalty.kind, penalty.convex
        self.alpha, self.shape = penalty.numbers(n_atoms, dtype)

    def threshold(self, points: FloatArray, step: float) -> FloatArray:
        """Apply the proximal operator to every entry, in place."""
        prox_array(self.kind, points, step, self.alpha, self.shape, points)
        return points

    def values(self, codes: FloatArray) -> Float64Array:
        """Return the penalty of every row, in double precision."""
        out = np.empty(codes.shape[0])
        # Kernels are compiled for arrays that can be written to.
        penalty_rows(self.kind, np.require(codes, requirements="W"), self.alpha, self.shape, out)
        return out
