"""The two parts of the objective of a code: half a squared residual, and a penalty."""

import numpy as np

from sparsetheory.coding.codes.problem import row_chunks
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.per_feature import PenaltyRows
from sparsetheory.typing import BoolArray, Float64Array, FloatArray, IndexArray

__all__ = ["SquaredResidual", "objective_rows"]


class SquaredResidual:
    """``||x - A c||^2 / 2`` of many signals, through one state per code from which value and gradient follow.

    The state is the residual ``x - A c``, or the correlations ``A'(x - A c)`` where there are fewer than twice as many
    atoms as samples: then two products with the Gram matrix cost less than four with the atoms. It is affine in the
    code, so states of extrapolated codes are extrapolated states.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Signals.
    A : ndarray of shape (n_features, n_atoms)
        Atoms in columns, of the same dtype.
    """

    def __init__(self, X: FloatArray, A: FloatArray) -> None:
        n_features, n_atoms = A.shape
        self.by_gram = n_atoms < 2 * n_features
        self.matrix = A.T @ A if self.by_gram else A.T
        self.targets = X @ A if self.by_gram else X
        self.energies: Float64Array = np.einsum("ij,ij->i", X, X, dtype=np.float64)

    def keep(self, rows: BoolArray) -> None:
        """Forget the other rows."""
        self.targets, self.energies = self.targets[rows], self.energies[rows]

    def state(self, codes: FloatArray, rows: slice | IndexArray = slice(None)) -> FloatArray:
        """Return the states of codes of some rows, shape (n_rows, n_atoms or n_features)."""
        out = codes @ self.matrix
        return np.subtract(self.targets[rows], out, out=out)

    def descent(self, state: FloatArray) -> FloatArray:
        """Return the negative gradient at a state in a new array of shape (n_rows, n_atoms)."""
        return state.copy() if self.by_gram else state @ self.matrix.T

    def values(self, state: FloatArray, codes: FloatArray, rows: slice | IndexArray = slice(None)) -> Float64Array:
        """Return the values of codes of some rows, in double precision."""
        if not self.by_gram:
            return 0.5 * np.einsum("ij,ij->i", state, state, dtype=np.float64)
        inner = np.einsum("ij,ij->i", codes, self.targets[rows] + state, dtype=np.float64)
        return np.maximum(0.5 * (self.energies[rows] - inner), 0.0)


def objective_rows(X: FloatArray, A: FloatArray, C: FloatArray, penalty: Penalty) -> Float64Array:
    """Return half the squared residual plus the penalty of every code, from checked arrays, in double precision.

    Notes
    -----
    ``2 n_features n_atoms`` operations per code, in the precision of the arrays; sums over a row are in double
    precision.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.penalties import L0
    >>> objective_rows(np.array([[3.0, 1.0]]), np.eye(2), np.array([[3.0, 0.0]]), L0(0.25))
    array([0.75])
    """
    rows = PenaltyRows(penalty, A.shape[1], C.dtype)
    out = np.empty(X.shape[0])
    for chunk in row_chunks(X.shape[0], X.itemsize * sum(A.shape)):
        residual = X[chunk] - C[chunk] @ A.T
        out[chunk] = 0.5 * np.einsum("ij,ij->i", residual, residual, dtype=np.float64) + rows.values(C[chunk])
    return out
