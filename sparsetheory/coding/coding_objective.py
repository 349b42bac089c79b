"""The two parts of the objective of a code: half a squared residual, and a penalty."""

import numpy as np
from numpy.typing import NDArray

from sparsetheory.coding.coding_problem import row_chunks
from sparsetheory.coding.penalty import Penalty
from sparsetheory.numba_kernels.penalty_rows import penalty_rows
from sparsetheory.numba_kernels.thresholding import prox_array

__all__ = ["PenaltyRows", "SquaredResidual", "objective_rows"]

_Floats = NDArray[np.floating]
_Array = NDArray[np.float64]


class SquaredResidual:
    """``||x - D c||^2 / 2`` of many signals, through one state per code from which value and gradient follow.

    The state is the residual ``x - D c``, or the correlations ``D'(x - D c)`` where there are fewer than twice as many
    atoms as samples: then two products with the Gram matrix cost less than four with the atoms. It is affine in the
    code, so states of extrapolated codes are extrapolated states.

    Parameters
    ----------
    X : ndarray of shape (n_samples, m)
        Signals.
    D : ndarray of shape (m, n_atoms)
        Atoms, of the same dtype.
    """

    def __init__(self, X: _Floats, D: _Floats) -> None:
        m, n_atoms = D.shape
        self.by_gram = n_atoms < 2 * m
        self.matrix = D.T @ D if self.by_gram else D.T
        self.targets = X @ D if self.by_gram else X
        self.energies: _Array = np.einsum("ij,ij->i", X, X, dtype=np.float64)

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Forget the other rows."""
        self.targets, self.energies = self.targets[rows], self.energies[rows]

    def state(self, codes: _Floats, rows: slice | NDArray[np.intp] = slice(None)) -> _Floats:
        """Return the states of codes of some rows, shape (n_rows, n_atoms or m)."""
        out = codes @ self.matrix
        return np.subtract(self.targets[rows], out, out=out)

    def descent(self, state: _Floats) -> _Floats:
        """Return the negative gradient at a state in a new array of shape (n_rows, n_atoms)."""
        return state.copy() if self.by_gram else state @ self.matrix.T

    def values(self, state: _Floats, codes: _Floats, rows: slice | NDArray[np.intp] = slice(None)) -> _Array:
        """Return the values of codes of some rows, in double precision."""
        if not self.by_gram:
            return 0.5 * np.einsum("ij,ij->i", state, state, dtype=np.float64)
        inner = np.einsum("ij,ij->i", codes, self.targets[rows] + state, dtype=np.float64)
        return np.maximum(0.5 * (self.energies[rows] - inner), 0.0)


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
        self.kind = penalty.kind
        self.lam, self.shape = penalty.numbers(n_atoms, dtype)

    def threshold(self, points: _Floats, step: float) -> _Floats:
        """Apply the proximal operator to every entry, in place."""
        prox_array(self.kind, points, step, self.lam, self.shape, points)
        return points

    def values(self, codes: _Floats) -> _Array:
        """Return the penalty of every row, in double precision."""
        out = np.empty(codes.shape[0])
        # Kernels are compiled for arrays that can be written to.
        penalty_rows(self.kind, np.require(codes, requirements="W"), self.lam, self.shape, out)
        return out


def objective_rows(X: _Floats, D: _Floats, C: _Floats, penalty: Penalty) -> _Array:
    """Return half the squared residual plus the penalty of every code, from checked arrays, in double precision.

    Notes
    -----
    2 m n operations per code of n atoms, in the precision of the arrays; sums over a row are in double precision.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.coding import L0
    >>> objective_rows(np.array([[3.0, 1.0]]), np.eye(2), np.array([[3.0, 0.0]]), L0(0.25))
    array([0.75])
    """
    rows = PenaltyRows(penalty, D.shape[1], C.dtype)
    out = np.empty(X.shape[0])
    for chunk in row_chunks(X.shape[0], X.itemsize * sum(D.shape)):
        residual = X[chunk] - C[chunk] @ D.T
        out[chunk] = 0.5 * np.einsum("ij,ij->i", residual, residual, dtype=np.float64) + rows.values(C[chunk])
    return out
