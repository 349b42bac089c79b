"""Single best replacement for one signal with orthogonal factors of the atoms, which tell near-copies apart.

The fast search works on inner products of atoms. Where an atom is at a relative distance d from the span of the
support, what is left of its square is a difference of numbers of size one, known to one rounding: at d below the root
of the machine precision nothing is known. Here what is left of an atom is formed as a vector and projected twice, which
errs by one rounding of d itself instead of its square. So atoms are told apart down to distances of a few roundings, at
the cost of a factorisation per move.
"""

from typing import NamedTuple

import numpy as np

from sparsetheory.coding.l0.support_groups import DEPENDENT, factor_supports, outside
from sparsetheory.typing import Float64Array, FloatArray, IndexArray

__all__ = ["replace_near_copies"]


# A gain errs by some roundings of the objective of a zero code.
_ROUNDINGS = 64
_EPS = float(np.finfo(np.float64).eps)


class _Moves(NamedTuple):
    """The best addition and removal of an atom, what they do to half the squared residual, and the coefficients."""

    added: int
    fall: float
    removed: int
    rise: float
    values: Float64Array


def replace_near_copies(
    x: FloatArray, A: FloatArray, code: FloatArray, alpha: float, max_moves: int
) -> tuple[FloatArray, int]:
    """Continue a search from the support of a code.

    Parameters
    ----------
    x : ndarray of shape (n_features,)
        Signal.
    A : ndarray of shape (n_features, n_atoms)
        Atoms in columns.
    code : ndarray of shape (n_atoms,)
        Where to start.
    alpha : float
        Cost of an atom.
    max_moves : int
        Most additions and removals.

    Returns
    -------
    code : ndarray of shape (n_atoms,)
        The given one if no move lowers the objective.
    moves : int
        Moves made; -1 if there are more to make.

    Notes
    -----
    O(n_features n_atoms k) per move at a support of k atoms, in double precision.
    """
    atoms, signal = A.astype(np.float64, copy=False), x.astype(np.float64, copy=False)
    least = _ROUNDINGS * _EPS * 0.5 * float(signal @ signal)
    support, moves, values = np.flatnonzero(code), 0, np.empty(0)
    while True:
        # Invariant: `values` are least squares on the support once a move was made; before, the given code stands.
        best = _best_moves(signal, atoms, support)
        if moves:
            values = best.values
        # An addition gains its fall less alpha, a removal alpha less its rise; gains within rounding do not count.
        if max(best.fall - alpha, alpha - best.rise) <= least:
            break
        if moves == max_moves:
            moves = -1
            break
        grows = best.fall - alpha > alpha - best.rise
        support = np.sort(np.append(support, best.added)) if grows else np.delete(support, best.removed)
        moves += 1
    if values.size or moves > 0:
        code = np.zeros_like(code)
        code[support] = values
    return code, moves


def _best_moves(x: Float64Array, A: Float64Array, support: IndexArray) -> _Moves:
    # Orthonormal directions of the span, and the residual, projected twice.
    factors = factor_supports(A, support[None], DEPENDENT)
    directions, duals = factors.directions[0], factors.dual_squares[0]
    along = directions.T @ x
    residual = x - directions @ along
    residual -= directions @ (directions.T @ residual)
    # What is left of each atom outside the span. An addition gains the square of the residual along it, over twice its
    # own square; atoms of the support, dependent ones and those beyond the dimension are out.
    rest = outside(A, factors.directions)[0]
    left, squares = np.einsum("mn,mn->n", rest, rest), np.einsum("mn,mn->n", A, A)
    usable = left > 4 * DEPENDENT * squares
    usable[support] = False
    usable &= support.size < min(A.shape)
    falls = np.where(usable, 0.5 * (residual @ rest) ** 2 / np.where(usable, left, 1.0), -1.0)
    # Least squares on the support; without atom j half the squared residual rises by c_j^2 over twice the diagonal of
    # the inverse Gram matrix.
    values = factors.inverse[0] @ along
    rises = 0.5 * values**2 / duals if support.size else np.array([np.inf])
    added, removed = int(np.argmax(falls)), int(np.argmin(rises))
    return _Moves(added, float(falls[added]), removed, float(rises[removed]), values)
