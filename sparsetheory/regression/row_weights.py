"""Row weights: checked, scaled to mean one, and put into the rows of a design by their roots."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from sparsetheory.arrays import non_negative_weights
from sparsetheory.regression.columns import Columns
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["check_row_weights", "scale_rows", "weighted_means"]

# Entries of a column that differ by no more than this fraction of their size differ by rounding.
_LAST_DIGITS = 4 * float(np.finfo(np.float64).eps)


def check_row_weights(sample_weight: ArrayLike, X: Any) -> tuple[Float64Array, float]:
    """Return the roots of row weights scaled to mean one, and the mean that they had.

    Raises
    ------
    ValueError
        Naming `sample_weight`, if there are too few or too many, or they are negative, not finite or all zero.
    """
    weights = non_negative_weights(sample_weight, X)
    largest = float(np.max(weights))
    if not np.isfinite(largest) or np.isnan(weights).any():
        raise ValueError(f"sample_weight must be finite; got {largest}")
    # The sum of weights near the largest number would leave the range.
    relative = weights / largest
    mean = largest * float(relative.mean())
    if not np.isfinite(mean * weights.size):
        raise ValueError(f"sample_weight must have a finite sum; its mean is {mean:.3g}")
    return np.sqrt(relative / relative.mean()), mean


def weighted_means(X: Any, roots: Float64Array) -> Float64Array:
    """Return the means of dense columns, and of full sparse ones: others have no mean far above their spread."""
    means = np.asarray(Columns(X).inner(roots**2) / float(roots @ roots))
    return np.where(np.diff(X.indptr) == X.shape[0], means, 0.0) if sparse.issparse(X) else means


def scale_rows(X: Any, roots: Float64Array, shift: Float64Array | None = None) -> Any:
    """Return ``diag(roots) (X - shift)`` in double precision, in Fortran order or CSC.

    Rounded to single precision, scaled rows of constant columns would not be multiples of the scaled constant. Means
    are taken off first, by `shift`, so that columns with large means keep their digits; it must be zero for columns
    of a sparse matrix that are not full.
    """
    if sparse.issparse(X):
        return _scale_sparse_rows(X, roots, shift)
    if shift is None:
        return np.asfortranarray(X * roots[:, None])
    scaled = np.empty(X.shape, order="F")
    for block in Columns(X).blocks():
        scaled[:, block] = _scale_and_shift(X[:, block], roots, shift[block])
    return scaled


def _scale_sparse_rows(X: Any, roots: Float64Array, shift: Float64Array | None) -> Any:
    data = X.data * roots[X.indices]
    shifts = np.zeros(X.shape[1]) if shift is None else shift
    for j in np.flatnonzero(shifts):
        stored = slice(X.indptr[j], X.indptr[j + 1])
        data[stored] = _scale_and_shift(X.data[stored, None], roots[X.indices[stored]], shifts[[j]])[:, 0]
    return sparse.csc_array((data, X.indices, X.indptr), shape=X.shape)


def _scale_and_shift(block: AnyArray, roots: Float64Array, shift: Float64Array) -> Float64Array:
    """Shift and scale some columns; what is rounding of their entries becomes zero."""
    raw = block.astype(np.float64)
    left = (raw - shift) * roots[:, None]
    rounding = np.einsum("ij,ij->j", left, left) <= _LAST_DIGITS**2 * (roots**2 @ raw**2)
    return np.where(rounding, 0.0, left)
