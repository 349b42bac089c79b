"""Lasso codes of many signals on one Gram matrix, by a block active-set method.

Every signal y has its own problem ``min |y - A x|^2 / 2 + alpha |x|_1`` with the atoms in the columns of A. The method
reads the correlations ``A'y`` and the Gram matrix ``G = A'A`` alone. With ``r = A'(y - A x)``, the correlations with
the residual, x is optimal if and only if

    r_i = alpha sign(x_i)   where x_i is not zero,   and   |r_i| <= alpha   elsewhere.

The method keeps the active atoms with signs s and the inverse of their Gram matrix. Given the signs, the objective is
quadratic on the active atoms, and its minimiser is ``x + inverse (r - alpha s)``, because a step d of the active
coefficients changes r by ``-G d``. One pass

1. lets the atoms in whose correlations are far above alpha, with coefficient zero and the sign of the correlation;
2. moves towards the minimiser for the given signs. Where a coefficient would cross zero, the move stops there and the
   atom leaves; then the next minimiser is that of the atoms that are left;
3. updates r for all atoms.

Steps 2 and 3 never raise the objective, which until a coefficient reaches zero is the quadratic one. So no active set
comes twice with the same signs, and the method ends. The move starts from the violations ``r - alpha s`` themselves:
rounding errors of the inverse make a move a little wrong, and the next pass corrects it.

With k active atoms of n a pass costs O(n k) operations for r, and O(k^2) for each atom that enters or leaves.
"""

import math

import numpy as np

from sparsetheory.numba_kernels.inlined import block, entry, inlined
from sparsetheory.numba_kernels.quadratic.active_set_signs import (
    SignedAtoms,
    descend,
    distance,
    enter,
    exchange,
    rebuild,
    reserve_signed,
)
from sparsetheory.numba_kernels.quadratic.bordered_inverse import padded
from sparsetheory.numba_kernels.quadratic.gram_rows import largest, subtract_rows
from sparsetheory.typing import BoolArray, FloatArray, Int64Array

__all__ = ["feature_sign", "warmup"]


# Atoms enter together if their excess over alpha is at least this fraction of the largest one: the fastest of 0.4,
# 0.5, ...
_SHARE = 0.6
# Passes in a row that may neither change the active set nor halve the violation: more would not help.
_POLISHING = 3
# A pass should bring the violations of active atoms to zero. If it leaves this fraction, the inverse is made anew.
_INEXACT = 0.01
# Violations up to this fraction of alpha may be rounding errors.
_NEAR = 1e-3
# Active atoms that there is room for at first.
_CAPACITY = 32


@inlined
def _collect(r: FloatArray, cut: float, a: SignedAtoms) -> int:
    """List the inactive atoms of correlations of at least `cut`, after :func:`largest`; return their number."""
    quarter, count = r.size // 4, 0
    for group in range(quarter):
        if a.folded[group] >= cut:
            for i in range(group, 4 * quarter, quarter):
                if abs(r[i]) >= cut and not a.used[i]:
                    a.candidates[count] = i
                    count += 1
    for i in range(4 * quarter, r.size):
        if abs(r[i]) >= cut and not a.used[i]:
            a.candidates[count] = i
            count += 1
    return count


@block
def _admit(
    gram: FloatArray,
    count: int,
    values: FloatArray,
    scale: float,
    alpha: float,
    dependent: float,
    a: SignedAtoms,
    size: int,
) -> tuple[int, int]:
    """Let the listed atoms in, each with `scale` times its value, and with its sign.

    Returns
    -------
    size : int
        New number of active atoms; -1 if they do not fit.
    refused : int
        The last atom that depends on the active ones; -1 if there is none.
    """
    refused = -1
    for p in range(count):
        i = a.candidates[p]
        if size == a.x.size:
            return -1, refused
        left = distance(gram, i, a, size)
        if left > dependent * gram[i, i]:
            size = enter(i, scale * values[i], values[i], alpha, left, a, size)
        else:
            refused = i
    return size, refused


@inlined
def _refresh(gram: FloatArray, r: FloatArray, a: SignedAtoms, size: int, pending: int) -> None:
    """Update the correlations for all changes of coefficients since the last time."""
    for j in range(size):
        a.which[pending], a.amounts[pending] = a.atoms[j], a.x[j] - a.before[j]
        a.before[j] = a.x[j]
        pending += 1
    subtract_rows(r, gram, a.which, a.amounts, pending)


@block
def _start(gram: FloatArray, r: FloatArray, guess: FloatArray, alpha: float, dependent: float, a: SignedAtoms) -> int:
    """Activate the atoms of a first guess, but for dependent ones; return their number, -1 if they do not fit."""
    count = 0
    for i in range(guess.size):
        if guess[i] != 0:
            a.candidates[count] = i
            count += 1
    none = 0
    size, _ = _admit(gram, count, guess, r.dtype.type(1), alpha, dependent, a, none)
    _refresh(gram, r, a, max(size, none), none)
    return size


@inlined
def _worst(r: FloatArray, alpha: float, a: SignedAtoms, size: int) -> np.floating:
    """Write ``r - alpha sign`` of the active atoms; return the largest absolute value."""
    worst = r.dtype.type(0)
    for j in range(size):
        a.excess[j] = r[a.atoms[j]] - alpha * a.sign[j]
        worst = max(worst, abs(a.excess[j]))
    return worst


@inlined
def _size(gram: FloatArray, longest: float, a: SignedAtoms, size: int) -> np.floating:
    """Bound the products of coefficients and inner products, of which the correlations are sums."""
    fit = a.x.dtype.type(0)
    for j in range(size):
        fit += abs(a.x[j]) * math.sqrt(gram[a.atoms[j], a.atoms[j]])
    return fit * longest


@inlined
def _anew(gram: FloatArray, r: FloatArray, row: FloatArray, a: SignedAtoms, size: int) -> None:
    """Compute the correlations from nothing."""
    for p in range(r.size):
        r[p] = row[p]
    for j in range(size):
        a.before[j] = a.x.dtype.type(0)
    _refresh(gram, r, a, size, 0)


@inlined
def _solve(
    gram: FloatArray,
    r: FloatArray,
    row: FloatArray,
    longest: float,
    alpha: float,
    goal: float,
    rounding: float,
    dependent: float,
    max_iter: int,
    a: SignedAtoms,
    size: int,
) -> tuple[int, int, bool]:
    """Make passes until no optimality condition is violated by more than `goal`, or by what may be rounding errors.

    Returns
    -------
    size : int
        Active atoms; -1 if they do not fit.
    passes : int
        Passes made.
    converged : bool
        Whether that was reached.
    """
    share, none = r.dtype.type(_SHARE), 0
    done, still, last, most, limit = none, none, r.dtype.type(np.inf), r.dtype.type(0), goal
    while True:
        # Measure both optimality conditions: of the active atoms, and of the others.
        terms = _size(gram, longest, a, size)
        most = max(most, terms)
        worst, beyond = _worst(r, alpha, a, size), largest(r, a.folded) - alpha
        violation = max(beyond, worst)
        # `still` counts passes in a row without progress: a halved violation is progress, and so is a new active set.
        if violation + violation < last:
            still = none
        if limit < violation <= r.dtype.type(_NEAR) * alpha or (alpha == 0 and done > 0):
            # Where coefficients are large, so are rounding errors.
            limit = max(limit, rounding * terms)
        if violation <= limit or done == max_iter or still == _POLISHING:
            if done < max_iter and most > terms + terms and rounding * most > goal:
                # The correlations still carry the rounding errors of a code that was larger.
                _anew(gram, r, row, a, size)
                done, still, last, most = done + 1, none, r.dtype.type(np.inf), terms
                continue
            return size, done, violation <= limit
        # The last move should have left nothing of the violations of active atoms. If it did, the inverse has lost its
        # digits, by many updates or by nearly dependent atoms.
        if worst > limit and worst > r.dtype.type(_INEXACT) * last:
            size, pending = rebuild(gram, dependent, a, size)
            _refresh(gram, r, a, size, pending)
            violation = max(violation, _worst(r, alpha, a, size))
        last = violation
        still, pending = still + 1, none
        # Step 1. Atoms enter in a block. If all that want to enter depend on active ones, one of them takes the place
        # of an active atom instead: the inverse would not exist with both.
        if beyond > limit:
            count = _collect(r, min(alpha + share * beyond, alpha + beyond), a)
            entered, refused = _admit(gram, count, r, r.dtype.type(0), alpha, dependent, a, size)
            if entered < 0:
                return -1, done, False
            if entered > size:
                size, still = entered, none
            elif refused >= 0:
                size, pending = exchange(gram, refused, r[refused], alpha, a, size)
        # Steps 2 and 3. The correlations follow the changes of all coefficients, those of atoms that left included.
        size, pending = descend(a, size, pending)
        if pending > 0:
            still = none
        _refresh(gram, r, a, size, pending)
        done += 1


@entry
def _code_rows(
    first: int,
    gram: FloatArray,
    rows: FloatArray,
    guesses: FloatArray,
    longest: float,
    alpha: float,
    tol: float,
    rounding: float,
    dependent: float,
    max_iter: int,
    passes: Int64Array,
    converged: BoolArray,
    r: FloatArray,
    a: SignedAtoms,
) -> int:
    """Code the signals from number `first` on; return the first whose active atoms do not fit, or their number."""
    for t in range(first, rows.shape[0]):
        for p in range(r.size):
            r[p] = rows[t, p]
        goal = max(tol * alpha, rounding * largest(r, a.folded))
        size = _start(gram, r, guesses[t], alpha, dependent, a) if guesses.shape[0] > 0 else 0
        if size >= 0:
            size, passes[t], converged[t] = _solve(
                gram, r, rows[t], longest, alpha, goal, rounding, dependent, max_iter, a, size
            )
        if size < 0:
            return t
        for p in range(r.size):
            rows[t, p] = rows.dtype.type(0)
        for j in range(size):
            rows[t, a.atoms[j]] = a.x[j]
            a.used[a.atoms[j]] = False
            for p in range(padded(size)):
                a.inverse[j, p] = rows.dtype.type(0)
    return rows.shape[0]


def feature_sign(
    gram: FloatArray,
    rows: FloatArray,
    guesses: FloatArray,
    alpha: float,
    tol: float,
    rounding: float,
    dependent: float,
    max_iter: int,
    passes: Int64Array,
    converged: BoolArray,
) -> None:
    """Replace correlations by Lasso codes, one signal after another.

    Parameters
    ----------
    gram : ndarray of shape (n, n)
        Gram matrix of the atoms, C-ordered; single or double precision, which all arithmetic keeps.
    rows : ndarray of shape (n_samples, n)
        Correlations of the atoms with each signal, C-ordered; overwritten by the codes.
    guesses : ndarray of shape (n_samples, n) or (0, n)
        Codes to start from, C-ordered.
    alpha : float
        Weight of the l1 norm, at least 0.
    tol : float
        A code is done once ``r_i = alpha sign(x_i)`` at its atoms and ``|r_i| <= alpha`` at all hold up to this times
        alpha.
    rounding : float
        Violations up to this times the largest correlation with the signal, or times the sum of the terms of the code
        where that is larger, count as rounding errors.
    dependent : float
        An atom of whose squared norm at most this fraction is left depends on the active ones.
    max_iter : int
        Most passes per signal.
    passes : ndarray of shape (n_samples,)
        Overwritten by the number of passes.
    converged : ndarray of shape (n_samples,)
        Overwritten by whether the conditions hold.

    Notes
    -----
    O(n k) operations per pass for the correlations and O(k^2) per atom that enters or leaves, with k active atoms. The
    interpreter lock is free meanwhile.
    """
    n, number = gram.shape[0], gram.dtype.type
    longest = math.sqrt(np.diagonal(gram).max(initial=0.0))
    numbers = number(longest), number(alpha), number(tol), number(rounding), number(dependent)
    r, capacity, done = np.empty(n, gram.dtype), _CAPACITY, 0
    while done < rows.shape[0]:
        a = reserve_signed(capacity, n, gram.dtype)
        done = _code_rows(done, gram, rows, guesses, *numbers, max_iter, passes, converged, r, a)
        capacity *= 2


def warmup() -> None:
    """Compile the kernels of this file for both precisions."""
    for dtype in (np.float64, np.float32):
        rows, guesses = np.ones((1, 2), dtype), np.empty((0, 2), dtype)
        feature_sign(
            np.eye(2, dtype=dtype), rows, guesses, 0.5, 1e-6, 1e-6, 1e-6, 9, np.empty(1, int), np.empty(1, bool)
        )
