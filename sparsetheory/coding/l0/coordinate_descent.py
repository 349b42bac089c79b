"""Sparse codes with a cost per atom that no change of one entry improves."""

import warnings

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.blas_threads import blas_threads
from sparsetheory.coding.codes.encoding import Encoding
from sparsetheory.coding.codes.problem import (
    check_codes,
    check_gram,
    check_signals,
    row_chunks,
)
from sparsetheory.constraints import COUNT, JOBS, NONNEGATIVE, Choice
from sparsetheory.numba_kernels.greedy.greedy_l0 import greedy_l0
from sparsetheory.numba_kernels.greedy.l0_descent import l0_sweep
from sparsetheory.penalties.separable import L0
from sparsetheory.typing import BoolArray, FloatArray, Int64Array

__all__ = ["cd_l0", "descend"]


# A gain errs by some roundings of the objective of a zero code.
_ROUNDINGS = 64


def cd_l0(
    X: ArrayLike,
    D: ArrayLike,
    *,
    alpha: float,
    rule: str = "greedy",
    init: ArrayLike | None = None,
    gram: ArrayLike | None = None,
    tol: float = 1e-6,
    max_iter: int = 100_000,
    n_jobs: int | None = None,
) -> Encoding:
    r"""Minimise :math:`\frac12\|x - D^T c\|^2 + \lambda\|c\|_0` per signal, one entry at a time.

    An entry is set to its best value given the others: :math:`c_i + d_i^T(x - D^T c)/\|d_i\|^2`, or zero where that is
    not worth its cost.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals, one per row.
    D : array-like of shape (n_atoms, n_features)
        Atoms, one per row; they need not be of unit norm.
    alpha : float
        Cost of an entry that is not zero, at least 0.
    rule : {"greedy", "cyclic"}
        Change the entry that lowers the objective most, or one after another.
    init : array-like of shape (n_samples, n_atoms), optional
        Codes to start from; zero by default.
    gram : array-like of shape (n_atoms, n_atoms), optional
        ``D @ D.T``, where it is known already.
    tol : float
        Tolerance, relative to the norm of the signal: the search ends when no entry that stays nonzero would move,
        times the norm of its atom, by more, and no other change gains anything.
    max_iter : int
        Most changes per signal (greedy), or most sweeps (cyclic).
    n_jobs : int or None
        Threads, in the sense of joblib. Codes do not depend on it.

    Returns
    -------
    Encoding
        The codes, in single precision if `X` and `D` are, else in double; `n_iter` counts changes or sweeps.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, entries are not finite, an atom is zero, `rule` is unknown, or a number is out of range.

    Warns
    -----
    ConvergenceWarning
        If codes could still be improved after `max_iter`, with their count.

    See Also
    --------
    sparsetheory.coding.sbr : Solves exactly on the support after every change of it, and ends at better codes.

    Notes
    -----
    The result is, up to `tol`, least squares on its support, with :math:`|c_i| \ge \sqrt{2\lambda}/\|d_i\|` on it and
    :math:`|d_i^T(x - D^T c)| \le \sqrt{2\lambda}\|d_i\|` off it. These are the critical points of CEL0 without an entry
    strictly between 0 and :math:`\sqrt{2\lambda}/\|d_i\|` (Soubies, Blanc-Féraud and Aubert, 2015). A change costs
    O(n_atoms) operations. Entries on supports of nearly dependent atoms converge slowly, and so does ``alpha=0`` with
    more atoms than features. The cyclic rule computes in double precision.

    Examples
    --------
    >>> import numpy as np
    >>> D = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 2.0]])
    >>> cd_l0([[3.0, 4.0, 0.5], [3.0, 0.0, 2.0]], D, alpha=0.5).codes.round(6)
    array([[0., 5., 0.],
           [3., 0., 1.]])
    """
    X, A = check_signals(X, D)
    alpha, tol = NONNEGATIVE.check("alpha", alpha), NONNEGATIVE.check("tol", tol)
    COUNT.check("max_iter", max_iter)
    Choice("greedy", "cyclic").check("rule", rule)
    start = np.empty((0, A.shape[1]), X.dtype) if init is None else check_codes(init, X, A, "init")
    C, moves, converged = descend(X, A, check_gram(gram, A), alpha, rule, start, tol, max_iter, n_jobs)
    if unfinished := np.count_nonzero(~converged):
        warnings.warn(
            f"cd_l0: {unfinished} of {X.shape[0]} codes can still be improved after max_iter={max_iter}; "
            "increase max_iter or tol",
            ConvergenceWarning,
            stacklevel=2,
        )
    return Encoding(C, moves, converged, rule, X, A.T, L0(alpha), tol)


def descend(
    X: FloatArray,
    A: FloatArray,
    gram: FloatArray,
    alpha: float,
    rule: str,
    start: FloatArray,
    tol: float,
    max_iter: int,
    n_jobs: int | None,
) -> tuple[FloatArray, Int64Array, BoolArray]:
    """Search on checked arrays; return codes, changes (greedy) or sweeps made, and which searches came to an end.

    Parameters
    ----------
    X, D, gram, alpha, rule, tol, max_iter, n_jobs
        As in :func:`cd_l0`.
    start : ndarray of shape (n_samples, n_atoms) or (0, n_atoms)
        Codes to start from; without rows, zero.
    """
    C, moves = np.empty((X.shape[0], A.shape[1]), X.dtype), np.empty(X.shape[0], np.int64)
    if rule == "cyclic" and X.dtype != np.float64:
        # A Gram matrix in single precision is not one of any atoms: codes would creep along dependent supports.
        X, A, start = (array.astype(np.float64) for array in (X, A, start))
        gram = A.T @ A
    norms = np.sqrt(np.einsum("ij,ij->j", A, A))
    unit = np.ascontiguousarray(gram / norms / norms[:, None])
    search = _greedy if rule == "greedy" else _cyclic

    def code(chunk: slice) -> None:
        rows = X[chunk] @ (A / norms)
        energies = 0.5 * np.einsum("ij,ij->i", X[chunk], X[chunk])
        moves[chunk] = search(unit, rows, start[chunk] * norms, alpha, energies, tol, max_iter)
        C[chunk] = rows / norms

    with blas_threads(0):
        chunks = row_chunks(X.shape[0], X.itemsize * A.shape[1])
        Parallel(n_jobs=JOBS.check("n_jobs", n_jobs), require="sharedmem")(delayed(code)(chunk) for chunk in chunks)
    return C, np.where(moves < 0, max_iter, moves), moves >= 0


def _greedy(
    gram: FloatArray, rows: FloatArray, start: FloatArray, alpha: float, energies: FloatArray, tol: float, max_iter: int
) -> Int64Array:
    """Replace correlations with unit columns by codes; return changes made, -1 where they were too few."""
    number = rows.dtype.type
    roundings = number(_ROUNDINGS * np.finfo(number).eps) * energies
    return np.asarray(greedy_l0(gram, rows, start, number(alpha), roundings, number(tol**2) * energies, max_iter))


def _cyclic(
    gram: FloatArray, rows: FloatArray, start: FloatArray, alpha: float, energies: FloatArray, tol: float, max_iter: int
) -> Int64Array:
    """Do the same sweep by sweep."""
    order = np.arange(gram.shape[0])
    codes = start if start.shape[0] else np.zeros_like(rows)
    correlations = rows - codes @ gram
    roundings = _ROUNDINGS * np.finfo(rows.dtype).eps * energies
    sweeps = np.full(rows.shape[0], -1)
    for t, (b, c) in enumerate(zip(codes, correlations, strict=True)):
        for done in range(1, max_iter + 1):
            old = b.copy()
            l0_sweep(b, c, order, 0, gram, order, alpha, 1.0, roundings[t])
            if np.square(b - old).max() <= 2.0 * tol**2 * energies[t] and np.array_equal(b != 0, old != 0):
                sweeps[t] = done
                break
    rows[:] = codes
    return sweeps
