"""Evidence that codes are optimal or stationary, from the data and nothing else."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.certificates import Certificate, Status
from sparsetheory.coding.codes.problem import check_codes, check_signals, row_chunks
from sparsetheory.constraints import NONNEGATIVE, POSITIVE
from sparsetheory.numba_kernels.quadratic.coordinate_descent import largest_violation
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.best_entries import best_distances
from sparsetheory.penalties.per_feature import PenaltyRows
from sparsetheory.penalties.separable import ElasticNet, as_penalty
from sparsetheory.typing import Float64Array, FloatArray

__all__ = ["CodeCertificate", "check_coded", "criticality", "duality_gap", "mismatch", "numbers_of", "promised"]


# Rounding errors of a sum, in roundings of the sum of the sizes of its terms.
_ROUNDINGS = 8
# Two bounds are the same that differ by rounding alone.
_SAME = 1e-9


def duality_gap(
    X: ArrayLike, D: ArrayLike, C: ArrayLike, *, alpha: float, l1_ratio: float = 1.0, positive: bool = False
) -> Float64Array:
    r"""Return the duality gap of each code for a convex penalty: an upper bound on its objective minus the minimum.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals.
    D : array-like of shape (n_atoms, n_features)
        Atoms.
    C : array-like of shape (n_samples, n_atoms)
        Codes.
    alpha : float
        Strength of the penalty, at least 0.
    l1_ratio : float
        Share of the l1 norm, as of :class:`~sparsetheory.penalties.ElasticNet`; one, by default, is l1.
    positive : bool
        Whether entries must be at least zero.

    Returns
    -------
    ndarray of shape (n_samples,)
        Upper bounds in units of the objective, never negative; computed and returned in double precision. Infinite for
        codes with negative entries that must not be.

    Raises
    ------
    ValueError, TypeError
        If an array or a number is not as above.

    Notes
    -----
    For every multiple :math:`\theta = s r` of the residual r with :math:`\|D\theta\|_\infty \le \lambda` the minimum
    is at least :math:`\frac12\|x\|^2 - \frac12\|x - \theta\|^2`, which is best at
    :math:`s = \langle x, r\rangle / \|r\|^2`, cut to the interval where it holds. The gap is then evaluated as
    :math:`\frac12(1 - s)^2\|r\|^2 + \sum_i |c_i|(\lambda - s\,\mathrm{sign}(c_i) d_i^T r)`: all terms are at least
    zero, so small gaps are not lost in cancellation (our rearrangement). O(n_features n_atoms) per code.

    The square of an elastic net, of strength :math:`\mu`, is the squared residual of n more samples, where the signal
    is zero and the atoms are :math:`\sqrt\mu` times the unit vectors: the same holds with the residual, and its
    correlations, of the longer signal. If entries must not be negative, only positive correlations bound s, and
    :math:`s \ge 0`.

    Examples
    --------
    >>> import numpy as np
    >>> duality_gap([[3.0, 0.5]], np.eye(2), [[2.0, 0.0]], alpha=1.0)
    array([0.])
    >>> duality_gap([[3.0, 0.5]], np.eye(2), [[2.0, 0.5]], alpha=1.0).round(3)
    array([0.5])
    """
    X, A = check_signals(X, D)
    C = check_codes(C, X, A)
    penalty = ElasticNet(NONNEGATIVE.check("alpha", alpha), l1_ratio, positive=positive)
    alpha, ridge = penalty.alpha * penalty.l1_part, penalty.alpha * (1.0 - penalty.l1_part)
    out = np.empty(X.shape[0])
    for chunk, residual, correlations in _residuals(X, A, C):
        codes = C[chunk].astype(np.float64, copy=False)
        square = np.einsum("ij,ij->i", residual, residual)
        if ridge > 0:
            correlations -= ridge * codes
            square += ridge * np.einsum("ij,ij->i", codes, codes)
        largest = penalty.pull(correlations).max(axis=1)
        most = np.divide(alpha, largest, out=np.full(square.size, np.inf), where=largest > 0)
        # <x, r> = ||r||^2 + <c, A'r>.
        best = 1.0 + np.divide(
            np.einsum("ij,ij->i", codes, correlations), square, out=np.zeros(square.size), where=square > 0
        )
        scale = np.clip(best, 0.0 if positive else -most, most)
        slack = np.maximum(alpha - scale[:, None] * np.sign(codes) * correlations, 0.0)
        out[chunk] = 0.5 * (1.0 - scale) ** 2 * square + np.einsum("ij,ij->i", np.abs(codes), slack)
        if positive:
            out[chunk][(codes < 0).any(axis=1)] = np.inf
    return out


def criticality(
    X: ArrayLike,
    D: ArrayLike,
    C: ArrayLike,
    penalty: str | Penalty,
    *,
    alpha: float | None = None,
    step: float | None = None,
    **shape: float,
) -> Float64Array:
    r"""Return the distance of each code from stationarity: the move of a proximal gradient step, over the step.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals.
    D : array-like of shape (n_atoms, n_features)
        Atoms.
    C : array-like of shape (n_samples, n_atoms)
        Codes.
    penalty : Penalty or str
        A penalty of the package, or its name with `alpha` and, where it has one, its other number.
    alpha : float, optional
        Strength of the penalty; in a penalty object it replaces the strength.
    step : float, optional
        Step :math:`\tau`, above 0. By default every entry has its own, one over the squared norm of its atom.
    **shape : float
        The other number of a penalty given by name: `q`, `gamma`, `a`, `eps`, `theta` or `norms`.

    Returns
    -------
    ndarray of shape (n_samples,)
        Largest :math:`|c_i - \mathrm{prox}_{\tau\phi}(c_i + \tau d_i^T(x - D^Tc))| / \tau` of each code; computed and
        returned in double precision.

    Raises
    ------
    ValueError, TypeError
        If an array, `penalty` or `step` is not as above.

    Notes
    -----
    With its default step the distance is zero if and only if no change of a single entry lowers the objective: an entry
    moves to the global minimum over it. That implies criticality and does not depend on a solver. With a number it is
    zero at the fixed points of forward-backward splitting at that step. For convex penalties these are all minimisers
    at any step; for penalties with a jump, the smaller the step, the more fixed points there are. Where an entry stands
    next to a jump of the operator, rounding decides on which side; the distance is then about as large as the jump.
    O(n_features n_atoms) per code.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.penalties import L0
    >>> X, C = [[0.5, 3.0]], [[0.5, 3.0]]
    >>> criticality(X, np.eye(2), C, L0(0.5), step=0.1), criticality(X, np.eye(2), C, L0(0.5))
    (array([0.]), array([0.5]))
    """
    X, A = check_signals(X, D)
    C = check_codes(C, X, A)
    rows = PenaltyRows(as_penalty(penalty, alpha, **shape), A.shape[1], np.dtype(np.float64))
    if step is not None:
        step = POSITIVE.check("step", step)
    squares = np.einsum("ij,ij->j", A, A, dtype=np.float64)
    out = np.empty(X.shape[0])
    for chunk, _, correlations in _residuals(X, A, C):
        codes = C[chunk].astype(np.float64)
        if step is None:
            pairs = zip(codes, correlations, strict=True)
            out[chunk] = [largest_violation(squares, *pair, rows.alpha, rows.shape, rows.kind) for pair in pairs]
        else:
            moved = rows.threshold(codes + step * correlations, step)
            out[chunk] = np.abs(moved - codes).max(axis=1) / step
    return out


@dataclass(frozen=True, eq=False)
class CodeCertificate(Certificate):
    """A bound on the duality gap (convex penalties), or on the distance from stationarity (others), of every code.

    Attributes
    ----------
    penalty : Penalty
        Penalty of the codes.
    codes : ndarray of shape (n_samples, n_atoms)
        The codes.
    step : float or None
        As in :func:`criticality`; not used by convex penalties.
    tol : float
        Tolerance, relative to the objective of a zero code (convex penalties) or to the largest correlation of an atom
        with the signal: every gap, or every distance, is at most this fraction of it. `bound` is the largest of these.
    distances : ndarray of shape (n_samples,)
        Gap or distance of each code when last verified; `measured` is their maximum.

    Notes
    -----
    Rounding errors are allowed for from the sizes of all terms: eight roundings, in the precision of the codes, of
    ``|d_i| (|x| + sum_j |d_j| |c_j|)`` for the correlation with atom ``d_i``.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.coding import forward_backward
    >>> from sparsetheory.penalties import L1
    >>> X, D = np.array([[3.0, 0.5]]), np.eye(2)
    >>> C = forward_backward(X, D, L1(1.0)).codes
    >>> CodeCertificate.of(X, D, C, L1(1.0)).check(X, D).valid
    True
    """

    penalty: Penalty = field(kw_only=True)
    codes: FloatArray = field(kw_only=True, repr=False)
    step: float | None = field(kw_only=True)
    tol: float = field(kw_only=True)
    distances: Float64Array = field(kw_only=True, repr=False)

    @classmethod
    def of(
        cls,
        X: ArrayLike,
        D: ArrayLike,
        C: ArrayLike,
        penalty: str | Penalty,
        *,
        alpha: float | None = None,
        tol: float = 1e-6,
        step: float | None = None,
        **shape: float,
    ) -> "CodeCertificate":
        """Certify codes.

        Parameters
        ----------
        X, D, C, penalty, alpha, step, **shape
            As in :func:`criticality`.
        tol : float
            Tolerance, relative to what is said above.

        Returns
        -------
        CodeCertificate
        """
        X, A = check_signals(X, D)
        tol, penalty = NONNEGATIVE.check("tol", tol), as_penalty(penalty, alpha, **shape)
        numbers = numbers_of(X, A, check_codes(C, X, A), penalty, tol, step)
        return cls(**numbers).check(X, A.T)

    def check(self, X: Any, D: Any = None, *, random_state: Any = 0) -> Self:
        """Recompute all distances and the bound from the data, with matrix products and comparisons of objectives.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Signals.
        D : array-like of shape (n_atoms, n_features)
            Atoms.
        random_state : None
            Not used.

        Returns
        -------
        CodeCertificate
            With fresh `measured`, `distances` and `status`.

        Raises
        ------
        ValueError, TypeError
            If signals or atoms are not as the coders want them, or their numbers are not those of the codes.
        """
        X, A = check_coded(X, D, self.codes)
        return self._judged(X, A)

    def _judged(self, X: FloatArray, A: FloatArray) -> Self:
        if not np.isfinite(self.codes).all():
            blank = np.full(X.shape[0], np.nan)
            return replace(self, measured=math.nan, distances=blank, status=Status.INVALID, reason="codes not finite")
        promises = promised(X, A, self.penalty, self.tol)
        distances, roundings = _distances(X, A, self.codes, self.penalty, self.step)
        bound = float(promises.max(initial=0.0))
        reason = mismatch(self, bound, self.tol, _statement(self.penalty, self.tol, self.step))
        status = Status.of(not reason and bool((distances <= promises + roundings).all()))
        measured = float(distances.max(initial=0.0))
        return replace(self, measured=measured, distances=distances, status=status, reason=reason)


def check_coded(X: Any, D: Any, codes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return signals and matrix as :func:`check_signals` does, once they have the numbers of the codes.

    Raises
    ------
    ValueError, TypeError
        If `D` is None, an array is not as the coders want it, or the numbers differ.
    """
    if D is None:
        raise ValueError("D must be the atoms of the codes; got None")
    X, A = check_signals(X, D)
    shape = X.shape[0], A.shape[1]
    if codes.shape != shape:
        raise ValueError(
            f"X must have one row per code and D one row per entry of a code, {codes.shape}; they have {shape}"
        )
    return X, A


def mismatch(certificate: Certificate, bound: float, tol: float, statement: str) -> str:
    """Return what differs between a certificate and the bound and statement that its own numbers make, or nothing."""
    if certificate.statement != statement:
        return "the statement is not about these numbers and this tolerance"
    if not abs(certificate.bound - bound) <= _SAME * bound:
        return f"the bound is not tol={tol:g} times its scale, {bound:.6g}"
    return ""


def numbers_of(
    X: FloatArray, A: FloatArray, C: FloatArray, penalty: Penalty, tol: float, step: float | None
) -> dict[str, Any]:
    """Return the fields of a certificate of checked arrays that was not checked yet."""
    PenaltyRows(penalty, A.shape[1], A.dtype)
    if step is not None:
        step = POSITIVE.check("step", step)
    return {
        "statement": _statement(penalty, tol, step),
        "bound": float(promised(X, A, penalty, tol).max(initial=0.0)),
        "measured": None,
        "status": Status.INVALID,
        "penalty": penalty,
        "codes": C,
        "step": step,
        "tol": tol,
        "distances": np.full(X.shape[0], np.nan),
    }


def _statement(penalty: Penalty, tol: float, step: float | None) -> str:
    if penalty.convex:
        what = f"no objective exceeds its minimum by more than {tol:g} of that of a zero code"
    else:
        change = "change of a single entry" if step is None else f"forward-backward step of {step:g}"
        what = f"the best {change} moves no code by more than {tol:g} of the largest correlation with its signal"
    return f"{penalty!r}: {what}"


def promised(X: FloatArray, A: FloatArray, penalty: Penalty, tol: float) -> Float64Array:
    """Return how large the gap (convex penalties) or the distance of each code may be, in double precision."""
    if penalty.convex:
        return 0.5 * tol * np.einsum("ij,ij->i", X, X, dtype=np.float64)
    atoms, out = A.astype(np.float64, copy=False), np.empty(X.shape[0])
    for chunk in row_chunks(X.shape[0], 8 * sum(A.shape)):
        out[chunk] = tol * np.abs(X[chunk].astype(np.float64, copy=False) @ atoms).max(axis=1)
    return out


def _distances(
    X: FloatArray, A: FloatArray, C: FloatArray, penalty: Penalty, step: float | None
) -> tuple[Float64Array, Float64Array]:
    """Return gap or distance of each code, and by how much rounding errors may make it larger."""
    norms = np.linalg.norm(A.astype(np.float64, copy=False), axis=0)
    signals, sizes = np.linalg.norm(X.astype(np.float64, copy=False), axis=1), np.abs(C) @ norms
    # Rounding errors of the correlations with an atom of unit norm.
    noise = _ROUNDINGS * float(np.finfo(C.dtype).eps) * (signals + sizes)
    if penalty.convex:
        gaps = duality_gap(X, A.T, C, alpha=penalty.alpha, l1_ratio=penalty.l1_part, positive=penalty.positive)
        ridge = penalty.alpha * (1.0 - penalty.l1_part) * np.einsum("ij,ij->i", C, C, dtype=np.float64)
        return gaps, noise * (sizes + noise) + _ROUNDINGS * float(np.finfo(C.dtype).eps) * ridge
    steps = 1.0 / norms**2 if step is None else np.full(norms.size, step)
    out = np.empty(X.shape[0])
    for chunk, _, correlations in _residuals(X, A, C):
        codes = C[chunk].astype(np.float64)
        slack = noise[chunk, None] * (norms * steps)
        wide = np.broadcast_to(steps, codes.shape)
        off = best_distances(penalty, codes, codes + steps * correlations, wide, slack)
        out[chunk] = (off / steps).max(axis=1)
    return out, noise * norms.max()


def _residuals(X: FloatArray, A: FloatArray, C: FloatArray) -> Iterator[tuple[slice, Float64Array, Float64Array]]:
    """Yield rows, their residuals and the correlations of these with all atoms, in double precision."""
    atoms = A.astype(np.float64, copy=False)
    for chunk in row_chunks(X.shape[0], 8 * sum(A.shape)):
        residual = X[chunk] - C[chunk].astype(np.float64, copy=False) @ atoms.T
        yield chunk, residual, residual @ atoms
