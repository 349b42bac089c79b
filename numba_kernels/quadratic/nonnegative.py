"""Least squares of many targets with weights that are not negative, few of them nonzero, and a sum of one if wanted.

Each target has a Gram matrix of its own, and all of its steps are taken before the next one begins, so that its matrix
is read from memory once. See :mod:`sparsetheory.numba_kernels.quadratic.active_columns` for the fits. Dropping takes
the smallest weight away, fits again, and so on. An exchange puts another column in the place of one: a column j is
tried beside the others B, whose own fit has the value f and the slopes g. It can lower f only if ``g_j > 0``, and where
weights sum to one, by no more than ``g_j``; most columns are passed over for that.
"""

from typing import NamedTuple

import numpy as np

from sparsetheory.numba_kernels.inlined import block, entry
from sparsetheory.numba_kernels.quadratic.active_columns import (
    ActiveColumns,
    descend,
    minimise,
    objective,
    reserve_columns,
    start,
)
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["Room", "exchange_columns", "fit_grams", "fit_misses", "reserve", "warmup"]

# Rounds of exchanges; one or two are enough nearly always.
_ROUNDS = 20
# An exchange must lower the objective by more than this share of the largest diagonal entry: less is rounding.
_LEAST_GAIN = 1e-14


class Room(NamedTuple):
    """Scratch space of one target, and of the small problems of its exchanges."""

    all: ActiveColumns
    small: ActiveColumns
    # Of a target whose Gram matrix is formed on the way.
    gram: Float64Array
    zeros: Float64Array
    # Of the small problem: Gram matrix, right sides, weights to start at, and the best weights so far.
    part: Float64Array
    rows: Float64Array
    base: Float64Array
    best: Float64Array
    # Slopes of all columns.
    slopes: Float64Array
    # Columns of the support, of the small problem, and of the best small problem so far.
    support: Int64Array
    columns: Int64Array
    chosen: Int64Array


def reserve(n: int, n_nonzero: int) -> Room:
    """Return room for targets of n columns of which `n_nonzero` may stay."""
    rows, base, best = np.zeros((3, n_nonzero))
    support, columns, chosen = np.zeros((3, n_nonzero), np.int64)
    part = np.zeros((n_nonzero, n_nonzero))
    return Room(
        reserve_columns(n),
        reserve_columns(n_nonzero),
        np.zeros((n, n)),
        np.zeros(n),
        part,
        rows,
        base,
        best,
        np.zeros(n),
        support,
        columns,
        chosen,
    )


@block
def _drop(gram: Float64Array, rows: Float64Array, n: int, n_nonzero: int, sum_to_one: bool, a: ActiveColumns) -> int:
    """Drop the smallest weight and fit again until few are left; return how many fits were not done."""
    late = 0
    while True:
        smallest, count, total = -1, 0, 0.0
        for j in range(n):
            a.allowed[j] = a.x[j] > 0.0
            if a.allowed[j]:
                count += 1
                total += a.x[j]
                if smallest < 0 or a.x[j] < a.x[smallest]:
                    smallest = j
        if count <= n_nonzero:
            return late
        total -= a.x[smallest]
        a.x[smallest], a.allowed[smallest] = 0.0, False
        if sum_to_one:
            for j in range(n):
                a.x[j] /= total
        late += not descend(gram, rows, n, sum_to_one, a)[1]


@block
def _pack(gram: Float64Array, rows: Float64Array, j: int, at: int, room: Room) -> None:
    """Let column j be the one at a place of the small problem, behind those that are there."""
    room.columns[at], room.rows[at] = j, rows[j]
    for p in range(at):
        room.part[p, at] = room.part[at, p] = gram[j, room.columns[p]]
    room.part[at, at] = gram[j, j]


@block
def _fit_base(gram: Float64Array, rows: Float64Array, size: int, sum_to_one: bool, room: Room) -> float:
    """Fit the columns of the small problem, and write the slopes of all columns; return the objective."""
    n = room.slopes.size
    value, _ = minimise(room.part, room.rows, size, sum_to_one, room.small)
    for j in range(n):
        room.slopes[j] = rows[j]
    for p in range(size):
        x = room.base[p] = room.small.x[p]
        if x > 0.0:
            for j in range(n):
                room.slopes[j] -= x * gram[room.columns[p], j]
    if sum_to_one:
        mean = 0.0
        for p in range(size):
            mean += room.base[p] * room.slopes[room.columns[p]]
        for j in range(n):
            room.slopes[j] -= mean
    return value


@block
def _exchange(
    gram: Float64Array, rows: Float64Array, x: Float64Array, n_nonzero: int, sum_to_one: bool, room: Room
) -> tuple[bool, int]:
    """Make the best exchange of a target, if one lowers its objective; say so, and how many fits were not done."""
    n, count, late, top = x.size, 0, 0, 0.0
    for j in range(n):
        top = max(top, gram[j, j])
        if x[j] > 0.0:
            room.support[count] = j
            count += 1
    best, found = objective(gram, rows, n, x) - _LEAST_GAIN * top, False
    # With room for one more, another column beside all of them is at least as good as one in the place of one.
    spare = count < n_nonzero
    size = count + 1 if spare else count
    for slot in range(1 if spare else count):
        at = 0
        for p in range(count):
            if spare or p != slot:
                _pack(gram, rows, room.support[p], at, room)
                at += 1
        alone = size == 1 and sum_to_one
        value = np.inf if alone else _fit_base(gram, rows, size - 1, sum_to_one, room)
        for j in range(n):
            if x[j] > 0.0 or not (alone or room.slopes[j] > 0.0):
                continue
            if sum_to_one and not alone and value - room.slopes[j] >= best:
                continue
            _pack(gram, rows, j, size - 1, room)
            for p in range(size - 1):
                room.small.x[p] = room.base[p]
            room.small.x[size - 1] = 1.0 if alone else 0.0
            start(room.part, size, room.small)
            late += not descend(room.part, room.rows, size, sum_to_one, room.small)[1]
            lower = objective(room.part, room.rows, size, room.small.x)
            if lower < best:
                best, found = lower, True
                for p in range(size):
                    room.chosen[p], room.best[p] = room.columns[p], room.small.x[p]
    if found:
        x[:] = 0.0
        for p in range(size):
            x[room.chosen[p]] = room.best[p]
    return found, late


@block
def _exchanges(
    gram: Float64Array, rows: Float64Array, x: Float64Array, n_nonzero: int, sum_to_one: bool, room: Room
) -> int:
    """Exchange while that lowers the objective; return how many fits were not done."""
    late = 0
    for _ in range(_ROUNDS):
        found, more = _exchange(gram, rows, x, n_nonzero, sum_to_one, room)
        late += more
        if not found:
            break
    return late


@block
def _fit(
    gram: Float64Array,
    rows: Float64Array,
    n_nonzero: int,
    sum_to_one: bool,
    minimum: Float64Array,
    few: Float64Array,
    room: Room,
) -> int:
    """Write the minimiser of a target, and what is left of it; return how many fits were not done."""
    n = rows.size
    late = 0 if minimise(gram, rows, n, sum_to_one, room.all)[1] else 1
    for j in range(n):
        minimum[j] = room.all.x[j]
    late += _drop(gram, rows, n, n_nonzero, sum_to_one, room.all)
    for j in range(n):
        few[j] = room.all.x[j]
    return late


@entry
def fit_grams(
    grams: Float64Array,
    rows: Float64Array,
    n_nonzero: int,
    sum_to_one: bool,
    minimum: Float64Array,
    few: Float64Array,
    room: Room,
) -> int:
    """Fit all targets, and drop small weights.

    Parameters
    ----------
    grams : ndarray of shape (n_targets, n, n)
    rows : ndarray of shape (n_targets, n)
        Correlations.
    n_nonzero : int
    sum_to_one : bool
    minimum, few : ndarray of shape (n_targets, n)
        Overwritten with the minimisers, and with what is left of them with few nonzeros.
    room : Room
        Of :func:`reserve`.

    Returns
    -------
    int
        How many fits were not done.
    """
    late = 0
    for t in range(rows.shape[0]):
        late += _fit(grams[t], rows[t], n_nonzero, sum_to_one, minimum[t], few[t], room)
    return late


@entry
def exchange_columns(
    grams: Float64Array, rows: Float64Array, x: Float64Array, n_nonzero: int, sum_to_one: bool, room: Room
) -> int:
    """Exchange one column for another one while that lowers the objective of a target.

    Parameters are those of :func:`fit_grams`; `x` has at most `n_nonzero` nonzeros per row and is updated in place.

    Returns
    -------
    int
        How many fits were not done.
    """
    late = 0
    for t in range(rows.shape[0]):
        late += _exchanges(grams[t], rows[t], x[t], n_nonzero, sum_to_one, room)
    return late


@block
def _square(columns: Float64Array, gram: Float64Array) -> None:
    """Write the Gram matrix of columns."""
    n = gram.shape[0]
    gram[:] = 0.0
    for r in range(columns.shape[0]):
        for i in range(n):
            value = columns[r, i]
            for j in range(n):
                gram[i, j] += value * columns[r, j]


@entry
def fit_misses(
    misses: Float64Array, n_nonzero: int, exchanges: bool, minimum: Float64Array, few: Float64Array, room: Room
) -> int:
    """Find weights that sum to one and whose mixture of the columns of a target is short.

    Parameters
    ----------
    misses : ndarray of shape (n_targets, n_rows, n)
        Columns of each target. Their Gram matrices exist one at a time.
    n_nonzero : int
    exchanges : bool
        Whether exchanges follow where a weight was dropped. Elsewhere no weights are better.
    minimum, few, room
        As in :func:`fit_grams`.

    Returns
    -------
    int
        How many fits were not done.
    """
    gram, zeros, late = room.gram, room.zeros, 0
    n = zeros.size
    for t in range(misses.shape[0]):
        _square(misses[t], gram)
        late += _fit(gram, zeros, n_nonzero, True, minimum[t], few[t], room)
        count = 0
        for j in range(n):
            count += minimum[t, j] > 0.0
        if exchanges and count > n_nonzero:
            late += _exchanges(gram, zeros, few[t], n_nonzero, True, room)
    return late


def warmup() -> None:
    """Compile all kernels for the types that the package uses."""
    room, grams = reserve(2, 1), np.eye(2).reshape(1, 2, 2)
    rows, minimum, few = np.zeros((3, 1, 2))
    fit_grams(grams, rows, 1, True, minimum, few, room)
    exchange_columns(grams, rows, few, 1, True, room)
    fit_misses(grams, 1, True, minimum, few, room)
