"""Sparse codes with a cost per atom that no addition or removal of one atom improves."""

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
from sparsetheory.coding.l0.near_copies import replace_near_copies
from sparsetheory.coding.l0.support_groups import DEPENDENT, SupportGroup, factor_supports, outside, support_groups
from sparsetheory.constraints import COUNT, JOBS, NONNEGATIVE
from sparsetheory.numba_kernels.greedy.single_best_replacement import single_best_replacement
from sparsetheory.penalties.separable import L0
from sparsetheory.typing import BoolArray, Float64Array, FloatArray, IndexArray, Int64Array

__all__ = ["is_sbr_stable", "replace_singly", "sbr"]


# Sums of products err by some roundings of the objective of a zero code, more where little of an atom is left.
_ROUNDINGS = 64
# What the certificate of the codes promises; the search itself has no tolerance.
_TOL = 1e-6
_DOUBLE = float(np.finfo(np.float64).eps)
# Supports judged at a time.
_BLOCK = 16


def sbr(
    X: ArrayLike,
    D: ArrayLike,
    *,
    alpha: float,
    init: ArrayLike | None = None,
    gram: ArrayLike | None = None,
    max_iter: int = 10_000,
    n_jobs: int | None = None,
) -> Encoding:
    r"""Minimise :math:`\frac12\|x - D^T c\|^2 + \lambda\|c\|_0` per signal by single best replacement.

    The code is least squares on its support. Of all additions and removals of one atom, the one that lowers the
    objective most is made, until none lowers it.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals, one per row.
    D : array-like of shape (n_atoms, n_features)
        Atoms, one per row; they need not be of unit norm.
    alpha : float
        Cost of an atom, at least 0.
    init : array-like of shape (n_samples, n_atoms), optional
        Codes whose supports to start from; zero by default. Atoms that depend on earlier ones of a support are left
        out.
    gram : array-like of shape (n_atoms, n_atoms), optional
        ``D @ D.T``, where it is known already.
    max_iter : int
        Most moves per signal.
    n_jobs : int or None
        Threads, in the sense of joblib. Codes do not depend on it.

    Returns
    -------
    Encoding
        The codes, in single precision if `X` and `D` are, else in double; `n_iter` counts additions and removals.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, entries are not finite, an atom is zero, or a number is out of range.

    Warns
    -----
    ConvergenceWarning
        If codes could still be improved after `max_iter` moves, with their count.

    See Also
    --------
    is_sbr_stable : Check the result by other means.
    sparsetheory.coding.cd_l0 : Changes one entry at a time and leaves the others as they are.

    Notes
    -----
    Due to Soussen, Idier, Brie and Duan (2011), IEEE Transactions on Signal Processing 59(10), there with a Cholesky
    factor; ours keeps the inner products of orthonormal directions with all atoms, as Batch-OMP does. An addition to k
    atoms costs about ``2 k n_atoms`` operations, a removal twice as many.

    Where at most the root of the machine precision is left of an atom (as a fraction of its square) outside the span of
    the support, inner products do not tell what it could gain. Searches that end beside such an atom go on with
    orthogonal factors of the atoms themselves, in double precision, which tell atoms apart down to a distance of 4e-12
    of their norm. Beyond that they count as dependent and are not added. At ``alpha=0`` atoms are added until the
    residual is zero or all others depend.

    Examples
    --------
    >>> import numpy as np
    >>> D = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 2.0]])
    >>> sbr([[3.0, 4.0, 0.5], [3.0, 0.0, 2.0]], D, alpha=0.5).codes.round(6)
    array([[0., 5., 0.],
           [3., 0., 1.]])
    """
    X, A = check_signals(X, D)
    alpha = NONNEGATIVE.check("alpha", alpha)
    COUNT.check("max_iter", max_iter)
    start = np.empty((0, A.shape[1]), X.dtype) if init is None else check_codes(init, X, A, "init")
    C, moves, converged = replace_singly(X, A, check_gram(gram, A), alpha, start, max_iter, n_jobs)
    if unfinished := np.count_nonzero(~converged):
        warnings.warn(
            f"sbr: {unfinished} of {X.shape[0]} codes can still be improved after max_iter={max_iter} moves; "
            "increase max_iter",
            ConvergenceWarning,
            stacklevel=2,
        )
    return Encoding(C, moves, converged, "sbr", X, A.T, L0(alpha), _TOL)


def replace_singly(
    X: FloatArray, A: FloatArray, gram: FloatArray, alpha: float, start: FloatArray, max_iter: int, n_jobs: int | None
) -> tuple[FloatArray, Int64Array, BoolArray]:
    """Search on checked arrays; return codes, moves made, and which searches came to an end.

    Parameters
    ----------
    X, D, gram, alpha, max_iter, n_jobs
        As in :func:`sbr`.
    start : ndarray of shape (n_samples, n_atoms) or (0, n_atoms)
        Codes to start from; without rows, zero.
    """
    # Kernels are compiled for arrays that can be written to.
    gram = np.require(gram, requirements="W")
    C, moves = np.empty((X.shape[0], A.shape[1]), X.dtype), np.empty(X.shape[0], np.int64)
    number, eps, blind = X.dtype.type, np.finfo(X.dtype).eps, np.empty(X.shape[0], np.bool_)

    def code(chunk: slice) -> None:
        roundings = number(0.5 * _ROUNDINGS * eps) * np.einsum("ij,ij->i", X[chunk], X[chunk])
        np.matmul(X[chunk], A, out=C[chunk])
        codes, most, dependent = start[chunk].copy(), min(A.shape), number(np.sqrt(eps))
        moves[chunk] = single_best_replacement(
            gram, C[chunk], codes, number(alpha), roundings, most, max_iter, dependent, blind[chunk]
        )

    with blas_threads(0):
        chunks = row_chunks(X.shape[0], X.itemsize * A.shape[1])
        Parallel(n_jobs=JOBS.check("n_jobs", n_jobs), require="sharedmem")(delayed(code)(chunk) for chunk in chunks)
    for t in np.flatnonzero(blind & (moves >= 0)):
        C[t], more = replace_near_copies(X[t], A, C[t], alpha, max_iter - int(moves[t]))
        moves[t] = moves[t] + more if more >= 0 else -1
    return C, np.where(moves < 0, max_iter, moves), moves >= 0


def is_sbr_stable(X: ArrayLike, D: ArrayLike, C: ArrayLike, *, alpha: float, tol: float = 0.0) -> BoolArray:
    r"""Say for which codes neither a refit nor the addition or removal of one atom lowers the l0 objective.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals.
    D : array-like of shape (n_atoms, n_features)
        Atoms.
    C : array-like of shape (n_samples, n_atoms)
        Codes.
    alpha : float
        Cost of an atom, at least 0.
    tol : float
        Tolerance, relative to the objective of a zero code: gains up to this fraction of it do not count.

    Returns
    -------
    ndarray of bool of shape (n_samples,)
        Codes with dependent atoms in their supports are not stable.

    Raises
    ------
    ValueError, TypeError
        As in :func:`sbr`.

    Notes
    -----
    Every support is factored by Householder reflections of its atoms, in double precision; nothing is shared with the
    solver. The gain of an addition is :math:`\frac12 (d_i^T r)^2 / s_i - \lambda`, where :math:`s_i` is what is left of
    :math:`\|d_i\|^2` outside the span of the support; the rise of a removal is :math:`\frac12 c_j^2 / g_j`, where
    :math:`1/g_j` is what is left of the atom outside the others.

    With E for the objective of a zero code and u for the machine precision of the arrays, correlations err by multiples
    of :math:`u\|x\|\|d_i\|` and :math:`s_i` by multiples of :math:`u\|d_i\|^2`, so a gain errs by multiples of
    :math:`u E \|d_i\|^2 / s_i`. The solver leaves computed gains up to 64 times that, so that true gains up to twice as
    large do not count here. Where at most the root of u is left of an
    atom, the solver works in double precision with orthogonal factors, and so does this: what is left of an atom is
    formed as a vector and projected twice, and the gain errs by multiples of :math:`u\|d_i\|/\sqrt{s_i}` alone, down to
    atoms at a distance of 8e-12 of their norm from the span. Beyond that atoms count as dependent.

    O(n_features n_atoms k) per different support of k atoms, O(n_features n_atoms) per code.

    Examples
    --------
    >>> import numpy as np
    >>> is_sbr_stable([[3.0, 0.5]] * 3, np.eye(2), [[3.0, 0.0], [3.0, 0.5], [2.9, 0.0]], alpha=0.5)
    array([ True, False, False])
    """
    X, A = check_signals(X, D)
    C = check_codes(C, X, A)
    alpha, tol = NONNEGATIVE.check("alpha", alpha), NONNEGATIVE.check("tol", tol)
    eps = float(np.finfo(X.dtype).eps)
    signals, atoms, codes = (array.astype(np.float64, copy=False) for array in (X, A, C))
    out = np.empty(X.shape[0], np.bool_)
    for group in support_groups(C != 0, _BLOCK):
        out[group.rows] = _judge(signals[group.rows], atoms, codes[group.rows], group, alpha, tol, eps)
    return out


def _judge(
    X: Float64Array, A: Float64Array, C: Float64Array, group: SupportGroup, alpha: float, tol: float, eps: float
) -> BoolArray:
    """Say which codes of a group are stable."""
    dependent = np.sqrt(eps)
    factors, owners = factor_supports(A, group.supports, DEPENDENT), group.owners
    directions, squares = factors.directions[owners], np.einsum("ij,ij->j", A, A)
    energy = 0.5 * np.einsum("ij,ij->i", X, X)[:, None]
    residual = X - C @ A.T
    along = np.einsum("rmk,rm->rk", directions, residual)
    residual -= np.einsum("rmk,rk->rm", directions, along)

    # What the squares of the atoms are larger than what is left of them: gains err by as many roundings.
    ratios = squares[group.supports] * factors.dual_squares
    values = np.take_along_axis(C, group.supports[owners], axis=1)
    values += np.einsum("rkj,rj->rk", factors.inverse[owners], along)
    removal = alpha - 0.5 * values**2 / factors.dual_squares[owners]
    fit = 0.5 * np.einsum("rk,rk->r", along, along)[:, None]

    onto, fraction = _additions(residual, A, factors.directions, owners)
    # Products of atoms are trusted down to here; below, directions are, which err by roundings of the whole atom.
    direct = fraction**2 <= dependent
    wrong = np.where(direct, _ROUNDINGS * _DOUBLE / np.maximum(fraction, _DOUBLE), 0.0)
    sure = np.maximum(onto - wrong * np.sqrt(2.0 * energy), 0.0)
    addition = np.where(fraction**2 > 16 * DEPENDENT, 0.5 * sure**2 - alpha, -np.inf)
    roundings = np.where(direct, 1.0, np.maximum(fraction, _DOUBLE) ** -2.0)

    def counts(gains: Float64Array, roundings: Float64Array) -> BoolArray:
        return (gains > np.maximum(tol, 2 * _ROUNDINGS * eps * roundings) * energy).any(axis=1)

    worst = ratios.max(axis=1, initial=1.0)[owners, None]
    moves = counts(fit, worst) | counts(removal, ratios[owners]) | counts(addition, roundings)
    return factors.independent[owners] & ~moves


def _additions(
    residual: Float64Array, A: Float64Array, directions: Float64Array, owners: IndexArray
) -> tuple[Float64Array, Float64Array]:
    """Return how long residuals are along what is left of each atom, and the fraction of its norm that is left."""
    rest = outside(A, directions)
    norms = np.sqrt(np.einsum("umn,umn->un", rest, rest))
    along = np.abs(np.einsum("rmn,rm->rn", rest[owners], residual))
    lengths = norms[owners]
    onto = np.divide(along, lengths, out=np.zeros_like(along), where=lengths > 0)
    return onto, (norms / np.sqrt(np.einsum("ij,ij->j", A, A)))[owners]
