"""Active atoms of a Lasso code with the signs of their coefficients, and what happens to them between two passes.

Invariants between calls: `inverse` is the inverse of the Gram matrix of ``atoms[:size]``; ``excess`` is
``r - alpha sign`` of these atoms for the present coefficients `x`; the correlations of all atoms are those of the
coefficients in `before`. Changes by atoms that have left are kept in the first entries of `which` and `amounts`, and
`pending` is their number.
"""

import math
from typing import NamedTuple

import numpy as np

from sparsetheory.numba_kernels.inlined import block, inlined
from sparsetheory.numba_kernels.quadratic.bordered_inverse import drop, insert, move_last, padded, times
from sparsetheory.typing import BoolArray, FloatArray, Int64Array

__all__ = ["SignedAtoms", "descend", "distance", "enter", "exchange", "leave", "rebuild", "reserve_signed"]


class SignedAtoms(NamedTuple):
    """Active atoms in any order, and scratch space. Lengths are the capacity, but for the last five."""

    inverse: FloatArray
    atoms: Int64Array
    x: FloatArray
    before: FloatArray
    sign: FloatArray
    excess: FloatArray
    step: FloatArray
    inner: FloatArray
    column: FloatArray
    which: Int64Array
    amounts: FloatArray
    candidates: Int64Array
    used: BoolArray
    folded: FloatArray


def reserve_signed(capacity: int, n: int, dtype: np.dtype) -> SignedAtoms:
    """Return room for `capacity` active atoms of n."""
    x, before, sign, excess, step, inner, column = np.zeros((7, capacity), dtype)
    which, amounts = np.zeros(2 * capacity + 1, np.int64), np.zeros(2 * capacity + 1, dtype)
    candidates, used, folded = np.zeros(n, np.int64), np.zeros(n, np.bool_), np.zeros(n // 2 + 1, dtype)
    inverse, index = np.zeros((capacity, capacity), dtype), np.zeros(capacity, np.int64)
    return SignedAtoms(
        inverse, index, x, before, sign, excess, step, inner, column, which, amounts, candidates, used, folded
    )


@inlined(fastmath=True)
def distance(gram: FloatArray, i: int, a: SignedAtoms, size: int) -> float:
    """Write the coefficients of atom i on the active ones to `a.column`; return its squared distance from them."""
    for j in range(size):
        a.inner[j] = gram[i, a.atoms[j]]
    times(a.inverse, size, a.inner, a.column)
    left = gram[i, i]
    for j in range(size):
        left -= a.inner[j] * a.column[j]
    return left


@inlined
def _extend(a: SignedAtoms, size: int, left: float) -> None:
    """Append to the inverse the atom that :func:`distance` was called with."""
    for j in range(size, padded(size + 1)):
        a.column[j] = a.x.dtype.type(0)
    insert(a.inverse, size + 1, size, a.column, left)


@block
def enter(i: int, x: float, signed: float, alpha: float, left: float, a: SignedAtoms, size: int) -> int:
    """Append atom i, of coefficient x and correlation `signed`, after :func:`distance`; return the new size."""
    _extend(a, size, left)
    a.atoms[size], a.x[size], a.before[size] = i, x, a.x.dtype.type(0)
    a.sign[size] = math.copysign(a.x.dtype.type(1), signed)
    a.excess[size] = signed - alpha * a.sign[size]
    a.used[i] = True
    return size + 1


@inlined
def leave(out: int, a: SignedAtoms, size: int, pending: int) -> tuple[int, int]:
    """Remove an active atom and note the change that the correlations are due; return the new counts."""
    if a.before[out] != 0:
        a.which[pending], a.amounts[pending] = a.atoms[out], -a.before[out]
        pending += 1
    a.used[a.atoms[out]] = False
    drop(a.inverse, size, out, a.column)
    move_last(a.inverse, size, out)
    last = size - 1
    a.atoms[out], a.x[out], a.before[out] = a.atoms[last], a.x[last], a.before[last]
    a.sign[out], a.excess[out] = a.sign[last], a.excess[last]
    return last, pending


@block
def exchange(gram: FloatArray, i: int, signed: float, alpha: float, a: SignedAtoms, size: int) -> tuple[int, int]:
    """Let atom i, a combination of active ones, replace one of them; return the new counts.

    Let ``A_i = sum_j w_j A_j`` over the active atoms, w as :func:`distance` writes it. For t > 0, the coefficient
    ``t towards`` of atom i and ``x_j - t towards w_j`` of the others give the same fit. The correlation of atom i is
    ``sum_j w_j r_j``, so that with ``r_j = alpha sign_j + excess_j`` the l1 norm falls with t at the rate
    ``(|r_i| - sum_j towards w_j excess_j) / alpha - 1``. Its sign is that of `rate` below; it is positive where active
    atoms are optimal, because the correlation of atom i is beyond alpha. The move goes on until the first coefficient
    is zero. That atom leaves, and atom i takes its place.
    """
    distance(gram, i, a, size)
    towards = math.copysign(a.x.dtype.type(1), signed)
    nothing = math.sqrt(np.finfo(type(signed)).eps)
    out, length, rate, most = -1, a.x.dtype.type(np.inf), abs(signed) - alpha, a.x.dtype.type(0)
    for j in range(size):
        rate -= towards * a.column[j] * a.excess[j]
        most = max(most, abs(a.column[j]))
    for j in range(size):
        weight = towards * a.column[j]
        # Weights that are rounding errors say nothing about the way to zero.
        if weight * a.sign[j] > nothing * most and abs(a.x[j] / weight) < length:
            out, length = j, abs(a.x[j] / weight)
    if out < 0 or rate <= 0:
        return size, 0
    for j in range(size):
        a.x[j] -= length * towards * a.column[j]
    size, pending = leave(out, a, size, 0)
    left = distance(gram, i, a, size)
    return enter(i, length * towards, signed, alpha, left, a, size), pending


@block(fastmath=True)
def descend(a: SignedAtoms, size: int, pending: int) -> tuple[int, int]:
    """Move to the minimiser for the given signs; atoms whose coefficient reaches zero leave. Return the new counts.

    O(k^2) operations for each move, of which there is one more than atoms leave.
    """
    zero, one = a.x.dtype.type(0), a.x.dtype.type(1)
    while True:
        # The whole step leads to the minimiser. Only up to the first coefficient that reaches zero is the quadratic
        # with these signs the objective.
        times(a.inverse, size, a.excess, a.step)
        out, length = -1, one
        for j in range(size):
            if (a.x[j] + a.step[j]) * a.sign[j] <= zero:
                reach = -a.x[j] / a.step[j] if a.step[j] * a.sign[j] < zero else zero
                if out < 0 or reach < length:
                    out, length = j, reach
        # A part of the step removes that part of the violations, because ``G step`` is their vector.
        for j in range(size):
            a.x[j] += length * a.step[j]
            a.excess[j] *= one - length
        if out < 0:
            return size, pending
        size, pending = leave(out, a, size, pending)


@block
def rebuild(gram: FloatArray, dependent: float, a: SignedAtoms, size: int) -> tuple[int, int]:
    """Compute the inverse anew, without atoms that turn out to be dependent; return the new counts."""
    kept, pending = 0, 0
    for j in range(size):
        for l in range(padded(size)):
            a.inverse[j, l] = a.x.dtype.type(0)
    for j in range(size):
        i = a.atoms[j]
        left = distance(gram, i, a, kept)
        if left > dependent * gram[i, i]:
            _extend(a, kept, left)
            a.atoms[kept], a.x[kept], a.before[kept], a.sign[kept] = i, a.x[j], a.before[j], a.sign[j]
            kept += 1
        else:
            a.used[i] = False
            a.which[pending], a.amounts[pending] = i, -a.before[j]
            pending += 1
    return kept, pending
