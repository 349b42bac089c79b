"""Growth and exchanges of a set of columns that raise the evidence bound of a linear model with a normal prior.

In units of the prior the precision matrix of the active coefficients is ``I + rho G_AA`` with ``rho = kappa sigma^2``;
its Cholesky factor follows every move in O(s^2). Column j has the weight ``w_j = sigma^2 / (2 (1 + rho G_jj))`` and the
cost ``c_j = log(1 + rho G_jj) / 2``, infinite for columns that must not enter. With the gradient
``g = kappa F'(y - F mu)``,

    entering gains ``w_j g_j^2 - c_j``, leaving costs ``mu_i^2 / (4 w_i) - c_i``,

and an exchange is both, with ``g_j + kappa G_ij mu_i`` in place of ``g_j``. After an exact solution the bound is
``kappa b'mu / 2`` less the costs of the active columns, up to a constant.
"""

import math

import numpy as np

from sparsetheory.numba_kernels.inlined import inlined
from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.numba_kernels.quadratic.updated_cholesky import append, remove, solve
from sparsetheory.typing import BoolArray, Float64Array, Int64Array

__all__ = ["exchange_gains", "grow", "refit", "swap", "warmup"]

# Columns that one pass over the Gram rows takes at a time: their rows, gradient and gains stay in the nearest cache.
_CHUNK = 256
# Gains that differ by less than this, relative to the terms they are made of, are equal: the lowest index wins.
_EQUAL = 1e-11


@inlined(fastmath=True)
def _gradient(
    gram: Float64Array,
    place: Int64Array,
    b: Float64Array,
    active: Int64Array,
    mean: Float64Array,
    size: int,
    kappa: float,
    start: int,
    end: int,
    g: Float64Array,
) -> None:
    """Write ``kappa (b - G mu)`` for the columns from `start` to `end`; two rows share a pass."""
    for j in range(start, end):
        g[j] = kappa * b[j]
    head = size % 2
    if head:
        first, one = gram[place[active[0]]], kappa * mean[0]
        for j in range(start, end):
            g[j] -= one * first[j]
    for i in range(head, size, 2):
        first, second = gram[place[active[i]]], gram[place[active[i + 1]]]
        one, other = kappa * mean[i], kappa * mean[i + 1]
        for j in range(start, end):
            g[j] -= one * first[j] + other * second[j]


@inlined(fastmath=True)
def _exchanges(
    gram: Float64Array,
    place: Int64Array,
    active: Int64Array,
    mean: Float64Array,
    size: int,
    kappa: float,
    weight: Float64Array,
    cost: Float64Array,
    start: int,
    end: int,
    g: Float64Array,
    best: Float64Array,
) -> None:
    """Write, for the columns from `start` to `end`, the gain of the best exchange into each."""
    for j in range(start, end):
        best[j] = -np.inf
    for i in range(size):
        k = active[i]
        row, change = gram[place[k]], kappa * mean[i]
        leaving = cost[k] - mean[i] * mean[i] / (4.0 * weight[k])
        for j in range(start, end):
            slope = g[j] + change * row[j]
            gain = leaving + weight[j] * slope * slope
            best[j] = gain if gain > best[j] else best[j]
    for j in range(start, end):
        best[j] -= cost[j]


@inlined
def _leading(best: Float64Array, is_active: BoolArray, scale: float) -> int:
    """Return the lowest index among the largest entries of columns that are not active, or -1 if none is finite."""
    top = -np.inf
    for j in range(best.size):
        if not is_active[j] and best[j] > top:
            top = best[j]
    if top == -np.inf:
        return -1
    least = top - _EQUAL * (abs(top) + scale)
    for j in range(best.size):
        if not is_active[j] and best[j] >= least:
            return j
    return -1


@inlined
def _enter(
    gram: Float64Array,
    place: Int64Array,
    active: Int64Array,
    is_active: BoolArray,
    factor: Float64Array,
    size: int,
    rho: float,
    ridge: float,
    j: int,
) -> None:
    """Make column j the last one of `size` + 1 active ones."""
    row = gram[place[j]]
    for i in range(size):
        factor[size, i] = rho * row[active[i]]
    factor[size, size] = ridge + rho * row[j]
    # No Schur complement is below the prior's share; rounding of a repeated column may leave less.
    if not append(factor, size, 0.0) or factor[size, size] < math.sqrt(ridge):
        factor[size, size] = math.sqrt(ridge)
    active[size] = j
    is_active[j] = True


@inlined
def _leave(active: Int64Array, is_active: BoolArray, factor: Float64Array, size: int, at: int) -> None:
    """Take the column at a place out of `size` active ones."""
    remove(factor, size, at)
    is_active[active[at]] = False
    for i in range(at, size - 1):
        active[i] = active[i + 1]


@inlined
def _solve(
    b: Float64Array,
    cost: Float64Array,
    active: Int64Array,
    mean: Float64Array,
    factor: Float64Array,
    size: int,
    kappa: float,
    prior: float,
) -> float:
    """Write the posterior mean, and return the bound up to its constant."""
    for i in range(size):
        mean[i] = kappa * prior * b[active[i]]
    solve(factor, size, mean)
    total = 0.0
    for i in range(size):
        total += 0.5 * kappa * b[active[i]] * mean[i] - cost[active[i]]
    return total


@kernel
def refit(
    gram: Float64Array,
    place: Int64Array,
    b: Float64Array,
    cost: Float64Array,
    active: Int64Array,
    is_active: BoolArray,
    mean: Float64Array,
    factor: Float64Array,
    size: int,
    kappa: float,
    prior: float,
    ridge: float,
) -> float:
    """Factorise afresh for the first `size` columns of `active`, whose Gram rows are known; return the bound.

    Parameters
    ----------
    gram : ndarray of shape (capacity, N)
        Known rows of the Gram matrix.
    place : ndarray of shape (N,)
        Row of each column in `gram`, or -1.
    b, cost : ndarray of shape (N,)
        Inner products with the data, and costs.
    active, mean : ndarray of shape (s,)
        Columns, and their posterior means, which are written.
    is_active : ndarray of shape (N,)
        Overwritten.
    factor : ndarray of shape (s, s)
        Overwritten.
    size : int
        Columns in use.
    kappa, prior : float
        Precision of the noise, and variance of the prior.
    ridge : float
        The prior's share of the diagonal in its own units: one, or more where rounding of the Gram matrix is larger.
    """
    is_active[:] = False
    for i in range(size):
        _enter(gram, place, active, is_active, factor, i, kappa * prior, ridge, active[i])
    return _solve(b, cost, active, mean, factor, size, kappa, prior)


@kernel
def grow(
    gram: Float64Array,
    place: Int64Array,
    b: Float64Array,
    weight: Float64Array,
    cost: Float64Array,
    active: Int64Array,
    is_active: BoolArray,
    mean: Float64Array,
    factor: Float64Array,
    size: int,
    kappa: float,
    prior: float,
    ridge: float,
    g: Float64Array,
    best: Float64Array,
) -> tuple[int, int]:
    """Add the column with the largest gain and solve, again and again, until `active` is full.

    Parameters
    ----------
    gram, place, b, cost, active, is_active, mean, factor, size, kappa, prior, ridge
        As in :func:`refit`; a solution for the first `size` columns is updated.
    weight : ndarray of shape (N,)
        Weights.
    g, best : ndarray of shape (N,)
        Gradient and gains, overwritten.

    Returns
    -------
    tuple of (int, int)
        Columns in use, and the column whose Gram row is needed next; -1 where `active` is full, or no column is left.
    """
    while size < active.size:
        top = 0.0
        for start in range(0, b.size, _CHUNK):
            end = min(start + _CHUNK, b.size)
            _gradient(gram, place, b, active, mean, size, kappa, start, end, g)
            for j in range(start, end):
                gain = weight[j] * g[j] * g[j]
                top = max(top, gain)
                best[j] = gain - cost[j]
        j = _leading(best, is_active, top)
        if j < 0 or place[j] < 0:
            return size, j
        _enter(gram, place, active, is_active, factor, size, kappa * prior, ridge, j)
        size += 1
        _solve(b, cost, active, mean, factor, size, kappa, prior)
    return size, -1


@kernel
def exchange_gains(
    gram: Float64Array,
    place: Int64Array,
    weight: Float64Array,
    cost: Float64Array,
    active: Int64Array,
    mean: Float64Array,
    kappa: float,
    g: Float64Array,
    best: Float64Array,
) -> None:
    """Write the gain of the best exchange into each column, for a gradient that is given.

    Parameters
    ----------
    gram, place, weight, cost, active, mean, kappa, g, best
        As in :func:`grow`; all columns of `active` are in use.
    """
    for start in range(0, g.size, _CHUNK):
        end = min(start + _CHUNK, g.size)
        _exchanges(gram, place, active, mean, active.size, kappa, weight, cost, start, end, g, best)


@kernel
def swap(
    gram: Float64Array,
    place: Int64Array,
    b: Float64Array,
    weight: Float64Array,
    cost: Float64Array,
    active: Int64Array,
    is_active: BoolArray,
    mean: Float64Array,
    factor: Float64Array,
    size: int,
    kappa: float,
    prior: float,
    ridge: float,
    g: Float64Array,
    best: Float64Array,
    least_gain: float,
    bounds: Float64Array,
    done: int,
) -> tuple[int, int]:
    """Make the exchange that gains most and solve, again and again, as long as one gains more than `least_gain`.

    One pass over the Gram rows of the active columns finds the gradient and the best of all s (N - s) exchanges.

    Parameters
    ----------
    gram, place, b, weight, cost, active, is_active, mean, factor, size, kappa, prior, ridge, g, best
        As in :func:`grow`.
    least_gain : float
        Exchanges that gain no more are left alone.
    bounds : ndarray of shape (n,)
        The bound after each solution; entry `done` is known, later ones are written.
    done : int
        Exchanges made before.

    Returns
    -------
    tuple of (int, int)
        Exchanges made in all, and the column whose Gram row is needed next; -1 where no exchange gains enough, or
        `bounds` is full.
    """
    while done + 1 < bounds.size:
        # 1. All exchanges.
        for start in range(0, b.size, _CHUNK):
            end = min(start + _CHUNK, b.size)
            _gradient(gram, place, b, active, mean, size, kappa, start, end, g)
            _exchanges(gram, place, active, mean, size, kappa, weight, cost, start, end, g, best)
        scale = 0.0
        for i in range(size):
            scale = max(scale, mean[i] * mean[i] / (4.0 * weight[active[i]]))
        j = _leading(best, is_active, scale)
        if j < 0 or not best[j] > least_gain or place[j] < 0:
            return done, (-1 if j < 0 or not best[j] > least_gain else j)
        # 2. Which column leaves for it.
        at, top = 0, -np.inf
        for i in range(size):
            k = active[i]
            slope = g[j] + kappa * mean[i] * gram[place[k], j]
            gain = cost[k] - mean[i] * mean[i] / (4.0 * weight[k]) + weight[j] * slope * slope
            if gain > top:
                at, top = i, gain
        # 3. The exact solution can only gain more; where rounding hides that, the exchange is taken back.
        gone = active[at]
        _leave(active, is_active, factor, size, at)
        _enter(gram, place, active, is_active, factor, size - 1, kappa * prior, ridge, j)
        bound = _solve(b, cost, active, mean, factor, size, kappa, prior)
        if not bound > bounds[done]:
            _leave(active, is_active, factor, size, size - 1)
            _enter(gram, place, active, is_active, factor, size - 1, kappa * prior, ridge, gone)
            _solve(b, cost, active, mean, factor, size, kappa, prior)
            return done, -1
        done += 1
        bounds[done] = bound
    return done, -1


def warmup() -> None:
    """Compile for the types that the library uses."""
    place, b, weight, cost = np.arange(2), np.ones(2), np.full(2, 0.25), np.full(2, math.log(2.0) / 2.0)
    active, is_active, mean, factor = np.zeros(1, np.int64), np.zeros(2, np.bool_), np.zeros(1), np.zeros((1, 1))
    moves = (active, is_active, mean, factor)
    grow(np.eye(2), place, b, weight, cost, *moves, 0, 1.0, 1.0, 1.0, np.empty(2), np.empty(2))
    bounds = np.array([refit(np.eye(2), place, b, cost, *moves, 1, 1.0, 1.0, 1.0), 0.0])
    exchange_gains(np.eye(2), place, weight, cost, active, mean, 1.0, np.empty(2), np.empty(2))
    swap(np.eye(2), place, b, weight, cost, *moves, 1, 1.0, 1.0, 1.0, np.empty(2), np.empty(2), 0.0, bounds, 0)
