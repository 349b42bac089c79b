"""Columns leave or enter one by one, the cheapest or the most useful first, on a swept matrix with group quotas."""

import numpy as np

from sparsetheory.numba_kernels.inlined import entry, inlined
from sparsetheory.numba_kernels.layerwise.pivots import Tableau, new_tableau, pivot
from sparsetheory.typing import BoolArray, Float64Array, Int64Array

__all__ = ["eliminate", "select", "warmup"]


@entry
def eliminate(
    tableau: Tableau, inside: BoolArray, surplus: Int64Array, order: Int64Array, increments: Float64Array
) -> None:
    """Let the column leave whose removal costs least, until no group has a surplus.

    Parameters
    ----------
    tableau : Tableau
        Swept with all columns as pivots: minus the inverse of the Gram matrix. Updated in place; its capacity is the
        number of columns that leave.
    inside : ndarray of shape (p,)
        Kept columns, updated in place.
    surplus : ndarray of shape (groups,)
        How many columns of each group are to leave; counted down.
    order : ndarray of shape (leaving,)
        Filled with the columns as they leave; the lowest one where costs tie.
    increments : ndarray of shape (leaving,)
        Filled with the rise of the residual sum of squares in each step.
    """
    m = inside.size // surplus.size
    for step in range(order.size):
        best, out = np.inf, -1
        for j in range(inside.size):
            if inside[j] and surplus[j // m] > 0:
                cost = _energy(tableau.border, j) / -tableau.diagonal[j]
                if cost < best:
                    best, out = cost, j
        order[step], increments[step] = out, best
        pivot(tableau, out, 1.0, step)
        inside[out] = False
        surplus[out // m] -= 1


@entry
def select(
    tableau: Tableau,
    inside: BoolArray,
    room: Int64Array,
    floors: Float64Array,
    order: Int64Array,
    decrements: Float64Array,
) -> None:
    """Let the column enter whose entry lowers the residual sum of squares most, until no group has room.

    Parameters
    ----------
    tableau : Tableau
        The Gram matrix, and correlations as border. Updated in place; its capacity is the number of columns that enter.
    inside : ndarray of shape (p,)
        Kept columns, updated in place.
    room : ndarray of shape (groups,)
        How many columns of each group are to enter; counted down.
    floors : ndarray of shape (p,)
        Schur complement that a column must exceed. One that does not, because others determine it, gains nothing and
        takes its place with coefficient zero.
    order : ndarray of shape (entering,)
        Filled with the columns as they enter; the lowest one where gains tie.
    decrements : ndarray of shape (entering,)
        Filled with the fall in each step.
    """
    m, count = inside.size // room.size, 0
    for step in range(order.size):
        best, into = -1.0, -1
        for i in range(inside.size):
            if inside[i] or room[i // m] == 0:
                continue
            gain = _energy(tableau.border, i) / tableau.diagonal[i] if tableau.diagonal[i] > floors[i] else 0.0
            if gain > best:
                best, into = gain, i
        order[step], decrements[step] = into, best
        if tableau.diagonal[into] > floors[into]:
            pivot(tableau, into, -1.0, count)
            count += 1
        else:
            tableau.border[:, into] = 0.0
        inside[into] = True
        room[into // m] -= 1


@inlined
def _energy(border: Float64Array, column: int) -> float:
    """Return the sum of the squares of one column."""
    total = 0.0
    for r in range(border.shape[0]):
        total += border[r, column] * border[r, column]
    return total


def warmup() -> None:
    """Compile all kernels for the types that the package uses."""
    place, number, amount = np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64), np.zeros(1)
    for sign in (-1.0, 1.0):
        tableau = new_tableau(1, 1, 1, 1)
        tableau.matrix[:], tableau.diagonal[:], tableau.border[:] = 0.0, sign, 0.0
        if sign < 0:
            eliminate(tableau, np.ones(1, dtype=np.bool_), number.copy(), place, amount)
        else:
            select(tableau, np.zeros(1, dtype=np.bool_), number.copy(), amount.copy(), place, amount)
