"""The sweep operator on a symmetric matrix whose rows are brought up to date only when they are read.

Let A start as the bordered matrix ``[[G, b], [b', y'y]]`` of a least-squares problem. A sweep with pivot k adds a
multiple of the outer square of one column, and writes row and column k anew. With d = A_kk,

    A_ij <- A_ij - A_ik A_kj / d,    A_ik <- A_ik / d,    A_kk <- -1 / d,

and the reverse sweep is the same with ``A_ik <- -A_ik / d``. After sweeps with the pivots S, with P the inverse of
``G_SS``: ``A_SS = -P``, the border holds the coefficients on S and the correlations with the residual elsewhere, and
the diagonal holds the Schur complements outside S. These are all that the price of a move needs, so the matrix itself
need not follow every sweep:

* diagonal, border and corner are updated at once, O(p), and so are the entries inside small groups, O(p m);
* a sweep is kept as a vector v with a scale: column k with v_k = -1 (+1 for the reverse). If row and column k of the
  matrix count as zero, and the entries k of all earlier vectors are set to zero, then ``A + scale v v'`` is the swept
  matrix, but for its diagonal, which is kept apart. Nothing cancels: row k is written, not corrected;
* a row that is read sets to zero what lies in the columns of later pivots and adds the vectors that it lacks.

A swap is two sweeps. A full update would read and write all p^2 entries; here it reads two rows and the vectors.
"""

from typing import NamedTuple

import numpy as np

from sparsetheory.numba_kernels.inlined import inlined
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["Tableau", "new_tableau", "pivot", "update_row", "update_rows"]

# Columns that are brought up to date together in all rows: the vectors' parts stay in the second cache meanwhile.
_TILE = 512


class Tableau(NamedTuple):
    """A swept matrix with all that belongs to it; p columns in groups of m, and R responses that share the matrix.

    Attributes
    ----------
    matrix : ndarray of shape (p, p)
        Rows, each as it was when it was last brought up to date. Its diagonal means nothing.
    near : ndarray of shape (p, m), or (0, m)
        Of every row the entries of its own group, up to date; without rows where there is only one group.
    seen : ndarray of shape (p,)
        How many vectors a row of `matrix` contains.
    vectors : ndarray of shape (capacity, length)
        Sweeps; the length is at least p, see :func:`new_tableau`.
    pivots : ndarray of shape (capacity,)
        Their pivots.
    scales : ndarray of shape (capacity,)
        Their scales.
    diagonal : ndarray of shape (p,)
        The diagonal, up to date.
    border : ndarray of shape (R, p)
        Coefficients of what is swept in, correlations of the rest, up to date.
    losses : ndarray of shape (R,)
        Residual sums of squares, the corner of the bordered matrix, up to date.
    """

    matrix: Float64Array
    near: Float64Array
    seen: Int64Array
    vectors: Float64Array
    pivots: Int64Array
    scales: Float64Array
    diagonal: Float64Array
    border: Float64Array
    losses: Float64Array


def new_tableau(p: int, m: int, n_responses: int, capacity: int) -> Tableau:
    """Return room for p columns in groups of m, some responses, and as many sweeps as `capacity`."""
    # Columns of the vectors are written too. An odd number of cache lines of 64 bytes to a row spreads a column over
    # all sets of a cache; a power of two would put it into a few.
    length = (p // 8 | 1) * 8 + 16
    return Tableau(
        np.empty((p, p)),
        np.empty((0 if m == p else p, m)),
        np.zeros(p, dtype=np.int64),
        np.zeros((capacity, length)),
        np.zeros(capacity, dtype=np.int64),
        np.zeros(capacity),
        np.empty(p),
        np.empty((n_responses, p)),
        np.empty(n_responses),
    )


@inlined
def update_row(tableau: Tableau, row: Float64Array, at: int, count: int) -> None:
    """Add to a copy of row `at` of the matrix, or to the row itself, the vectors that it lacks of the first `count`."""
    clear_pivots(tableau, row, at, count)
    add_vectors(tableau, row, 0, at, count)


@inlined
def clear_pivots(tableau: Tableau, row: Float64Array, at: int, count: int) -> None:
    """Set to zero what lies in the columns of the pivots that row `at` has not seen."""
    for t in range(tableau.seen[at], count):
        row[tableau.pivots[t]] = 0.0


@inlined(fastmath=True)
def add_vectors(tableau: Tableau, row: Float64Array, first: int, at: int, count: int) -> None:
    """Add the vectors that row `at` lacks to some of its entries, from column `first` on."""
    vectors, scales, last, s = tableau.vectors, tableau.scales, first + row.size, tableau.seen[at]
    # Four vectors in one pass: the row is read and written a quarter as often.
    while s + 4 <= count:
        v0, v1 = vectors[s, first:last], vectors[s + 1, first:last]
        v2, v3 = vectors[s + 2, first:last], vectors[s + 3, first:last]
        w0, w1 = scales[s] * vectors[s, at], scales[s + 1] * vectors[s + 1, at]
        w2, w3 = scales[s + 2] * vectors[s + 2, at], scales[s + 3] * vectors[s + 3, at]
        for c in range(row.size):
            row[c] += w0 * v0[c] + w1 * v1[c] + w2 * v2[c] + w3 * v3[c]
        s += 4
    while s < count:
        v0, w0 = vectors[s, first:last], scales[s] * vectors[s, at]
        for c in range(row.size):
            row[c] += w0 * v0[c]
        s += 1


@inlined
def update_rows(tableau: Tableau, bounds: Float64Array, least: float, count: int) -> None:
    """Bring the rows up to date whose bound is at least some number."""
    p = tableau.seen.size
    for first in range(0, p, _TILE):
        last = min(first + _TILE, p)
        for i in range(p):
            if bounds[i] >= least and tableau.seen[i] < count:
                if first == 0:
                    clear_pivots(tableau, tableau.matrix[i], i, count)
                add_vectors(tableau, tableau.matrix[i, first:last], first, i, count)
    for i in range(p):
        if bounds[i] >= least:
            tableau.seen[i] = count


@inlined(fastmath=True)
def pivot(tableau: Tableau, at: int, sign: float, count: int) -> None:
    """Sweep with pivot `at` (`sign` -1) or reverse that (+1), as vector number `count`."""
    matrix, diagonal, border = tableau.matrix, tableau.diagonal, tableau.border
    p, scale = diagonal.size, -1.0 / diagonal[at]
    vector = tableau.vectors[count, :p]
    for c in range(p):
        vector[c] = matrix[at, c]
        matrix[at, c] = 0.0
    update_row(tableau, vector, at, count)
    tableau.seen[at] = count
    for s in range(count):
        tableau.vectors[s, at] = 0.0
    vector[at] = 0.0
    for c in range(p):
        diagonal[c] += scale * vector[c] * vector[c]
    diagonal[at] = scale
    vector[at] = sign
    tableau.pivots[count], tableau.scales[count] = at, scale
    for r in range(border.shape[0]):
        step = scale * border[r, at]
        tableau.losses[r] += step * border[r, at]
        border[r, at] = 0.0
        for c in range(p):
            border[r, c] += step * vector[c]
    if tableau.near.shape[0] > 0:
        _pivot_near(tableau.near, vector, at, scale)


@inlined(fastmath=True)
def _pivot_near(near: Float64Array, vector: Float64Array, at: int, scale: float) -> None:
    m = near.shape[1]
    first = at // m * m
    for c in range(first, first + m):
        near[c, at - first] = 0.0
        near[at, c - first] = 0.0
    for first in range(0, near.shape[0], m):
        for i in range(first, first + m):
            step = scale * vector[i]
            for a in range(m):
                near[i, a] += step * vector[first + a]
