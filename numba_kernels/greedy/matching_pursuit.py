"""Orthogonal matching pursuit of many targets on one Gram matrix."""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import FloatArray, Int64Array

__all__ = ["batch_omp", "warmup"]


@kernel(fastmath=True)
def _largest(row: FloatArray, folded: FloatArray) -> int:
    """Return a position of the largest absolute value.

    The row is folded to a quarter of its length by maxima, which vectorises; only the rest is searched one by one.
    """
    n = row.size
    quarter = n // 4
    first, second = row[:quarter], row[quarter : 2 * quarter]
    third, fourth = row[2 * quarter : 3 * quarter], row[3 * quarter : 4 * quarter]
    for i in range(quarter):
        a, b, c, d = abs(first[i]), abs(second[i]), abs(third[i]), abs(fourth[i])
        a = a if a > b else b
        c = c if c > d else d
        folded[i] = a if a > c else c
    best, position = abs(row[n - 1]), n - 1
    for i in range(4 * quarter, n - 1):
        if abs(row[i]) > best:
            best, position = abs(row[i]), i
    fold = -1
    for i in range(quarter):
        if folded[i] > best:
            best, fold = folded[i], i
    if fold >= 0:
        position = fold
        for _ in range(3):
            if abs(row[position]) != best:
                position += quarter
    return position


@kernel(fastmath=True)
def _new_direction(out: FloatArray, start: FloatArray, directions: FloatArray, weights: FloatArray, count: int) -> None:
    """Write ``(start - weights[:count] @ directions[:count]) / weights[count]``, four directions at a time."""
    scale = out.dtype.type(1.0) / weights[count]
    head = count % 4
    for p in range(out.size):
        out[p] = start[p] * scale
    for j in range(head):
        weight, direction = weights[j] * scale, directions[j]
        for p in range(out.size):
            out[p] -= weight * direction[p]
    for j in range(head, count, 4):
        a, b, c, d = weights[j] * scale, weights[j + 1] * scale, weights[j + 2] * scale, weights[j + 3] * scale
        first, second, third, fourth = directions[j], directions[j + 1], directions[j + 2], directions[j + 3]
        for p in range(out.size):
            out[p] = out[p] - a * first[p] - b * second[p] - c * third[p] - d * fourth[p]


@kernel(fastmath=True)
def batch_omp(
    gram: FloatArray,
    rows: FloatArray,
    squares: FloatArray,
    tol: float,
    n_nonzero: int,
    dependent: float,
    exhausted: float,
) -> Int64Array:
    """Replace correlations by coefficients, one target after another.

    The selected columns are orthonormalised one by one into directions q. What is stored of q are its inner products
    with all columns: the new row is the Gram row of the selected column less its components along the earlier rows,
    whose weights stand in those rows already. So a step is one update of the correlations and one of the new row.

    Parameters
    ----------
    gram : ndarray of shape (n_features, n_features)
        Inner products of unit columns, C-ordered; single or double precision, which all arithmetic keeps.
    rows : ndarray of shape (n_targets, n_features)
        Correlations of the columns with each target; overwritten by the coefficients.
    squares : ndarray of shape (n_targets,)
        Squared norms of the targets.
    tol : float
        A target is done once its squared residual is at most this; negative to ignore `squares`.
    n_nonzero : int
        Largest number of columns per target.
    dependent : float
        A column of which at most this square is left depends on the selected ones, and ends the selection.
    exhausted : float
        So does a step that explains at most this fraction of what is explained already.

    Returns
    -------
    ndarray of int, shape (n_targets,)
        Columns selected per target.

    Notes
    -----
    O(n k^2 / 2) operations per target of k columns out of n, in rows of length n that stay in the cache. With R the
    triangular factor of the selected columns, `factor` holds the rows of R transposed, `values` the coordinates of the
    target in the directions, and the coefficients solve ``R coef = values``.
    """
    n = gram.shape[0]
    zero = rows.dtype.type(0.0)
    directions = np.empty((n_nonzero, n), rows.dtype)
    factor = np.empty((n_nonzero, n_nonzero), rows.dtype)
    values = np.empty(n_nonzero, rows.dtype)
    folded = np.empty(n // 4, rows.dtype)
    chosen = np.empty(n_nonzero, np.int64)
    counts = np.zeros(rows.shape[0], np.int64)
    for t in range(rows.shape[0]):
        row = rows[t]
        size, explained = 0, zero
        while size < n_nonzero and (tol < zero or squares[t] - explained > tol):
            # 1. The column most correlated with the residual.
            index = _largest(row, folded)
            # 2. Its coordinates in the directions so far, and the square that they leave of it.
            weights = factor[size]
            left = gram[index, index]
            for j in range(size):
                weights[j] = directions[j, index]
                left -= weights[j] * weights[j]
            if left <= dependent:
                break
            weights[size] = np.sqrt(left)
            # 3. The coordinate of the residual in the new direction; its square is what the step explains.
            value = row[index] / weights[size]
            if value * value <= exhausted * explained:
                break
            values[size], chosen[size] = value, index
            explained += value * value
            # 4. Products of the new direction with all columns, and the correlations of the new residual.
            if size + 1 < n_nonzero:
                direction = directions[size]
                _new_direction(direction, gram[index], directions, weights, size)
                for p in range(n):
                    row[p] -= value * direction[p]
            size += 1
        # 5. Back substitution turns coordinates into coefficients.
        row[:] = zero
        for i in range(size - 1, -1, -1):
            value = values[i]
            for j in range(i + 1, size):
                value -= factor[j, i] * values[j]
            values[i] = value / factor[i, i]
            row[chosen[i]] = values[i]
        counts[t] = size
    return counts


def warmup() -> None:
    """Compile the kernels of this file for both precisions."""
    for dtype in (np.float64, np.float32):
        gram, small = np.eye(8, dtype=dtype), dtype(1e-6)
        batch_omp(gram, np.ones((1, 8), dtype), np.ones(1, dtype), dtype(-1.0), 6, small, small)
