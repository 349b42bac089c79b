"""Search by swaps on a swept matrix: the best exchange of a kept column and another one of its group, again and again.

The gain of a swap is the fall of the residual sum of squares when the kept column j leaves, i enters, and all
coefficients are fitted anew. With c = A_ij, P = -A_jj and R responses,

    gain = sum_r (a_ri + c s_rj / P)^2 / (A_ii + c^2 / P) - sum_r s_rj^2 / P.

It is at most the gain ``sum_r a_ri^2 / A_ii`` of letting i enter while j stays: entering columns whose bound is below
the best swap found so far are not looked at. Every step therefore takes the best of all swaps.
"""

import numpy as np

from sparsetheory.numba_kernels.inlined import entry, inlined
from sparsetheory.numba_kernels.layerwise.pivots import Tableau, new_tableau, pivot, update_row, update_rows
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["search", "warmup"]

# The bound holds in exact arithmetic; this leaves room for rounding, and keeps swaps that tie.
_SLACK = 1.0 + 1e-9


@entry
def search(
    tableau: Tableau,
    inside: BoolArray,
    floors: Float64Array,
    tol: float,
    max_swaps: int,
    prices: Float64Array,
    squares: Float64Array,
) -> int:
    """Swap until no swap gains more than `tol`.

    Parameters
    ----------
    tableau : Tableau
        Swept with the kept columns as pivots; updated in place. Its capacity is at least two vectors.
    inside : ndarray of shape (p,)
        Kept columns, updated in place.
    floors : ndarray of shape (p,)
        Least Schur complement with which a column may enter.
    tol : float
        Gain that counts.
    max_swaps : int
        Limit.
    prices : ndarray of shape (R + 3, p)
        Work space: coefficients over P, 1 / P, costs of leaving, bounds of entering.
    squares : ndarray of shape (m,)
        Work space.

    Returns
    -------
    int
        Swaps made. Of equal gains the lowest leaving column was taken, and of these the lowest entering one.
    """
    count, done = 0, 0
    while done < max_swaps:
        _price(tableau, inside, floors, prices)
        out, into = _best(tableau, inside, floors, tol, count, prices, squares)
        if out < 0:
            break
        if count + 2 > tableau.scales.size:
            prices[0, :] = 0.0
            update_rows(tableau, prices[0], 0.0, count)
            tableau.seen[:] = 0
            count = 0
        pivot(tableau, out, 1.0, count)
        pivot(tableau, into, -1.0, count + 1)
        inside[out], inside[into] = False, True
        count += 2
        done += 1
    return done


@inlined
def _price(tableau: Tableau, inside: BoolArray, floors: Float64Array, prices: Float64Array) -> None:
    """Write what a column costs that leaves, and a bound of what one gains that enters."""
    diagonal, border = tableau.diagonal, tableau.border
    n_responses = border.shape[0]
    inverse, costs, bounds = prices[n_responses], prices[n_responses + 1], prices[n_responses + 2]
    for j in range(diagonal.size):
        total = 0.0
        for r in range(n_responses):
            total += border[r, j] * border[r, j]
        if inside[j]:
            inverse[j] = -1.0 / diagonal[j]
            costs[j], bounds[j] = total * inverse[j], -1.0
        else:
            inverse[j], costs[j] = 0.0, np.inf
            bounds[j] = total / diagonal[j] if diagonal[j] > floors[j] else np.inf
        for r in range(n_responses):
            prices[r, j] = border[r, j] * inverse[j]


@inlined
def _best(
    tableau: Tableau,
    inside: BoolArray,
    floors: Float64Array,
    tol: float,
    count: int,
    prices: Float64Array,
    squares: Float64Array,
) -> tuple[int, int]:
    """Return the best swap as (leaving, entering), or -1 twice."""
    bounds = prices[prices.shape[0] - 1]
    best, out, into = tol, -1, -1
    # The most promising column goes first: a good swap early on spares a look at most of the others.
    promising = np.argmax(bounds)
    for turn in range(-1, bounds.size):
        i = promising if turn < 0 else turn
        if turn == 0 and tableau.near.shape[0] == 0:
            update_rows(tableau, bounds, best / _SLACK, count)
        if inside[i] or bounds[i] * _SLACK < best or turn == promising:
            continue
        best, out, into = _scan(tableau, i, floors[i], count, prices, squares, best, out, into)
    return out, into


@inlined
def _scan(
    tableau: Tableau,
    i: int,
    floor: float,
    count: int,
    prices: Float64Array,
    squares: Float64Array,
    best: float,
    out: int,
    into: int,
) -> tuple[float, int, int]:
    """Return the best swap so far, as (gain, leaving, entering), after those in which column i enters."""
    m, n_responses = squares.size, tableau.border.shape[0]
    first, left = i // m * m, tableau.diagonal[i]
    if tableau.near.shape[0] > 0:
        row = tableau.near[i]
    else:
        row = tableau.matrix[i]
        update_row(tableau, row, i, count)
        tableau.seen[i] = count
    inverse, costs = prices[n_responses, first : first + m], prices[n_responses + 1, first : first + m]
    if _numerators(tableau.border, i, row, left, prices, inverse, costs, best / _SLACK, squares) > 0:
        for a in range(m):
            schur, j = left + row[a] * row[a] * inverse[a], first + a
            gain = squares[a] / schur - costs[a] if schur > floor else -np.inf
            if gain > best or (gain == best and out >= 0 and (j < out or (j == out and i < into))):
                best, out, into = gain, j, i
    return best, out, into


@inlined(fastmath=True)
def _numerators(
    border: Float64Array,
    i: int,
    row: Float64Array,
    left: float,
    prices: Float64Array,
    inverse: Float64Array,
    costs: Float64Array,
    least: float,
    squares: Float64Array,
) -> int:
    """Write the numerators of all gains, and return how many gains may reach the least one.

    That is told without a division, which would take most of the time: ``square / schur - cost >= least``.
    """
    first, m = i // squares.size * squares.size, squares.size
    for r in range(border.shape[0]):
        alone, ratio = border[r, i], prices[r, first : first + m]
        for a in range(m):
            numerator = alone + row[a] * ratio[a]
            squares[a] = numerator * numerator + (squares[a] if r > 0 else 0.0)
    hits = 0
    for a in range(m):
        hits += squares[a] >= (least + costs[a]) * (left + row[a] * row[a] * inverse[a])
    return hits


def warmup() -> None:
    """Compile all kernels for the types that the package uses."""
    tableau = new_tableau(2, 2, 1, 2)
    tableau.diagonal[:], tableau.border[:] = (-1.0, 1.0), 0.0
    search(tableau, np.array([True, False]), np.zeros(2), 0.0, 1, np.empty((4, 2)), np.empty(2))
