"""How good a minimiser of the l0 objective a code is, and how to make it a better one."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.coding.codes.objective import objective_rows
from sparsetheory.coding.codes.problem import check_codes, check_signals, row_chunks
from sparsetheory.coding.l0.coordinate_descent import cd_l0
from sparsetheory.coding.l0.debias import debias
from sparsetheory.coding.l0.single_best_replacement import is_sbr_stable, sbr
from sparsetheory.coding.proximal_gradient.step_sizes import squared_spectral_norm
from sparsetheory.constraints import NONNEGATIVE, POSITIVE
from sparsetheory.penalties.separable import L0
from sparsetheory.typing import Float64Array, FloatArray, Int64Array

__all__ = ["Polished", "Stability", "polish", "stability_levels"]


# The step of iterative hard thresholding that counts, times the squared spectral norm of the atoms.
_SHARE = 0.99
# A gain errs by some roundings of the objective of a zero code.
_ROUNDINGS = 128


class Stability(IntEnum):
    r"""Kinds of minimisers of :math:`\frac12\|x - Dc\|^2 + \lambda\|c\|_0`, each among those of the kind before."""

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


@dataclass(frozen=True, eq=False)
class Polished:
    """Codes that were improved rung by rung.

    Attributes
    ----------
    codes : ndarray of shape (n_samples, n_atoms)
        The last ones.
    before, after : ndarray of int of shape (n_samples,)
        Levels of the given and of the last codes; see :class:`Stability`.
    objective : ndarray of shape (4, n_samples)
        The l0 objective of the given codes, after least squares on their supports, after coordinate descent, and after
        single best replacement.
    """

    codes: FloatArray
    before: Int64Array
    after: Int64Array
    objective: Float64Array

    @property
    def gained(self) -> Float64Array:
        """What refit, coordinate descent and replacement gained, shape (3, n_samples)."""
        return self.objective[:-1] - self.objective[1:]


def stability_levels(
    X: ArrayLike, D: ArrayLike, C: ArrayLike, alpha: float, *, step: float | None = None, tol: float = 1e-6
) -> Int64Array:
    r"""Return the highest level of :class:`Stability` that each code reaches.

    Parameters
    ----------
    X : array-like of shape (n_samples, m)
        Signals.
    D : array-like of shape (m, n_atoms)
        Atoms; they need not be of unit norm.
    C : array-like of shape (n_samples, n_atoms)
        Codes.
    alpha : float
        Price of an atom, at least 0.
    step : float, optional
        Step of iterative hard thresholding, at most :math:`1/\|D\|_2^2`; by default 0.99 of that.
    tol : float
        Gains up to this share of the objective of a zero code do not count. A fit that is wrong by a relative
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
    :math:`|D_i^Tr| \le \sqrt{2\lambda/\tau}` off it, r the residual; for CEL0 :math:`\tau` is replaced by
    :math:`1/\|D_i\|^2`. A larger step makes both conditions stronger, so levels are nested as long as
    :math:`\tau \le 1/\|D_i\|^2`, and no code is a better minimiser for a smaller step. Costs as
    :func:`sparsetheory.coding.is_sbr_stable`.

    Examples
    --------
    >>> import numpy as np
    >>> C = [[3.0, 0.0], [3.0, 0.5], [2.0, 0.0]]
    >>> stability_levels([[3.0, 0.5]] * 3, np.eye(2), C, 0.5, step=0.2).tolist()
    [4, 2, 0]
    """
    X, D = check_signals(X, D)
    C = check_codes(C, X, D)
    alpha, tol = NONNEGATIVE.check("alpha", alpha), NONNEGATIVE.check("tol", tol)
    lipschitz = squared_spectral_norm(D)
    if step is None:
        step = _SHARE / lipschitz
    elif POSITIVE.check("step", step) * lipschitz > 1.0 + 1e-9:
        raise ValueError(f"step must be at most {1 / lipschitz:.6g}, or levels are not nested; got {step:g}")
    tol = max(tol, _ROUNDINGS * float(np.finfo(X.dtype).eps))
    refitted = debias(X, D, C)
    levels = np.zeros(X.shape[0], np.int64)
    for chunk in row_chunks(X.shape[0], 8 * sum(D.shape)):
        levels[chunk] = _thresholded(X[chunk], D, C[chunk], refitted[chunk], alpha, step, tol)
    high = levels == Stability.CEL0
    levels[high] += is_sbr_stable(X[high], D, C[high], alpha, tol=tol)
    return levels


def _thresholded(
    X: FloatArray, D: FloatArray, C: FloatArray, refitted: FloatArray, alpha: float, step: float, tol: float
) -> Any:
    """Return the levels of some codes up to that of CEL0."""
    X, D, C, refitted = (array.astype(np.float64, copy=False) for array in (X, D, C, refitted))
    slack = tol * 0.5 * np.einsum("ij,ij->i", X, X)
    shift = (refitted - C) @ D.T
    squares = np.einsum("ij,ij->j", D, D)
    size = 0.5 * squares * C**2
    slope = 0.5 * ((X - C @ D.T) @ D) ** 2 / squares
    rungs = [0.5 * np.einsum("ij,ij->i", shift, shift) <= slack]
    for share in (step * squares, np.ones(squares.size)):
        fixed = np.where(C != 0, size >= alpha * share - slack[:, None], slope <= alpha / share + slack[:, None])
        rungs.append(fixed.all(axis=1))
    return np.logical_and.accumulate(rungs).sum(axis=0)


def polish(
    X: ArrayLike,
    D: ArrayLike,
    C: ArrayLike,
    alpha: float,
    *,
    gram: ArrayLike | None = None,
    tol: float = 1e-6,
    n_jobs: int | None = None,
) -> Polished:
    r"""Improve codes for :math:`\frac12\|x - Dc\|^2 + \lambda\|c\|_0`, and say what each rung gained.

    Least squares on the support, then greedy coordinate descent, then single best replacement, each from the codes of
    the one before.

    Parameters
    ----------
    X : array-like of shape (n_samples, m)
        Signals.
    D : array-like of shape (m, n_atoms)
        Atoms; they need not be of unit norm.
    C : array-like of shape (n_samples, n_atoms)
        Codes of any origin.
    alpha : float
        Price of an atom, at least 0.
    gram : array-like of shape (n_atoms, n_atoms), optional
        ``D.T @ D``, where it is known already.
    tol : float
        As in :func:`stability_levels`; it decides about levels alone.
    n_jobs : int or None
        Threads, in the sense of joblib.

    Returns
    -------
    Polished
        Its objectives do not increase, but for rounding.

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
    >>> result.codes, result.gained.round(3).tolist()
    (array([[3., 0.]]), [[0.505], [0.375], [0.0]])
    """
    X, D = check_signals(X, D)
    given = check_codes(C, X, D)
    rungs = [given, debias(X, D, given)]
    rungs.append(cd_l0(X, D, alpha, warm=rungs[-1], gram=gram, n_jobs=n_jobs))
    rungs.append(sbr(X, D, alpha, warm=rungs[-1], gram=gram, n_jobs=n_jobs))
    objective = np.array([objective_rows(X, D, codes, L0(alpha)) for codes in rungs])
    before, after = (stability_levels(X, D, codes, alpha, tol=tol) for codes in (given, rungs[-1]))
    return Polished(rungs[-1], before, after, objective)
