"""Greedy coordinate descent on ``|x - U b|^2 / 2 + alpha #{b != 0}`` with unit columns U.

With q for the inner product of a column with the residual, the best value of its coefficient b is q + b, or zero. To
set it lowers the objective by ``q^2 / 2``, less alpha if b was zero; to clear it by ``alpha - b (q + b / 2)``.
"""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import FloatArray, Int64Array

__all__ = ["greedy_l0", "warmup"]


@kernel(fastmath=True)
def _move(correlations: FloatArray, row: FloatArray, change: float, scores: FloatArray) -> tuple[int, float]:
    """Account for the change of one coefficient; return the largest squared correlation and where it stands."""
    for j in range(correlations.size):
        correlations[j] -= change * row[j]
        scores[j] = correlations[j] * correlations[j]
    best, winner = scores[0], 0
    for j in range(1, scores.size):
        if scores[j] > best:
            best, winner = scores[j], j
    return winner, best


@kernel(fastmath=True)
def _best_change(
    code: FloatArray, correlations: FloatArray, active: Int64Array, count: int, alpha: float, rounding: float
) -> tuple[int, np.floating, np.floating]:
    """Return which active coefficient to change, to what, and by how much that lowers the objective.

    Changes by few roundings of the coefficient do not count.
    """
    zero, half = code.dtype.type(0), code.dtype.type(0.5)
    still = code.dtype.type(4 * np.finfo(code.dtype).eps)
    winner, target, best = -1, zero, zero
    for p in range(count):
        b, q = code[active[p]], correlations[active[p]]
        fit, cleared = half * q * q, alpha - b * (q + half * b) - rounding
        if fit > best and abs(q) > still * abs(b):
            winner, target, best = p, b + q, fit
        if cleared > best:
            winner, target, best = p, zero, cleared
    return winner, target, best


@kernel(fastmath=True)
def greedy_l0(
    gram: FloatArray,
    rows: FloatArray,
    starts: FloatArray,
    alpha: float,
    roundings: FloatArray,
    least: FloatArray,
    max_moves: int,
) -> Int64Array:
    """Replace correlations by codes that the change of no single coefficient improves, one signal after another.

    Parameters
    ----------
    gram : ndarray of shape (n, n)
        Inner products of unit columns, C-ordered; single or double precision, which all arithmetic keeps.
    rows : ndarray of shape (n_samples, n)
        Correlations of the columns with each signal; overwritten by the codes.
    starts : ndarray of shape (n_samples, n) or (0, n)
        Codes to start from; without rows, zero.
    alpha : float
        Cost of a coefficient that is not zero.
    roundings : ndarray of shape (n_samples,)
        Gains of this size, by a coefficient that appears or vanishes, are rounding.
    least : ndarray of shape (n_samples,)
        The search ends when no change gains more than this.
    max_moves : int
        Most changes per signal.

    Returns
    -------
    ndarray of shape (n_samples,)
        Changes made; -1 where `max_moves` ended the search.

    Notes
    -----
    O(n) per change. At the end correlations are computed anew, and the search goes on if that shows a better change,
    until the support stays.
    """
    n = gram.shape[0]
    zero, half = rows.dtype.type(0), rows.dtype.type(0.5)
    code, scores, correlations = np.zeros(n, rows.dtype), np.empty(n, rows.dtype), np.empty(n, rows.dtype)
    active, moves = np.empty(n, np.int64), np.zeros(rows.shape[0], np.int64)
    for t in range(rows.shape[0]):
        count, fresh, stale = 0, True, True
        if starts.shape[0] > 0:
            for j in range(n):
                if starts[t, j] != 0:
                    active[count], code[j] = j, starts[t, j]
                    count += 1
        while True:
            # Invariant: `correlations` are those of the residual. They are computed from nothing at the start, and once
            # more before the end if the support has changed, so that rounding errors of many changes do not decide.
            if stale:
                correlations[:] = rows[t]
                for p in range(count):
                    _move(correlations, gram[active[p]], code[active[p]], scores)
                index, square = _move(correlations, gram[0], zero, scores)
                fresh, stale = True, False
            # The best change of an active coefficient, and the best entry, which is that of the largest correlation.
            slot, target, gain = _best_change(code, correlations, active, count, alpha, roundings[t])
            entry = half * square - alpha - roundings[t]
            if max(gain, entry) <= least[t]:
                if fresh:
                    break
                stale = True
                continue
            if moves[t] == max_moves:
                moves[t] = -1
                break
            moves[t] += 1
            if entry > gain:
                active[count], slot, target = index, count, correlations[index]
                count, fresh = count + 1, False
            j = active[slot]
            change = target - code[j]
            code[j] = target
            if target == 0:
                count, fresh = count - 1, False
                active[slot] = active[count]
            index, square = _move(correlations, gram[j], change, scores)
        for j in range(n):
            rows[t, j] = zero
        for p in range(count):
            rows[t, active[p]] = code[active[p]]
            code[active[p]] = zero
    return moves


def warmup() -> None:
    """Compile the kernels of this file for both precisions."""
    for dtype in (np.float64, np.float32):
        none, one = np.empty((0, 8), dtype), np.zeros(1, dtype)
        greedy_l0(np.eye(8, dtype=dtype), np.ones((1, 8), dtype), none, dtype(0.1), one, one, 9)
