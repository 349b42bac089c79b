"""Descent on ``|y - Ub|^2 / 2 + cost * #{b != 0} + ridge * |b|^2`` with unit columns U, one or two features at a time.

All kernels see the data through the correlations ``c = U'(y - Ub)`` and rows of the Gram matrix ``U'U``. A unit column
of zeros has ``c = 0`` and is never touched. Let ``h = 1 + 2 ridge`` be the curvature, and v the inner product of a
column with the residual without its own term: ``v = c + b``. As a function of its coefficient t alone, the objective is
``h t^2 / 2 - v t`` plus the cost where t is not zero. So the best value is ``v / h``, and it lowers the objective by
``v^2 / (2h) - cost`` against zero.
"""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import BoolArray, Float64Array, Int64Array

__all__ = ["best_pair_move", "best_swap", "l0_sweep", "warmup"]


# Smaller relative changes of a coefficient are left to the next exact solve.
_STILL = 1e-10
# Pairs whose squared sine is below this are one feature.
_PARALLEL = 1e-12


@kernel
def l0_sweep(
    coef: Float64Array,
    correlations: Float64Array,
    order: Int64Array,
    start: int,
    gram: Float64Array,
    place: Int64Array,
    cost: float,
    curvature: float,
    least_gain: float,
) -> int:
    """Minimise over one coefficient after another; `coef` and `correlations` are updated in place.

    Parameters
    ----------
    coef, correlations : ndarray of shape (n_features,)
        Coefficients and inner products with the residual.
    order : ndarray of shape (n_features,)
        Order of the sweep.
    start : int
        Place in the order to start from.
    gram : ndarray of shape (capacity, n_features)
        Known rows of the Gram matrix.
    place : ndarray of shape (n_features,)
        Row of each feature in `gram`, or -1.
    cost, curvature, least_gain : float
        As above; a zero coefficient changes only where that gains more than `least_gain`.

    Returns
    -------
    int
        Number of features after the whole sweep; else the place in the order of the first feature whose row is needed
        and not known.
    """
    for k in range(start, order.size):
        j = order[k]
        # 1. The best value of this coefficient, and whether it is worth its cost. A coefficient that is zero has to
        # gain a little more, so that rounding does not make the sweeps go back and forth.
        v = correlations[j] + coef[j]
        worth = v * v / (2.0 * curvature)
        keep = worth >= cost if coef[j] != 0.0 else worth > cost + least_gain
        new = v / curvature if keep else 0.0
        change = new - coef[j]
        if abs(change) <= _STILL * abs(new):
            continue
        # 2. The change needs a row of the Gram matrix; the caller computes missing ones and comes back.
        row = place[j]
        if row < 0:
            return k
        # 3. The residual loses change * column j, and all correlations change with it.
        coef[j] = new
        for i in range(correlations.size):
            correlations[i] -= change * gram[row, i]
    return order.size


@kernel
def best_swap(
    coef: Float64Array,
    correlations: Float64Array,
    support: Int64Array,
    gram: Float64Array,
    place: Int64Array,
    curvature: float,
) -> tuple[int, int, float]:
    """Find the exchange of one selected feature for another that lowers the objective most, the others being fixed.

    Parameters
    ----------
    coef, correlations, gram, place, curvature
        As in :func:`l0_sweep`; the rows of selected features are known.
    support : ndarray of shape (n_selected,)
        Selected features.

    Returns
    -------
    out, into : int
        The features.
    gain : float
        Drop of the objective; zero where no exchange lowers it. O(n_selected * n_features).
    """
    best_out, best_in, best_gain = -1, -1, 0.0
    for i in support:
        # Without feature i the residual gains its term: v_j = c_j + b_i <u_i, u_j>, and feature i itself is worth
        # own^2 / (2h).
        row = place[i]
        own = correlations[i] + coef[i]
        for j in range(correlations.size):
            if coef[j] != 0.0:
                continue
            v = correlations[j] + coef[i] * gram[row, j]
            gain = (v * v - own * own) / (2.0 * curvature)
            if gain > best_gain:
                best_out, best_in, best_gain = i, j, gain
    return best_out, best_in, best_gain


@kernel
def _best_addition(
    correlations: Float64Array, taken: BoolArray, gram: Float64Array, cost: float, curvature: float
) -> tuple[int, int, float]:
    """Find the at most two free features that lower the objective most; -1 stands for none."""
    first, second, best = -1, -1, 0.0
    for j in range(correlations.size):
        if taken[j]:
            continue
        v = correlations[j]
        alone = v * v / (2.0 * curvature) - cost
        if alone > best:
            first, second, best = j, -1, alone
        for l in range(j + 1, correlations.size):
            # The best pair solves [[h, g], [g, h]] t = v: it gains v' [[h, g], [g, h]]^{-1} v / 2, less two costs.
            g = gram[j, l]
            sine = curvature * curvature - g * g
            if taken[l] or sine <= _PARALLEL * curvature * curvature:
                continue
            w = correlations[l]
            both = (curvature * (v * v + w * w) - 2.0 * g * v * w) / (2.0 * sine) - 2.0 * cost
            if both > best:
                first, second, best = j, l, both
    return first, second, best


@kernel
def best_pair_move(
    coef: Float64Array,
    correlations: Float64Array,
    support: Int64Array,
    gram: Float64Array,
    cost: float,
    curvature: float,
) -> tuple[int, int, int, int, float]:
    """Find the best move that takes out at most two features and puts in at most two, the others being fixed.

    Parameters
    ----------
    coef, correlations, support, cost, curvature
        As above.
    gram : ndarray of shape (n_features, n_features)
        The whole Gram matrix; row j belongs to feature j.

    Returns
    -------
    out1, out2, in1, in2 : int
        Features; -1 for none. A feature may come back in with another coefficient.
    gain : float
        Drop of the objective; zero where no move lowers it. O(n_selected^2 * n_features^2).
    """
    moves = (-1, -1, -1, -1, 0.0)
    taken = coef != 0.0
    left = np.empty_like(correlations)
    s = support.size
    for p in range(-1, s):
        # p = -1 stands for taking out none, q = p for taking out feature p alone.
        for q in range(p, s if p >= 0 else 0):
            i, l = (support[p] if p >= 0 else -1), (support[q] if q > p else -1)
            # 1. Take out: correlations gain the terms of the features, the objective loses their cost and ridge.
            left[:] = correlations
            gain = 0.0
            for out in (i, l):
                if out < 0:
                    continue
                # Taking out raises the loss; the cost and the ridge term are saved.
                old = coef[out]
                gain += cost - old * (left[out] + 0.5 * old) + 0.5 * (curvature - 1.0) * old * old
                for j in range(correlations.size):
                    left[j] += old * gram[out, j]
                taken[out] = False
            # 2. The best addition of at most two features to what is left.
            first, second, added = _best_addition(left, taken, gram, cost, curvature)
            if gain + added > moves[4]:
                moves = (i, l, first, second, gain + added)
            # 3. Put them back, for the next pair.
            for out in (i, l):
                if out >= 0:
                    taken[out] = True
    return moves


def warmup() -> None:
    """Compile the kernels of this file for their only signatures."""
    one, index, square = np.ones(1), np.zeros(1, np.int64), np.ones((1, 1))
    l0_sweep(one.copy(), one.copy(), index, 0, square, index, 1.0, 1.0, 0.0)
    best_swap(one, one, index, square, index, 1.0)
    best_pair_move(one, one, index, square, 1.0, 1.0)
