"""Rows that span the others, chosen one by one."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.bandits.design.leverages import BLOCK
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["PivotedRows", "dropped_norm", "pivoted_rows", "rows_outside"]

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
    """

    indices: IndexArray
    basis: Float64Array


def pivoted_rows(A: Float64Array, limit: float | None = None, basis: Float64Array | None = None) -> PivotedRows:
    """Choose rows by Gram-Schmidt with pivoting: always the one that is furthest from the span of those before.

    Parameters
    ----------
    A : ndarray of shape (n, d)
        Finite.
    limit : float, optional
        Rows whose squared distance is at most this count as inside; 1e-10 of the largest squared norm by default.
    basis : ndarray of shape (r, d), optional
        Orthonormal rows of a span to begin with.

    Returns
    -------
    PivotedRows
        With rank 0 for a zero matrix. Takes O(n d rank) time, in products of the matrix with a vector.
    """
    n, d = A.shape
    known = 0 if basis is None else len(basis)
    found = np.empty((known + min(n, d - known), d))
    left = np.einsum("ij,ij->i", A, A)
    if limit is None:
        limit = _DEPENDENT * float(left.max(initial=0.0))
    if basis is not None and known:
        found[:known] = basis
        rest = A - (A @ basis.T) @ basis
        left = np.einsum("ij,ij->i", rest, rest)
    indices: list[int] = []
    while len(indices) < len(found) - known:
        rank = known + len(indices)
        row = int(np.argmax(left))
        if left[row] <= limit:
            break
        left[row] = 0.0
        q = A[row].copy()
        # Twice is enough: one pass leaves what rounding has put back into the span.
        for _ in range(2):
            q -= found[:rank].T @ (found[:rank] @ q)
        norm = float(np.linalg.norm(q))
        if norm * norm <= limit:
            continue  # what was left of this row was rounding
        found[rank] = q / norm
        left = np.maximum(left - (A @ found[rank]) ** 2, 0.0)
        left[[*indices, row]] = 0.0
        indices.append(row)
    return PivotedRows(np.array(indices, dtype=np.intp), found[: known + len(indices)].copy())


def rows_outside(A: AnyArray, scales: Float64Array, pivots: PivotedRows) -> IndexArray:
    """Return rows of ``A / scales`` that together with pivots span all others, from one pass over blocks of rows."""
    # Pivots begin with the row of the largest norm.
    first = np.asarray(A[pivots.indices[:1]], dtype=np.float64) / scales
    limit, basis = _DEPENDENT * float(np.square(first).sum()), pivots.basis
    found: list[IndexArray] = []
    for start in range(0, len(A), BLOCK):
        if len(basis) == A.shape[1]:
            break
        block = pivoted_rows(np.asarray(A[start : start + BLOCK], dtype=np.float64) / scales, limit, basis)
        basis = block.basis
        found.append(block.indices + start)
    return np.concatenate(found) if found else np.empty(0, dtype=np.intp)


def dropped_norm(A: AnyArray, scales: Float64Array, basis: Float64Array) -> float:
    r"""Return the largest norm, in the units of A, of what a row of ``A / scales`` has outside a span.

    A row is ``a = (z + r) * scales`` with z inside and r outside. For coefficients :math:`\theta` the value
    ``a @ theta`` differs from that of the kept part by ``(r * scales) @ theta``, at most the norm of ``r * scales``
    times that of :math:`\theta`.
    """
    if len(basis) == A.shape[1]:
        return 0.0
    worst = 0.0
    for start in range(0, len(A), BLOCK):
        rows = np.asarray(A[start : start + BLOCK], dtype=np.float64) / scales
        rest = (rows - (rows @ basis.T) @ basis) * scales
        worst = max(worst, float(np.einsum("ij,ij->i", rest, rest).max()))
    return float(np.sqrt(worst))
