"""Newton steps on the nonzero coefficients of a code, from one kink of the penalty to the next.

On the piece where a coefficient lies, the derivative of its penalty is ``offset + bend x``: exactly where the penalty
is piecewise quadratic, else as its tangent at the present coefficient. With r for the correlations with the residual,
the negative gradient of the objective is

    slope = r - offset - bend x,

and the Newton step is ``move = (G + diag(bend))^-1 slope``, G the Gram matrix of the active atoms. Penalties that are
not convex have negative bends. A coefficient takes part only as long as the matrix stays positive definite with it, so
the step is one of descent; the others wait for coordinate steps.

A step is cut where the first coefficient reaches the end of its piece. Up to there a piecewise quadratic objective is
the quadratic itself, and falls. For other penalties :func:`_bounded` shortens the step until it certainly falls.

O(k^2) operations per step on k active atoms, and O(k^2) for each coefficient whose piece has changed.
"""

import math
from typing import NamedTuple

import numpy as np

from sparsetheory.numba_kernels.inlined import block, inlined
from sparsetheory.numba_kernels.penalties.piecewise import PenaltyTable, piece_at
from sparsetheory.numba_kernels.penalties.proximal import value
from sparsetheory.numba_kernels.quadratic.bordered_inverse import add_square, drop, insert, move_last, padded, times
from sparsetheory.typing import BoolArray, FloatArray, Int64Array

__all__ = ["AT_KINK", "ELSEWHERE", "OPTIMAL", "BentAtoms", "enter", "newton", "prune", "reserve_bent"]


# Second derivatives of the penalty, the bends, that change by less than this times the squared norm of the atom stay in
# the inverse as they are.
_LITTLE = 0.02
# How a Newton step ends: at a kink of the penalty, elsewhere, or at a point that no coordinate step improves.
AT_KINK, ELSEWHERE, OPTIMAL = range(3)


class BentAtoms(NamedTuple):
    """Active atoms in any order, and scratch space. Lengths are the capacity, but for the last four.

    `inverse` belongs to ``gram + diag(bend)``, without the coefficients that would make this indefinite. `offset`,
    `bend`, `low` and `high` describe the piece of the penalty on which a coefficient lies: its derivative there is
    ``offset + bend x``, and its ends are `low` and `high`. `weight` is zero, or for an
    atom that depends on others, how many of their rounding errors come together in its correlation.
    """

    gram: FloatArray
    inverse: FloatArray
    atoms: Int64Array
    x: FloatArray
    before: FloatArray
    r: FloatArray
    offset: FloatArray
    bend: FloatArray
    low: FloatArray
    high: FloatArray
    weight: FloatArray
    slope: FloatArray
    move: FloatArray
    column: FloatArray
    which: Int64Array
    amounts: FloatArray
    used: BoolArray
    folded: FloatArray


def reserve_bent(capacity: int, n: int, dtype: np.dtype) -> BentAtoms:
    """Return room for `capacity` active atoms of n."""
    gram, inverse = np.zeros((2, capacity, capacity), dtype)
    x, before, r, offset, bend, low, high, weight, slope, move, column = np.zeros((11, capacity), dtype)
    which, amounts = np.zeros(2 * capacity, np.int64), np.zeros(2 * capacity, dtype)
    index, used, folded = np.zeros(capacity, np.int64), np.zeros(n, np.bool_), np.zeros(n // 2 + 1, dtype)
    shape = offset, bend, low, high, weight
    return BentAtoms(gram, inverse, index, x, before, r, *shape, slope, move, column, which, amounts, used, folded)


@inlined
def enter(gram: FloatArray, i: int, x: float, r: float, a: BentAtoms, size: int) -> int:
    """Append atom i, of coefficient x and correlation r; return the new size."""
    a.atoms[size], a.x[size], a.before[size], a.r[size] = i, x, a.x.dtype.type(0), r
    a.bend[size], a.low[size], a.high[size] = a.x.dtype.type(0), a.x.dtype.type(1), a.x.dtype.type(-1)
    a.used[i], a.weight[size] = True, a.x.dtype.type(0)
    for j in range(size + 1):
        a.gram[size, j] = gram[i, a.atoms[j]]
        a.gram[j, size] = a.gram[size, j]
    return size + 1


@inlined
def _leave(out: int, a: BentAtoms, size: int, pending: int) -> tuple[int, int]:
    """Remove an active atom and note the change that the correlations are due; return the new counts."""
    if a.before[out] != 0:
        a.which[pending], a.amounts[pending] = a.atoms[out], -a.before[out]
        pending += 1
    a.used[a.atoms[out]] = False
    if a.inverse[out, out] > 0:
        drop(a.inverse, size, out, a.column)
    move_last(a.inverse, size, out)
    move_last(a.gram, size, out)
    last = size - 1
    a.atoms[out], a.x[out], a.before[out], a.r[out] = a.atoms[last], a.x[last], a.before[last], a.r[last]
    a.offset[out], a.bend[out], a.low[out], a.high[out] = a.offset[last], a.bend[last], a.low[last], a.high[last]
    a.weight[out] = a.weight[last]
    return last, pending


@block
def prune(a: BentAtoms, size: int, pending: int) -> tuple[int, int]:
    """Remove the atoms of coefficient zero; return the new counts."""
    for j in range(size - 1, -1, -1):
        if a.x[j] == 0:
            size, pending = _leave(j, a, size, pending)
    return size, pending


@inlined(fastmath=True)
def _put_in(j: int, dependent: float, a: BentAtoms, size: int) -> None:
    """Let coefficient number j take part in Newton steps, if the Gram matrix plus `bend` stays positive definite."""
    times(a.inverse, size, a.gram[j], a.column)
    left, weight = a.gram[j, j] + a.bend[j], a.x.dtype.type(0)
    for l in range(size):
        left -= a.gram[j, l] * a.column[l]
        weight += abs(a.column[l])
    a.weight[j] = weight
    if left > dependent * a.gram[j, j]:
        insert(a.inverse, size, j, a.column, left)
        a.weight[j] = a.x.dtype.type(0)


@inlined
def _bend_by(j: int, change: float, dependent: float, a: BentAtoms, size: int) -> None:
    """Account for another bend of coefficient number j, or take it out if the matrix would be indefinite.

    A change c of a diagonal entry is one of rank one: with b for the column of the inverse, the new inverse is the old
    one less ``c / (1 + c b_j)`` times the square of b (Sherman and Morrison), and stays positive definite if and only
    if ``1 + c b_j`` is positive.
    """
    one, own = a.x.dtype.type(1), a.inverse[j, j]
    if one + change * own > dependent * a.gram[j, j] * own:
        for l in range(padded(size)):
            a.column[l] = a.inverse[j, l]
        add_square(a.inverse, size, a.column, -change / (one + change * own))
    else:
        drop(a.inverse, size, j, a.column)


@inlined
def _direct(p: PenaltyTable, dependent: float, a: BentAtoms, size: int) -> bool:
    """Write the slope of the objective and the Newton step; return whether all coefficients take part."""
    whole, little = True, a.x.dtype.type(_LITTLE)
    # Pieces first: those that their coefficients have left, all of them where the penalty is not quadratic.
    for j in range(size):
        if a.x[j] < a.low[j] or a.x[j] > a.high[j] or not p.quadratic:
            offset, bend, a.low[j], a.high[j] = piece_at(p, a.atoms[j], a.x[j])
            change, taken = bend - a.bend[j], a.inverse[j, j] > 0
            if taken and not p.quadratic and abs(change) <= little * a.gram[j, j]:
                # The old bend serves as well if the line still passes through the derivative at the coefficient.
                offset += change * a.x[j]
            else:
                a.bend[j] = bend
                if taken and change != 0:
                    _bend_by(j, change, dependent, a, size)
            a.offset[j] = offset
        if a.inverse[j, j] == 0:
            _put_in(j, dependent, a, size)
            whole = whole and a.inverse[j, j] > 0
    for j in range(size):
        a.slope[j] = a.r[j] - a.offset[j] - a.bend[j] * a.x[j]
    times(a.inverse, size, a.slope, a.move)
    return whole


@inlined
def _cut(a: BentAtoms, size: int) -> tuple[np.floating, int, np.floating]:
    """Return which fraction of the step reaches the first kink, and which coefficient is there, and the kink."""
    share, out, end = a.x.dtype.type(1), -1, a.x.dtype.type(0)
    for j in range(size):
        to = a.x[j] + a.move[j]
        if to < a.low[j] or to > a.high[j]:
            kink = a.low[j] if to < a.low[j] else a.high[j]
            reach = (kink - a.x[j]) / a.move[j]
            if reach <= share:
                share, out, end = max(reach, a.x.dtype.type(0)), j, kink
    return share, out, end


@inlined
def _bounded(p: PenaltyTable, share: np.floating, a: BentAtoms, size: int) -> np.floating:
    """Return a fraction of the step that lowers the objective where the penalty is not quadratic.

    The penalty is concave in the absolute value, below its tangents, so a fraction t of a step d changes the objective
    by at most ``t^2 d'Gd / 2 - t s'd`` with the slope s; and ``d'Gd = s'd - bend'd^2``. The bound is negative up to
    twice `safe`. Where it does not allow for the given fraction, the objective itself is compared.
    """
    half, along, bent = a.x.dtype.type(0.5), a.x.dtype.type(0), a.x.dtype.type(0)
    for j in range(size):
        along += a.slope[j] * a.move[j]
        bent -= a.bend[j] * a.move[j] * a.move[j]
    safe = along / (along + bent) if along + bent > 0 else share
    if share <= safe + safe:
        return share
    change = half * share * share * (along + bent)
    for j in range(size):
        i, to = a.atoms[j], a.x[j] + share * a.move[j]
        change += value(p.kind, to, p.alpha[i], p.shape[i]) - value(p.kind, a.x[j], p.alpha[i], p.shape[i])
        change -= share * a.r[j] * a.move[j]
    return share if change <= 0 else safe


@block
def newton(p: PenaltyTable, limit: float, dependent: float, a: BentAtoms, size: int) -> int:
    """Take the part of a Newton step that certainly lowers the objective; return how it ended."""
    # The step, the fraction of it up to the first kink, and, where the penalty is not quadratic, a fraction that is
    # safe.
    whole = _direct(p, dependent, a, size)
    share, out, end = _cut(a, size)
    if not p.quadratic:
        bounded = _bounded(p, share, a, size)
        share, out = bounded, out if bounded == share else -1
    if out >= 0:
        # A little beyond the kink, where the next step sees the other piece.
        beyond = type(end)(2) * np.finfo(type(end)).eps * abs(end)
        end += math.copysign(beyond, a.move[out])
    # Coefficients move, and the correlations of the active atoms with them.
    for j in range(size):
        to = a.x[j] + share * a.move[j] if j != out else end
        if p.positive:
            # Rounding may lead another coefficient beyond its own kink at zero.
            to = max(to, a.x.dtype.type(0))
        a.move[j] = to - a.x[j]
        a.x[j] = to
    times(a.gram, size, a.move, a.column)
    for j in range(size):
        a.r[j] -= a.column[j]
    if out >= 0:
        return AT_KINK if whole else ELSEWHERE
    # The whole step of a convex quadratic, without a kink on the way, ends at its minimiser: no sweep is needed to
    # know.
    optimal = whole and p.quadratic and p.convex
    for j in range(size):
        optimal = optimal and abs(a.r[j] - a.offset[j] - a.bend[j] * a.x[j]) <= limit
    return OPTIMAL if optimal else ELSEWHERE
