"""Local search for ``|x - D c|^2 / 2 + alpha #{c != 0}`` by the best addition or removal of one atom.

Between moves the code is least squares on its support. The support is seen through an orthonormal basis q_1, q_2, ...
of its span, one row per direction in each of two arrays: `inner` holds the inner products ``q'd_i`` with all atoms,
`dual` the coefficients of q in the atoms of the support, and ``along`` the inner product ``q'x``. Then, with r for the
residual,

- what is left of the square of atom i outside the span is ``left_i = |d_i|^2 - sum_q (q'd_i)^2``;
- the addition of atom i lowers half the squared residual by ``(d_i'r)^2 / (2 left_i)``;
- entry j of the code is ``c_j = sum_q dual_qj along_q``, and its removal raises half the squared residual by
  ``c_j^2 / (2 sum_q dual_qj^2)``, because ``sum_q dual_qj^2`` is the diagonal of the inverse Gram matrix.

An addition appends one direction: the new atom less its projection on the span, divided by the root of `left`. A
removal reflects the basis so that the last direction alone carries what the other atoms do not reach, and drops it. So
no factor is computed anew: with k atoms of n an addition costs about ``2 k n`` operations, a removal twice as many, and
the choice of a move O(n + k^2).
"""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import BoolArray, FloatArray, Int64Array

__all__ = ["single_best_replacement", "warmup"]


@kernel(fastmath=True)
def _combine(out: FloatArray, weights: FloatArray, rows: FloatArray, count: int) -> None:
    """Add ``weights[:count] @ rows[:count]`` to `out`, four rows at a time."""
    head = count % 4
    for j in range(head):
        weight, row = weights[j], rows[j]
        for p in range(out.size):
            out[p] += weight * row[p]
    for j in range(head, count, 4):
        a, b, c, d = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        first, second, third, fourth = rows[j], rows[j + 1], rows[j + 2], rows[j + 3]
        for p in range(out.size):
            out[p] += a * first[p] + b * second[p] + c * third[p] + d * fourth[p]


@kernel(fastmath=True)
def _append(
    index: int,
    size: int,
    gram: FloatArray,
    inner: FloatArray,
    dual: FloatArray,
    along: FloatArray,
    weights: FloatArray,
    correlations: FloatArray,
    left: FloatArray,
    dependent: float,
) -> bool:
    """Add one atom to a support of `size`, unless what is left of it is a smaller fraction than `dependent`."""
    one = inner.dtype.type(1)
    rest = gram[index, index]
    for p in range(size):
        weights[p] = inner[p, index]
        rest -= weights[p] * weights[p]
    if rest <= dependent * gram[index, index]:
        left[index] = rest
        return False
    # The new direction is (atom - sum of weights times directions) / root of the rest: inner products with all atoms,
    # and coefficients in the atoms of the support, are the same combination of rows.
    scale = one / np.sqrt(rest)
    for p in range(size):
        weights[p] *= -scale
    row, code = inner[size], dual[size]
    start = gram[index]
    for j in range(row.size):
        row[j] = start[j] * scale
    _combine(row, weights, inner, size)
    code[: size + 1] = 0
    dual[:size, size] = 0
    _combine(code[:size], weights, dual, size)
    code[size] = scale
    # The signal along the new direction; all correlations and all that is left of atoms follow.
    value = correlations[index] * scale
    along[size] = value
    for j in range(row.size):
        correlations[j] -= value * row[j]
        left[j] -= row[j] * row[j]
    return True


@kernel(fastmath=True)
def _reflect(rows: FloatArray, weights: FloatArray, factor: float, size: int, spare: FloatArray) -> None:
    """Reflect the leading columns of ``rows[:size]``, as many as `spare` holds, along `weights`."""
    spare[:] = 0
    _combine(spare, weights, rows, size)
    for p in range(size):
        amount, row = weights[p] * factor, rows[p]
        for j in range(spare.size):
            row[j] -= amount * spare[j]


@kernel(fastmath=True)
def _drop(
    slot: int,
    size: int,
    inner: FloatArray,
    dual: FloatArray,
    along: FloatArray,
    weights: FloatArray,
    spare: FloatArray,
    correlations: FloatArray,
    left: FloatArray,
) -> None:
    """Remove the atom of one slot from a support of `size`; the atom of the last slot takes its place."""
    one, last = inner.dtype.type(1), size - 1
    norm = one - one
    for p in range(size):
        norm += dual[p, slot] * dual[p, slot]
    scale = one / np.sqrt(norm)
    for p in range(size):
        weights[p] = dual[p, slot] * scale
    # The column of the slot in `dual` is normal to the span of the other atoms. A Householder reflection along
    # `weights`, which are that unit column plus or minus the last unit vector, takes it to the last direction. The sign
    # is the one that does not cancel.
    weights[last] += one if weights[last] >= 0 else -one
    factor = one / abs(weights[last])
    _reflect(inner, weights, factor, size, spare)
    _reflect(dual, weights, factor, size, spare[:size])
    total = one - one
    for p in range(size):
        total += weights[p] * along[p]
    total *= factor
    for p in range(size):
        along[p] -= total * weights[p]
        dual[p, slot] = dual[p, last]
    # Without the last direction the residual has more along it, and so have the atoms.
    value, row = along[last], inner[last]
    for j in range(row.size):
        correlations[j] += value * row[j]
        left[j] += row[j] * row[j]


@kernel(fastmath=True)
def _best_addition(
    correlations: FloatArray, left: FloatArray, gram: FloatArray, dependent: float, rounding: float, scores: FloatArray
) -> tuple[int, np.floating]:
    """Return the atom whose addition certainly lowers half the squared residual most, and by how much; -1 for none."""
    zero, half = scores.dtype.type(0), scores.dtype.type(0.5)
    for j in range(scores.size):
        fall = half * correlations[j] * correlations[j] - rounding * gram[j, j]
        scores[j] = fall / left[j] if left[j] > dependent * gram[j, j] else zero
    best, winner = zero, -1
    for j in range(scores.size):
        if scores[j] > best:
            best, winner = scores[j], j
    return winner, best


@kernel(fastmath=True)
def _best_removal(
    dual: FloatArray,
    along: FloatArray,
    chosen: Int64Array,
    gram: FloatArray,
    rounding: float,
    values: FloatArray,
    size: int,
) -> tuple[int, np.floating]:
    """Write the code; return the slot whose removal raises half the squared residual least, and by how much at most."""
    zero = values.dtype.type(0)
    best, winner = values.dtype.type(np.inf), -1
    for slot in range(size):
        value, square = zero, zero
        for p in range(size):
            value += dual[p, slot] * along[p]
            square += dual[p, slot] * dual[p, slot]
        values[slot] = value
        rise = value * value / (square + square) + rounding * square * gram[chosen[slot], chosen[slot]]
        if rise < best:
            best, winner = rise, slot
    return winner, best


@kernel(fastmath=True)
def _build(
    row: FloatArray,
    chosen: Int64Array,
    count: int,
    gram: FloatArray,
    inner: FloatArray,
    dual: FloatArray,
    along: FloatArray,
    weights: FloatArray,
    correlations: FloatArray,
    left: FloatArray,
    dependent: float,
) -> int:
    """Build the basis of the first `count` chosen atoms from nothing; return how many are independent and have room."""
    for j in range(row.size):
        correlations[j], left[j] = row[j], gram[j, j]
    size = 0
    for q in range(count):
        if size == inner.shape[0]:
            break
        if _append(chosen[q], size, gram, inner, dual, along, weights, correlations, left, dependent):
            chosen[size] = chosen[q]
            size += 1
    return size


@kernel(fastmath=True)
def single_best_replacement(
    gram: FloatArray,
    rows: FloatArray,
    starts: FloatArray,
    alpha: float,
    roundings: FloatArray,
    capacity: int,
    max_moves: int,
    dependent: np.floating,
    blind: BoolArray,
) -> Int64Array:
    """Replace correlations by codes that no addition or removal of one atom improves, one signal after another.

    Parameters
    ----------
    gram : ndarray of shape (n, n)
        Inner products of atoms, C-ordered; single or double precision, which all arithmetic keeps.
    rows : ndarray of shape (n_samples, n)
        Correlations of the atoms with each signal; overwritten by the codes.
    starts : ndarray of shape (n_samples, n) or (0, n)
        The search starts from the supports of these codes; without rows, from nothing.
    alpha : float
        Cost of an atom.
    roundings : ndarray of shape (n_samples,)
        By as much a gain may be wrong, over the fraction of its square that an atom has left outside the others.
    capacity : int
        Most atoms per code, at least 1.
    max_moves : int
        Most moves per signal.
    dependent : float
        Atoms of which at most this fraction of the square is left outside the span of the support are not added; the
        root of the machine precision.
    blind : ndarray of shape (n_samples,)
        Overwritten by whether atoms beside the code were not tried for that reason, though there was room.

    Returns
    -------
    ndarray of shape (n_samples,)
        Moves made; -1 where `max_moves` ended the search.

    Notes
    -----
    O(n k) per addition to a support of k atoms, about 4 n k per removal. If anything was removed, the basis is built
    anew at the end and the search goes on if that shows a better move, so that errors do not accumulate.
    """
    n = gram.shape[0]
    zero, half, least = rows.dtype.type(0), rows.dtype.type(0.5), rows.dtype.type(16) * dependent * dependent
    inner = np.empty((capacity, n), rows.dtype)
    dual = np.empty((capacity, capacity), rows.dtype)
    along, weights = np.empty(capacity, rows.dtype), np.empty(capacity, rows.dtype)
    values, chosen = np.empty(capacity, rows.dtype), np.empty(n, np.int64)
    spare, scores = np.empty(n, rows.dtype), np.empty(n, rows.dtype)
    left, correlations = np.empty(n, rows.dtype), np.empty(n, rows.dtype)
    moves = np.zeros(rows.shape[0], np.int64)
    for t in range(rows.shape[0]):
        size = 0
        if starts.shape[0] > 0:
            for j in range(n):
                if starts[t, j] != 0:
                    chosen[size] = j
                    size += 1
        fresh, stale, limit, best = True, True, dependent, -rows.dtype.type(np.inf)
        while True:
            if stale:
                size = _build(rows[t], chosen, size, gram, inner, dual, along, weights, correlations, left, limit)
                worth = -alpha * rows.dtype.type(size)
                for p in range(size):
                    worth += half * along[p] * along[p]
                # Atoms that are in by right must not be lost to another order of them, nor a search go in circles.
                fresh, stale, limit = True, False, least
                if worth <= best:
                    _best_removal(dual, along, chosen, gram, roundings[t], values, size)
                    break
                best = worth
            # The cheapest removal gains alpha less its rise, the best addition its fall less alpha.
            slot, rise = _best_removal(dual, along, chosen, gram, roundings[t], values, size)
            index, fall = -1, zero
            if size < capacity:
                index, fall = _best_addition(correlations, left, gram, dependent, roundings[t], scores)
            if rise >= alpha and fall <= alpha:
                # Nothing gains. If atoms were removed, what is kept has rounding errors: look once more with a new
                # basis.
                if fresh:
                    break
                stale = True
                continue
            if moves[t] == max_moves:
                moves[t] = -1
                break
            moves[t] += 1
            if alpha - rise >= fall - alpha:
                _drop(slot, size, inner, dual, along, weights, spare, correlations, left)
                size -= 1
                chosen[slot] = chosen[size]
                fresh = False
            elif _append(index, size, gram, inner, dual, along, weights, correlations, left, dependent):
                chosen[size] = index
                size += 1
        for j in range(n):
            rows[t, j] = zero
        blind[t] = False
        for q in range(size):
            rows[t, chosen[q]] = values[q]
        for j in range(n):
            blind[t] |= size < capacity and rows[t, j] == 0 and left[j] <= dependent * gram[j, j]
    return moves


def warmup() -> None:
    """Compile the kernels of this file for both precisions."""
    for dtype in (np.float64, np.float32):
        gram, small = np.eye(8, dtype=dtype), dtype(1e-6)
        none = np.empty((0, 8), dtype)
        rows, blind = np.ones((1, 8), dtype), np.empty(1, np.bool_)
        single_best_replacement(gram, rows, none, dtype(0.1), np.zeros(1, dtype), 4, 9, small, blind)
