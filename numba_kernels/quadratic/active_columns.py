"""Least squares with weights that are not negative, by active sets: the columns of one target and how they move.

With ``M = G``, or with ``M = G + shift 1 1'`` where weights sum to one, M is positive definite on columns that do not
depend on each other, and its Cholesky factor follows the columns that come and go. The sum being fixed, the added term
is a constant. So the fit is ``z = u + v (1 - 1'u) / 1'v`` with ``M u = b`` and ``M v = 1``; it exists also where G is
singular, as for a target that is hit exactly.
"""

from typing import NamedTuple

import numpy as np

from sparsetheory.numba_kernels.inlined import block, inlined
from sparsetheory.numba_kernels.quadratic.updated_cholesky import append, remove, solve
from sparsetheory.typing import BoolArray, Float64Array, Int64Array

__all__ = ["ActiveColumns", "descend", "minimise", "objective", "reserve_columns", "start"]

_EPS = float(np.finfo(np.float64).eps)
# A slope below this many roundings of its terms is rounding.
_ROUNDINGS = 30
# Steps per column before the method gives up; it takes about two per nonzero.
_STEPS_PER_COLUMN = 10
# Fits in a row that may fail to lower the objective, where all that is left of it is rounding.
_STALLS = 3
# The shift follows the largest active diagonal entry, within this factor.
_SPREAD = 8.0


class ActiveColumns(NamedTuple):
    """Weights of one target, its active columns in the order in which they came in, and scratch space."""

    x: Float64Array
    fit: Float64Array
    ones: Float64Array
    slopes: Float64Array
    lengths: Float64Array
    factor: Float64Array
    shift: Float64Array
    active: Int64Array
    # How many columns are active, and how many of them the factor holds.
    counts: Int64Array
    inside: BoolArray
    allowed: BoolArray
    refused: BoolArray


def reserve_columns(n: int) -> ActiveColumns:
    """Return room for targets of up to n columns."""
    x, fit, ones, slopes, lengths = np.zeros((5, n))
    inside, allowed, refused = np.zeros((3, n), np.bool_)
    active, counts = np.zeros(n, np.int64), np.zeros(2, np.int64)
    return ActiveColumns(
        x, fit, ones, slopes, lengths, np.zeros((n, n)), np.zeros(1), active, counts, inside, allowed, refused
    )


@inlined
def _enter(a: ActiveColumns, j: int) -> None:
    a.active[a.counts[0]] = j
    a.counts[0] += 1
    a.inside[j] = True


@inlined
def _leave(a: ActiveColumns, at: int) -> None:
    """Take the column at a place of the list out."""
    size = a.counts[0]
    a.inside[a.active[at]] = False
    a.x[a.active[at]] = 0.0
    for i in range(at, size - 1):
        a.active[i] = a.active[i + 1]
    if at < a.counts[1]:
        remove(a.factor, a.counts[1], at)
        a.counts[1] -= 1
    a.counts[0] -= 1


@block
def start(gram: Float64Array, n: int, a: ActiveColumns) -> None:
    """Begin a target at the weights that stand in `a.x`. Any column may come in."""
    a.counts[:] = 0
    for j in range(n):
        a.inside[j], a.allowed[j] = False, True
        a.lengths[j] = np.sqrt(max(gram[j, j], 0.0))
        if a.x[j] > 0.0:
            _enter(a, j)


@block
def objective(gram: Float64Array, rows: Float64Array, n: int, x: Float64Array) -> float:
    """Return ``x G x' / 2 - b x'``."""
    total = 0.0
    for i in range(n):
        if x[i] != 0.0:
            pulled = 0.0
            for j in range(n):
                pulled += gram[i, j] * x[j]
            total += x[i] * (pulled / 2 - rows[i])
    return total


@block
def _factorise(gram: Float64Array, sum_to_one: bool, a: ActiveColumns) -> bool:
    """Let the factor hold all active columns, and say whether that worked."""
    size = a.counts[0]
    if sum_to_one:
        top = 0.0
        for p in range(size):
            top = max(top, gram[a.active[p], a.active[p]])
        top = top if top > 0.0 else 1.0
        if a.counts[1] == 0 or top > _SPREAD * a.shift[0] or a.shift[0] > _SPREAD * top:
            a.shift[0], a.counts[1] = top, 0
    else:
        a.shift[0] = 0.0
    for p in range(a.counts[1], size):
        for q in range(p + 1):
            a.factor[p, q] = gram[a.active[p], a.active[q]] + a.shift[0]
        if not append(a.factor, p, 2 * (p + 1) * _EPS):
            return False
        a.counts[1] = p + 1
    return True


@inlined
def _fit(gram: Float64Array, rows: Float64Array, sum_to_one: bool, a: ActiveColumns) -> None:
    """Fit the active columns, whatever the signs, in the order of the list."""
    size = a.counts[0]
    for p in range(size):
        a.fit[p], a.ones[p] = rows[a.active[p]], 1.0
    solve(a.factor, size, a.fit)
    if sum_to_one:
        solve(a.factor, size, a.ones)
        _restore_sum(a, size)
        _refine(gram, rows, a)


@inlined
def _restore_sum(a: ActiveColumns, size: int) -> None:
    missing, total = 1.0, 0.0
    for p in range(size):
        missing -= a.fit[p]
        total += a.ones[p]
    for p in range(size):
        a.fit[p] += a.ones[p] * (missing / total)


@inlined
def _refine(gram: Float64Array, rows: Float64Array, a: ActiveColumns) -> None:
    """Correct a fit once: the shift has cost the digits of columns that are much shorter than others."""
    size, mean = a.counts[0], 0.0
    for p in range(size):
        total = rows[a.active[p]]
        for q in range(size):
            total -= gram[a.active[p], a.active[q]] * a.fit[q]
        a.slopes[p] = total
        mean += total * a.fit[p]
    for p in range(size):
        a.slopes[p] -= mean
    solve(a.factor, size, a.slopes)
    for p in range(size):
        a.fit[p] += a.slopes[p]
    _restore_sum(a, size)


@inlined
def _step_to_the_border(a: ActiveColumns) -> None:
    """Go towards the fit until a weight becomes zero; its column leaves, with others that are zero by rounding."""
    least = np.inf
    for p in range(a.counts[0]):
        x = a.x[a.active[p]]
        if a.fit[p] <= 0.0:
            a.ones[p] = x / (x - a.fit[p]) if x > 0.0 else 0.0
            least = min(least, a.ones[p])
        else:
            a.ones[p] = np.inf
    for p in range(a.counts[0] - 1, -1, -1):
        j = a.active[p]
        a.x[j] += least * (a.fit[p] - a.x[j])
        if a.ones[p] <= least or a.x[j] <= 0.0:
            _leave(a, p)


@block
def _slopes(
    gram: Float64Array, rows: Float64Array, n: int, sum_to_one: bool, a: ActiveColumns
) -> tuple[float, float, float]:
    """Write how fast the objective falls along each column, less what a sum takes off.

    Returns
    -------
    value : float
        The objective.
    weight, floor : float
        A slope of column j has a rounding error of ``weight * lengths[j] + abs(rows[j]) + floor`` units.
    """
    for j in range(n):
        a.slopes[j] = rows[j]
    weight = 0.0
    for p in range(a.counts[0]):
        i = a.active[p]
        x = a.x[i]
        weight += x * a.lengths[i]
        for j in range(n):
            a.slopes[j] -= x * gram[i, j]
    value, mean, floor = 0.0, 0.0, 0.0
    for p in range(a.counts[0]):
        i = a.active[p]
        mean += a.x[i] * a.slopes[i]
        value -= a.x[i] * (a.slopes[i] + rows[i]) / 2
        floor += a.x[i] * (weight * a.lengths[i] + abs(rows[i]))
    if not sum_to_one:
        return value, weight, 0.0
    for j in range(n):
        a.slopes[j] -= mean
    return value, weight, floor


@block
def descend(gram: Float64Array, rows: Float64Array, n: int, sum_to_one: bool, a: ActiveColumns) -> tuple[float, bool]:
    """Go from the present weights to the minimiser over the allowed columns.

    Returns
    -------
    value : float
        The objective there. `a.slopes` are those there, also of columns that are not allowed.
    done : bool
        False if the steps were not enough.
    """
    for p in range(a.counts[0] - 1, -1, -1):
        if not a.x[a.active[p]] > 0.0:
            _leave(a, p)
    a.refused[:] = False
    newest, stalls, least, value = -1, 0, np.inf, np.inf
    for _ in range(_STEPS_PER_COLUMN * n):
        solved = _factorise(gram, sum_to_one, a)
        size = a.counts[0]
        lowest = np.inf
        if solved:
            _fit(gram, rows, sum_to_one, a)
            for p in range(size):
                lowest = min(lowest, a.fit[p])
        if solved and lowest > 0.0:
            for p in range(size):
                a.x[a.active[p]] = a.fit[p]
            a.refused[:] = False
        elif newest >= 0 and (not solved or a.fit[size - 1] <= 0.0):
            # The newest column brought nothing: its slope was rounding. It may try again after the next step down.
            _leave(a, size - 1)
            a.refused[newest] = True
        elif solved:
            _step_to_the_border(a)
            newest = -1
            continue
        else:
            return value, False
        value, weight, floor = _slopes(gram, rows, n, sum_to_one, a)
        newest, steepest = -1, 0.0
        for j in range(n):
            slope = a.slopes[j]
            rounding = _ROUNDINGS * _EPS * (weight * a.lengths[j] + abs(rows[j]) + floor)
            if slope > max(steepest, rounding) and a.allowed[j] and not (a.inside[j] or a.refused[j]):
                newest, steepest = j, slope
        stalls = 0 if value < least else stalls + 1
        least = min(least, value)
        if newest < 0 or stalls >= _STALLS:
            return value, True
        _enter(a, newest)
    return value, False


@block
def minimise(gram: Float64Array, rows: Float64Array, n: int, sum_to_one: bool, a: ActiveColumns) -> tuple[float, bool]:
    """Descend from zero, or with a sum from the best single column; see :func:`descend`."""
    best, least = 0, np.inf
    for j in range(n):
        a.x[j] = 0.0
        value = gram[j, j] / 2 - rows[j]
        if value < least:
            best, least = j, value
    if sum_to_one:
        a.x[best] = 1.0
    start(gram, n, a)
    return descend(gram, rows, n, sum_to_one, a)
