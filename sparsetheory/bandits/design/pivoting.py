"""Rows that span the others, chosen one by one."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["BLOCK", "PivotedRows", "outside", "pivoted_rows"]

# Rows that are read at once; of a file on disk no more is in memory.
BLOCK = 65_536

# Squared residuals below this share of the largest squared norm count as zero: 1e-5 on norms.
_DEPENDENT = 1e-10


@dataclass(frozen=True, eq=False)
class PivotedRows:
    """Rows of a matrix, and an orthonormal basis of their span.

    Parameters
    ----------
    indices : ndarray of int, of shape (rank,)
        The rows.
    basis : ndarray of shape (rank, d)
        Orthonormal rows.
    rho_drop : float
        Largest norm of what any row has outside the span; 0 if the span is everything.
    """

    indices: IndexArray
    basis: Float64Array
    rho_drop: float


def pivoted_rows(A: AnyArray) -> PivotedRows:
    """Choose rows by Gram-Schmidt with pivoting: always the one that is furthest from the span of those before.

    Parameters
    ----------
    A : ndarray of shape (n, d)
        Finite.

    Returns
    -------
    PivotedRows
        With rank 0 for a zero matrix. Takes O(n d rank) time, in products of the matrix with a vector.
    """
    n, d = A.shape
    left = np.einsum("ij,ij->i", A, A, dtype=np.float64)
    limit = _DEPENDENT * float(left.max(initial=0.0))
    indices: list[int] = []
    basis = np.empty((min(n, d), d))
    while len(indices) < min(n, d):
        rank = len(indices)
        row = int(np.argmax(left))
        if left[row] <= limit:
            break
        left[row] = 0.0
        q = A[row].astype(np.float64)
        # Twice is enough: one pass leaves what rounding has put back into the span.
        for _ in range(2):
            q -= basis[:rank].T @ (basis[:rank] @ q)
        norm = float(np.linalg.norm(q))
        if norm * norm <= limit:
            continue  # what was left of this row was rounding
        basis[rank] = q / norm
        left = np.maximum(left - (A @ basis[rank].astype(A.dtype)).astype(np.float64) ** 2, 0.0)
        left[[*indices, row]] = 0.0
        indices.append(row)
    rank = len(indices)
    chosen = basis[:rank].copy()
    return PivotedRows(np.array(indices, dtype=np.intp), chosen, outside(A, chosen) if rank < d else 0.0)


def outside(A: AnyArray, basis: Float64Array) -> float:
    """Return the largest norm of what a row of a matrix has outside a span, in blocks of rows."""
    worst = 0.0
    for start in range(0, len(A), BLOCK):
        rows = np.asarray(A[start : start + BLOCK], dtype=np.float64)
        rest = rows - (rows @ basis.T) @ basis
        worst = max(worst, float(np.einsum("ij,ij->i", rest, rest).max(initial=0.0)))
    return float(np.sqrt(worst))
