"""Leverages of rows under a design, in blocks of rows, and the checks of a matrix of rows."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import qr

from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = [
    "BLOCK",
    "all_leverages",
    "checked_matrix",
    "checked_weights",
    "column_scales",
    "leverages_of",
    "scaled_rows",
    "whitening_of",
]

# Rows that are read at once: with their copies they fit into the cache, and no more of a file is in memory.
BLOCK = 2048


def checked_matrix(A: ArrayLike) -> AnyArray:
    """Return a matrix of real numbers; one on disk stays there."""
    try:
        rows = A if isinstance(A, np.ndarray) else np.asarray(A)
    except ValueError as error:
        raise ValueError(f"A must be a matrix of real numbers; got rows of different lengths: {error}") from error
    if rows.ndim != 2 or not rows.size or rows.dtype.kind not in "fiub":
        raise ValueError(f"A must be a matrix of real numbers with entries; got {rows.dtype} of shape {rows.shape}")
    return rows


def column_scales(A: AnyArray) -> Float64Array:
    """Return the largest magnitude of every column; leverages do not depend on units, but ranks do.

    Raises
    ------
    ValueError
        If A holds NaN or infinity, naming the first such row, or nothing but zeros.
    """
    largest = np.zeros(A.shape[1])
    for start in range(0, len(A), BLOCK):
        block = A[start : start + BLOCK]
        # Largest and smallest entries: NaN and infinity survive both.
        top, bottom = block.max(axis=0).astype(np.float64), block.min(axis=0).astype(np.float64)
        magnitudes = np.maximum(top, -bottom)
        if not np.all(np.isfinite(magnitudes)):
            row = start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            raise ValueError(f"A must be finite; got NaN or infinity in row {row}")
        largest = np.maximum(largest, magnitudes)
    if not largest.any():
        raise ValueError("A must have a row that is not zero; got zeros alone")
    return np.where(largest > 0, largest, 1.0)


def checked_weights(name: str, given: ArrayLike, n: int) -> Float64Array:
    """Return one finite non-negative weight for each of n rows, not all zero; errors call them `name`."""
    weights = np.asarray(given, dtype=np.float64)
    if weights.shape != (n,) or not np.isfinite(weights).all() or weights.min() < 0 or not weights.any():
        raise ValueError(f"{name} must be {n} finite non-negative weights, not all zero; got shape {weights.shape}")
    return weights / weights.sum()


def scaled_rows(A: AnyArray, scales: Float64Array, chosen: IndexArray) -> Float64Array:
    """Return chosen rows in double precision, over the scales of columns."""
    return np.asarray(A[chosen], dtype=np.float64) / scales


def whitening_of(rows: AnyArray, weights: Float64Array) -> Float64Array:
    """Return the matrix T that makes ``sum w (a T)^T (a T)`` the identity, for rows of full column rank.

    By the QR factorisation of the weighted rows: forming their Gram matrix would square its condition number.
    """
    R = qr(np.sqrt(weights)[:, None] * rows, mode="r", check_finite=False)[0][: rows.shape[1]]
    inverse = np.zeros_like(R)
    # Row by row from the last one. A solver of LAPACK wakes all threads, which takes longer than a small matrix needs.
    for i in range(len(R) - 1, -1, -1):
        inverse[i, i] = 1.0
        inverse[i, i + 1 :] = -R[i, i + 1 :] @ inverse[i + 1 :, i + 1 :]
        inverse[i] /= R[i, i]
    return inverse


def leverages_of(rows: AnyArray, whitening: Float64Array) -> Float64Array:
    """Return squared norms of whitened rows.

    In double precision whatever the rows: in single precision they would lose digits like the condition number.
    """
    white = np.asarray(rows, dtype=np.float64) @ whitening
    return np.einsum("ij,ij->i", white, white)


def all_leverages(A: AnyArray, whitening: Float64Array, block: int = BLOCK) -> Float64Array:
    """Return the leverages of all rows, in blocks."""
    leverages = np.empty(len(A))
    for start in range(0, len(A), block):
        leverages[start : start + block] = leverages_of(A[start : start + block], whitening)
    return leverages
