"""Sparse codes of many signals on one Gram matrix, by coordinate and Newton steps on an active set, for any penalty.

A coordinate step gives one coefficient its best value while the others stay: ``x_i <- prox(x_i + r_i / h_i)`` with step
``1 / h_i``, where r are the correlations of the atoms with the residual and ``h_i`` is the squared norm of atom i. That
is exact: as a function of x_i alone, half the squared residual is ``h_i / 2`` times the squared distance from
``x_i + r_i / h_i``, plus a constant. One pass

1. lets in the atoms whose correlations are beyond their thresholds, so that zero is not best for them;
2. works on the active atoms alone, on their own small Gram matrix, until no coordinate step moves;
3. updates the correlations r of all atoms.

Step 2 alternates. Coordinate steps decide which coefficients are zero. Newton steps on the others, from one kink of the
penalty to the next, replace the slow end of their convergence. Every step lowers the objective or leaves it, so the
method does not go in circles; it ends where no change of one coefficient lowers the objective, up to the tolerance.

With k active atoms of n a pass costs O(n k) operations for r, and O(k^2) for each sweep and each Newton step.
"""

import math
from typing import Any

import numpy as np

from sparsetheory.numba_kernels.inlined import block, entry, inlined
from sparsetheory.numba_kernels.penalties.piecewise import PenaltyTable
from sparsetheory.numba_kernels.penalties.proximal import beyond
from sparsetheory.numba_kernels.penalties.tags import L0
from sparsetheory.numba_kernels.quadratic.active_set_newton import (
    ELSEWHERE,
    OPTIMAL,
    BentAtoms,
    enter,
    newton,
    prune,
    reserve_bent,
)
from sparsetheory.numba_kernels.quadratic.bordered_inverse import padded
from sparsetheory.numba_kernels.quadratic.gram_rows import largest, subtract_rows
from sparsetheory.typing import BoolArray, FloatArray, Int64Array

__all__ = ["code_descent", "warmup"]


# Active atoms that there is room for at first.
_CAPACITY = 32
# Steps of this many roundings of what a code contributes may be rounding errors.
_ROUNDINGS = 8


@inlined
def _pull(correlation: float, positive: bool) -> float:
    """Return how hard a correlation pulls its coefficient away from zero, where it may go."""
    return correlation if positive else abs(correlation)


@inlined
def _fold(r: FloatArray, thresholds: FloatArray, positive: bool, folded: FloatArray) -> np.floating:
    """Write the largest excess of every four correlations a quarter of the length apart; return the largest of all."""
    quarter = r.size // 4
    first, second = r[:quarter], r[quarter : 2 * quarter]
    third, fourth = r[2 * quarter : 3 * quarter], r[3 * quarter : 4 * quarter]
    for i in range(quarter):
        a, b = _pull(first[i], positive) - thresholds[i], _pull(second[i], positive) - thresholds[i + quarter]
        c = _pull(third[i], positive) - thresholds[i + 2 * quarter]
        d = _pull(fourth[i], positive) - thresholds[i + 3 * quarter]
        a = a if a > b else b
        c = c if c > d else d
        folded[i] = a if a > c else c
    best = -r.dtype.type(np.inf)
    for i in range(quarter):
        best = max(best, folded[i])
    for i in range(4 * quarter, r.size):
        best = max(best, _pull(r[i], positive) - thresholds[i])
    return best


@block
def _admit(gram: FloatArray, r: FloatArray, p: PenaltyTable, cut: float, a: BentAtoms, size: int) -> int:
    """Let atoms in whose excess is at least `cut`, after :func:`_fold`; return the new size, -1 if they do not fit."""
    quarter = r.size // 4
    for group in range(quarter + 1):
        tail = group == quarter
        if tail or a.folded[group] >= cut:
            for i in range(4 * quarter if tail else group, r.size if tail else 4 * quarter, 1 if tail else quarter):
                if _pull(r[i], p.positive) - p.thresholds[i] >= cut and not a.used[i]:
                    if size == a.x.size:
                        return -1
                    size = enter(gram, i, r.dtype.type(0), r[i], a, size)
    return size


@inlined
def _sweep(first: int, p: PenaltyTable, limit: float, noise: float, a: BentAtoms, size: int) -> int:
    """Take the coordinate steps above the limit, or to or from zero, from atom number `first` on; return how many.

    Where an atom depends on others, Newton steps on these undo its steps but for their rounding errors.
    """
    zero, moves = a.x.dtype.type(0), 0
    for j in range(first, size):
        i, h = a.atoms[j], a.gram[j, j]
        u, step = h * a.x[j] + a.r[j], p.steps[i]
        best: Any = zero
        if _pull(u, p.positive) > p.thresholds[i]:
            # Hard thresholding keeps what it does not drop.
            kept = abs(u) * step
            best = math.copysign(kept if p.kind == L0 else beyond(p.kind, kept, step, p.alpha[i], p.shape[i]), u)
        change = best - a.x[j]
        if h * abs(change) > limit + noise * a.weight[j] or (best == 0) != (a.x[j] == 0):
            moves += 1
            a.x[j] = best
            for l in range(size):
                a.r[l] -= change * a.gram[j, l]
    return moves


@block
def _settle(
    first: int, p: PenaltyTable, limit: float, noise: float, dependent: float, max_iter: int, a: BentAtoms, size: int
) -> tuple[int, int, bool]:
    """Work on the active atoms until no coordinate step moves.

    Returns
    -------
    size, pending : int
        Active atoms, and changes that the correlations are due.
    settled : bool
        Whether no step moves, rather than `max_iter` being too small.
    """
    pending, end = 0, ELSEWHERE
    for _ in range(max_iter):
        # After a Newton step that ended at a kink another one follows; else a sweep decides about zeros. A sweep
        # without a move, or a Newton step to a point where no coordinate step moves, ends the work.
        moves = _sweep(first, p, limit, noise, a, size) if end == ELSEWHERE else 1
        size, pending = prune(a, size, pending)
        if moves == 0 or end == OPTIMAL:
            return size, pending, True
        end = newton(p, limit, dependent, a, size)
        first = 0
    return size, pending, False


@inlined
def _refresh(gram: FloatArray, r: FloatArray, a: BentAtoms, size: int, pending: int) -> None:
    """Update all correlations for the changes of coefficients since the last time."""
    for j in range(size):
        a.which[pending], a.amounts[pending] = a.atoms[j], a.x[j] - a.before[j]
        a.before[j] = a.x[j]
        pending += 1
    subtract_rows(r, gram, a.which, a.amounts, pending)
    for j in range(size):
        a.r[j] = r[a.atoms[j]]


@block
def _start(gram: FloatArray, r: FloatArray, guess: FloatArray, a: BentAtoms) -> int:
    """Activate the atoms of a first guess; return their number, -1 if they do not fit."""
    size = 0
    for i in range(guess.size):
        if guess[i] != 0:
            if size == a.x.size:
                return -1
            size = enter(gram, i, guess[i], r[i], a, size)
    _refresh(gram, r, a, size, 0)
    return size


@inlined
def _anew(gram: FloatArray, r: FloatArray, row: FloatArray, a: BentAtoms, size: int) -> None:
    """Compute the correlations from nothing."""
    for q in range(r.size):
        r[q] = row[q]
    for j in range(size):
        a.before[j] = a.x.dtype.type(0)
    _refresh(gram, r, a, size, 0)


@inlined
def _rounding(a: BentAtoms, size: int) -> np.floating:
    """Bound the rounding errors of the correlations with what the code leaves of the signal: sizes of all its terms."""
    fit, longest = a.x.dtype.type(0), a.x.dtype.type(0)
    for j in range(size):
        fit += abs(a.x[j]) * math.sqrt(a.gram[j, j])
        longest = max(longest, a.gram[j, j])
    return a.x.dtype.type(_ROUNDINGS * np.finfo(a.x.dtype).eps) * fit * math.sqrt(longest)


@inlined
def _solve(
    gram: FloatArray,
    r: FloatArray,
    row: FloatArray,
    p: PenaltyTable,
    share: float,
    goal: float,
    entry: float,
    dependent: float,
    max_iter: int,
    a: BentAtoms,
    size: int,
) -> tuple[int, int, bool]:
    """Make passes until no coordinate step moves by more than `goal`, or from zero where `entry` is exceeded.

    Moves that may be rounding errors do not count: those of the present code, and those of the largest one so far until
    correlations are computed anew.

    Returns
    -------
    size, passes : int
        Active atoms, -1 if they do not fit; passes made.
    converged : bool
        Whether that was reached.
    """
    done, settled, noise = 0, size == 0, a.x.dtype.type(0)
    while True:
        # What counts as a move: more than the tolerance, and more than the rounding errors that r may carry. It carries
        # those of the largest code since it was last computed from nothing.
        first, present = size if settled else 0, _rounding(a, size)
        noise = max(noise, present)
        limit, least = max(goal, noise), max(entry, noise / a.x.dtype.type(_ROUNDINGS))
        # Step 1: the atoms with the largest excess over their thresholds, and those within a fraction of it.
        beyond = _fold(r, p.thresholds, p.positive, a.folded)
        if beyond > least:
            cut, before = min(max(share * beyond, least), beyond), size
            while True:
                size = _admit(gram, r, p, cut, a, size)
                if size != before or cut <= least:
                    break
                # A loose tolerance leaves active atoms further beyond their thresholds than any that may enter.
                cut = least
            if size < 0:
                return size, done, False
        # Done if no active atom moves and no other wants to enter.
        finished = settled and size == first
        if finished and noise > present + present and noise > goal and done < max_iter:
            # The correlations still carry the rounding errors of a code that was larger.
            _anew(gram, r, row, a, size)
            done, settled, noise = done + 1, size == 0, a.x.dtype.type(0)
            continue
        if finished or done == max_iter:
            return size, done, finished
        # Steps 2 and 3. If the old active atoms have settled, the first sweep starts at the new ones.
        size, pending, settled = _settle(first, p, limit, noise, dependent, max_iter, a, size)
        _refresh(gram, r, a, size, pending)
        done += 1


@entry
def _code_rows(
    first: int,
    gram: FloatArray,
    rows: FloatArray,
    guesses: FloatArray,
    p: PenaltyTable,
    share: float,
    tol: float,
    entry: float,
    dependent: float,
    max_iter: int,
    passes: Int64Array,
    converged: BoolArray,
    r: FloatArray,
    a: BentAtoms,
) -> int:
    """Code the signals from number `first` on; return the first whose active atoms do not fit, or their number."""
    for t in range(first, rows.shape[0]):
        for q in range(r.size):
            r[q] = rows[t, q]
        scale = largest(r, a.folded)
        size = _start(gram, r, guesses[t], a) if guesses.shape[0] > 0 else 0
        if size >= 0:
            size, passes[t], converged[t] = _solve(
                gram, r, rows[t], p, share, tol * scale, entry * scale, dependent, max_iter, a, size
            )
        if size < 0:
            return t
        for q in range(r.size):
            rows[t, q] = rows.dtype.type(0)
        for j in range(size):
            rows[t, a.atoms[j]] = a.x[j]
            a.used[a.atoms[j]] = False
            for l in range(padded(size)):
                a.inverse[j, l] = rows.dtype.type(0)
    return rows.shape[0]


def code_descent(
    gram: FloatArray,
    rows: FloatArray,
    guesses: FloatArray,
    penalty: PenaltyTable,
    share: float,
    tol: float,
    entry: float,
    dependent: float,
    max_iter: int,
    passes: Int64Array,
    converged: BoolArray,
) -> None:
    """Replace correlations by codes that no change of a single coefficient improves, one signal after another.

    Parameters
    ----------
    gram : ndarray of shape (n, n)
        Gram matrix of the atoms, C-ordered; single or double precision, which all arithmetic keeps.
    rows : ndarray of shape (n_samples, n)
        Correlations of the atoms with each signal, C-ordered; overwritten by the codes.
    guesses : ndarray of shape (n_samples, n) or (0, n)
        Codes to start from, C-ordered; not negative where the penalty does not allow it.
    penalty : PenaltyTable
        From :func:`sparsetheory.penalties.piecewise.penalty_table`, in the same precision.
    share : float
        Atoms enter together if their correlations are beyond the threshold by at least this fraction of what the
        largest one is. Towards 1 atoms enter one by one: slower, and often better where the penalty is not convex.
    tol : float
        A code is done once no coordinate step would change any ``h_i x_i`` by more than this times the largest
        correlation of an atom with the signal, or by more than rounding errors of the code.
    entry : float
        Nor may a correlation be beyond its threshold by more than this times the largest one. Where the penalty jumps,
        this should be next to nothing: an atom that enters there changes by the whole jump.
    dependent : float
        Newton steps leave coefficients out of which at most this fraction of the squared norm is left beside the
        others.
    max_iter : int
        Most passes per signal, and most steps per pass.
    passes : ndarray of shape (n_samples,)
        Overwritten by the number of passes.
    converged : ndarray of shape (n_samples,)
        Overwritten by whether the tolerance was met.

    Notes
    -----
    O(n k) operations per pass for the correlations and O(k^2) per step on k active atoms. The interpreter lock is free
    meanwhile.
    """
    n, number = gram.shape[0], gram.dtype.type
    numbers = number(share), number(tol), number(entry), number(dependent)
    r, capacity, done = np.empty(n, gram.dtype), _CAPACITY, 0
    while done < rows.shape[0]:
        a = reserve_bent(capacity, n, gram.dtype)
        done = _code_rows(done, gram, rows, guesses, penalty, *numbers, max_iter, passes, converged, r, a)
        capacity *= 2


def warmup() -> None:
    """Compile the kernels of this file for both precisions."""
    for dtype in (np.float64, np.float32):
        one: FloatArray = np.ones(2, dtype)
        guesses = np.empty((0, 2), dtype)
        table = PenaltyTable(L0, False, True, False, True, one, one, one, one, np.ones((2, 6), dtype))
        counts, flags = np.empty(1, np.int64), np.empty(1, np.bool_)
        code_descent(
            np.eye(2, dtype=dtype), np.ones((1, 2), dtype), guesses, table, 0.5, 1e-6, 1e-6, 1e-6, 9, counts, flags
        )
