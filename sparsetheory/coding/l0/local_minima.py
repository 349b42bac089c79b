"""How good a minimiser of the l0 objective a code is, and how to make it a better one."""

from dataclasses import replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.coding.codes.encoding import Encoding, Polished
from sparsetheory.coding.codes.objective import objective_rows
from sparsetheory.coding.codes.problem import check_codes, check_signals, row_chunks
from sparsetheory.coding.l0.coordinate_descent import cd_l0
from sparsetheory.coding.l0.debias import debias
from sparsetheory.coding.l0.single_best_replacement import is_sbr_stable, sbr
from sparsetheory.coding.proximal_gradient.step_sizes import squared_spectral_norm
from sparsetheory.constraints import NONNEGATIVE, POSITIVE
from sparsetheory.penalties.separable import L0
from sparsetheory.typing import FloatArray, Int64Array

__all__ = ["MinimiserKind", "minimiser_kinds", "polish"]


# The step of iterative hard thresholding that counts, times the squared spectral norm of the atoms.
_FRACTION = 0.99
# A gain errs by some roundings of the objective of a zero code.
_ROUNDINGS = 128


class MinimiserKind(IntEnum):
    r"""Kinds of minimisers of :math:`\frac12\|x - D^T c\|^2 + \lambda\|c\|_0`, each among those of the kind before."""

    NONE = 0
    """Not least squares on its support."""
    LOCAL = 1
    """Least squares on its support: a local minimiser."""
    IHT = 2
    """A fixed point of iterative hard thresholding."""
    CEL0 = 3
    """A critical point of CEL0 that is least squares on its support: no change of a single entry improves it."""
    SBR = 4
    """No addition or removal of an atom improves it, even with least squares after that."""


def minimiser_kinds(
    X: ArrayLike, D: ArrayLike, C: ArrayLike, *, alpha: float, step: float | None = None, tol: float = 1e-6
) -> Int64Array:
    r"""Return the highest :class:`MinimiserKind` that each code is of.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals.
    D : array-like of shape (n_atoms, n_features)
        Atoms, one per row; they need not be of unit norm.
    C : array-like of shape (n_samples, n_atoms)
        Codes.
    alpha : float
        Cost of an atom, at least 0.
    step : float, optional
        Step of iterative hard thresholding, at most :math:`1/\|D\|_2^2`; by default 0.99 of that.
    tol : float
        Tolerance, relative to the objective of a zero code: gains up to this fraction of it do not count. A fit that is
        wrong by a relative
        :math:`\varepsilon` costs about :math:`\varepsilon^2` of that, so that by default codes count which their solver
        has left within a thousandth of its goal.

    Returns
    -------
    ndarray of int of shape (n_samples,)

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, entries are not finite, an atom is zero, or a number is out of range.

    Notes
    -----
    A fixed point of hard thresholding at step :math:`\tau` has :math:`|c_i| \ge \sqrt{2\lambda\tau}` on its support and
    :math:`|d_i^Tr| \le \sqrt{2\lambda/\tau}` off it, r the residual; for CEL0 :math:`\tau` is replaced by
    :math:`1/\|d_i\|^2`. A larger step makes both conditions stronger, so kinds are nested as long as
    :math:`\tau \le 1/\|d_i\|^2`, and no code is a better minimiser for a smaller step. Costs as
    :func:`sparsetheory.coding.is_sbr_stable`.

    Examples
    --------
    >>> import numpy as np
    >>> C = [[3.0, 0.0], [3.0, 0.5], [2.0, 0.0]]
    >>> minimiser_kinds([[3.0, 0.5]] * 3, np.eye(2), C, alpha=0.5, step=0.2).tolist()
    [4, 2, 0]
    """
    X, A = check_signals(X, D)
    C = check_codes(C, X, A)
    alpha, tol = NONNEGATIVE.check("alpha", alpha), NONNEGATIVE.check("tol", tol)
    lipschitz = squared_spectral_norm(A)
    if step is None:
        step = _FRACTION / lipschitz
    elif POSITIVE.check("step", step) * lipschitz > 1.0 + 1e-9:
        raise ValueError(f"step must be at most {1 / lipschitz:.6g}, or kinds are not nested; got {step:g}")
    tol = max(tol, _ROUNDINGS * float(np.finfo(X.dtype).eps))
    refitted = debias(X, A.T, C)
    kinds = np.zeros(X.shape[0], np.int64)
    for chunk in row_chunks(X.shape[0], 8 * sum(A.shape)):
        kinds[chunk] = _thresholded(X[chunk], A, C[chunk], refitted[chunk], alpha, step, tol)
    high = kinds == MinimiserKind.CEL0
    kinds[high] += is_sbr_stable(X[high], A.T, C[high], alpha=alpha, tol=tol)
    return kinds


def _thresholded(
    X: FloatArray, A: FloatArray, C: FloatArray, refitted: FloatArray, alpha: float, step: float, tol: float
) -> Any:
    """Return the kinds of some codes up to that of CEL0."""
    X, A, C, refitted = (array.astype(np.float64, copy=False) for array in (X, A, C, refitted))
    slack = tol * 0.5 * np.einsum("ij,ij->i", X, X)
    shift = (refitted - C) @ A.T
    squares = np.einsum("ij,ij->j", A, A)
    size = 0.5 * squares * C**2
    slope = 0.5 * ((X - C @ A.T) @ A) ** 2 / squares
    reached = [0.5 * np.einsum("ij,ij->i", shift, shift) <= slack]
    for factor in (step * squares, np.ones(squares.size)):
        fixed = np.where(C != 0, size >= alpha * factor - slack[:, None], slope <= alpha / factor + slack[:, None])
        reached.append(fixed.all(axis=1))
    return np.logical_and.accumulate(reached).sum(axis=0)


def polish(
    X: ArrayLike,
    D: ArrayLike,
    C: ArrayLike,
    *,
    alpha: float,
    gram: ArrayLike | None = None,
    tol: float = 1e-6,
    n_jobs: int | None = None,
) -> Encoding:
    r"""Improve codes for :math:`\frac12\|x - D^T c\|^2 + \lambda\|c\|_0`, and say what each stage gained.

    Least squares on the support, then greedy coordinate descent, then single best replacement, each from the codes of
    the one before.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals.
    D : array-like of shape (n_atoms, n_features)
        Atoms, one per row; they need not be of unit norm.
    C : array-like of shape (n_samples, n_atoms)
        Codes of any origin.
    alpha : float
        Cost of an atom, at least 0.
    gram : array-like of shape (n_atoms, n_atoms), optional
        ``D @ D.T``, where it is known already.
    tol : float
        Tolerance, relative to the objective of a zero code, of :func:`minimiser_kinds`; the codes do not depend on it.
    n_jobs : int or None
        Threads, in the sense of joblib.

    Returns
    -------
    Encoding
        The codes, with `polished` that says what each stage gained; no stage raises an objective, but for rounding.
        `n_iter` counts the moves of the last two stages, and codes have converged that no addition or removal of one
        atom improves.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, entries are not finite, an atom is zero, or a number is out of range.

    Warns
    -----
    ConvergenceWarning
        As :func:`sparsetheory.coding.cd_l0` and :func:`sparsetheory.coding.sbr` do.

    Examples
    --------
    >>> import numpy as np
    >>> result = polish([[3.0, 0.5]], np.eye(2), [[2.0, 0.4]], alpha=0.5)
    >>> result.codes, result.polished.gained.round(3).tolist()
    (array([[3., 0.]]), [[0.505], [0.375], [0.0]])
    """
    X, A = check_signals(X, D)
    given = check_codes(C, X, A)
    refitted = debias(X, A.T, given)
    descended = cd_l0(X, A.T, alpha=alpha, init=refitted, gram=gram, n_jobs=n_jobs)
    replaced = sbr(X, A.T, alpha=alpha, init=descended.codes, gram=gram, n_jobs=n_jobs)
    stages = (given, refitted, descended.codes, replaced.codes)
    objective = np.array([objective_rows(X, A, codes, L0(alpha)) for codes in stages])
    before, after = (minimiser_kinds(X, A.T, codes, alpha=alpha, tol=tol) for codes in (given, replaced.codes))
    return replace(
        replaced,
        solver="polish",
        n_iter=descended.n_iter + replaced.n_iter,
        converged=after == MinimiserKind.SBR,
        polished=Polished(before, after, objective),
    )
