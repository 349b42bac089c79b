"""Evidence that codes are optimal or stationary, from the data and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.arguments import check_number
from sparsetheory.certificates import Certificate, Status
from sparsetheory.coding.coding_objective import PenaltyRows
from sparsetheory.coding.coding_problem import check_codes, check_signals, row_chunks
from sparsetheory.coding.penalty import Penalty
from sparsetheory.numba_kernels import penalty_tags
from sparsetheory.numba_kernels.coordinate_descent import largest_violation

__all__ = ["CodeCertificate", "criticality", "duality_gap"]

_Floats = NDArray[np.floating]
_Array = NDArray[np.float64]


def duality_gap(X: ArrayLike, D: ArrayLike, C: ArrayLike, lam: float) -> _Array:
    r"""Return by how much the l1 objective of each code exceeds its minimum, at most.

    Parameters
    ----------
    X : array-like of shape (n_samples, m)
        Signals.
    D : array-like of shape (m, n_atoms)
        Atoms.
    C : array-like of shape (n_samples, n_atoms)
        Codes.
    lam : float
        Strength of the l1 penalty, at least 0.

    Returns
    -------
    ndarray of shape (n_samples,)
        Upper bounds in units of the objective, never negative; computed and returned in double precision.

    Raises
    ------
    ValueError, TypeError
        If an array or `lam` is not as above.

    Notes
    -----
    For every multiple :math:`\theta = s r` of the residual r with :math:`\|D^T\theta\|_\infty \le \lambda` the minimum
    is at least :math:`\frac12\|x\|^2 - \frac12\|x - \theta\|^2`, which is best at
    :math:`s = \langle x, r\rangle / \|r\|^2`, cut to the interval where it holds. The gap is then evaluated as
    :math:`\frac12(1 - s)^2\|r\|^2 + \sum_i |c_i|(\lambda - s\,\mathrm{sign}(c_i) D_i^T r)`: all terms are at least
    zero, so small gaps are not lost in cancellation (our rearrangement). O(m n) per code.

    Examples
    --------
    >>> import numpy as np
    >>> duality_gap([[3.0, 0.5]], np.eye(2), [[2.0, 0.0]], 1.0)
    array([0.])
    >>> duality_gap([[3.0, 0.5]], np.eye(2), [[2.0, 0.5]], 1.0).round(3)
    array([0.5])
    """
    X, D = check_signals(X, D)
    C = check_codes(C, X, D)
    lam = check_number("lam", lam)
    out = np.empty(X.shape[0])
    for chunk, residual, correlations in _residuals(X, D, C):
        codes = C[chunk].astype(np.float64, copy=False)
        square = np.einsum("ij,ij->i", residual, residual)
        largest = np.abs(correlations).max(axis=1)
        most = np.divide(lam, largest, out=np.full(square.size, np.inf), where=largest > 0)
        # <x, r> = ||r||^2 + <c, D'r>.
        best = 1.0 + np.divide(
            np.einsum("ij,ij->i", codes, correlations), square, out=np.zeros(square.size), where=square > 0
        )
        scale = np.clip(best, -most, most)
        slack = np.maximum(lam - scale[:, None] * np.sign(codes) * correlations, 0.0)
        out[chunk] = 0.5 * (1.0 - scale) ** 2 * square + np.einsum("ij,ij->i", np.abs(codes), slack)
    return out


def criticality(X: ArrayLike, D: ArrayLike, C: ArrayLike, penalty: Penalty, step: float | None = None) -> _Array:
    r"""Return how far each code is from being its own proximal gradient step, in units of correlations.

    Parameters
    ----------
    X : array-like of shape (n_samples, m)
        Signals.
    D : array-like of shape (m, n_atoms)
        Atoms.
    C : array-like of shape (n_samples, n_atoms)
        Codes.
    penalty : Penalty
        Any penalty of the package.
    step : float, optional
        Step :math:`\tau`, above 0. By default every entry has its own, one over the squared norm of its atom.

    Returns
    -------
    ndarray of shape (n_samples,)
        Largest :math:`|c_i - \mathrm{prox}_{\tau\phi}(c_i + \tau D_i^T(x - Dc))| / \tau` of each code; computed and
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
    O(m n) per code.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.coding import L0
    >>> X, C = [[0.5, 3.0]], [[0.5, 3.0]]
    >>> criticality(X, np.eye(2), C, L0(0.5), step=0.1), criticality(X, np.eye(2), C, L0(0.5))
    (array([0.]), array([0.5]))
    """
    X, D = check_signals(X, D)
    C = check_codes(C, X, D)
    rows = PenaltyRows(penalty, D.shape[1], np.dtype(np.float64))
    if step is not None:
        step = check_number("step", step, positive=True)
    squares = np.einsum("ij,ij->j", D, D, dtype=np.float64)
    out = np.empty(X.shape[0])
    for chunk, _, correlations in _residuals(X, D, C):
        codes = C[chunk].astype(np.float64)
        if step is None:
            pairs = zip(codes, correlations, strict=True)
            out[chunk] = [largest_violation(squares, *pair, rows.lam, rows.shape, rows.kind) for pair in pairs]
        else:
            moved = rows.threshold(codes + step * correlations, step)
            out[chunk] = np.abs(moved - codes).max(axis=1) / step
    return out


@dataclass(frozen=True, eq=False)
class CodeCertificate(Certificate):
    """A bound on the duality gap (l1), or on the distance from stationarity (other penalties), of every code.

    Attributes
    ----------
    penalty : Penalty
        Penalty of the codes.
    codes : ndarray of shape (n_samples, n_atoms)
        The codes.
    step : float or None
        As in :func:`criticality`; not used by l1.
    distances : ndarray of shape (n_samples,)
        Gap or distance of each code when last verified; `measured` is their maximum.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.coding import L1, forward_backward
    >>> X, D = np.array([[3.0, 0.5]]), np.eye(2)
    >>> C, _ = forward_backward(X, D, L1(1.0))
    >>> CodeCertificate.of(X, D, C, L1(1.0)).check(X, D).valid
    True
    """

    penalty: Penalty = field(kw_only=True)
    codes: _Floats = field(kw_only=True, repr=False)
    step: float | None = field(kw_only=True)
    distances: _Array = field(kw_only=True, repr=False)

    @classmethod
    def of(
        cls, X: ArrayLike, D: ArrayLike, C: ArrayLike, penalty: Penalty, *, tol: float = 1e-6, step: float | None = None
    ) -> "CodeCertificate":
        """Certify codes.

        Parameters
        ----------
        X, D, C, penalty, step
            As in :func:`criticality`.
        tol : float
            The bound, as a share of the largest objective of a zero code (l1) or of the largest correlation of an atom
            with a signal.

        Returns
        -------
        CodeCertificate
        """
        X, D = check_signals(X, D)
        C = check_codes(C, X, D)
        tol = check_number("tol", tol)
        PenaltyRows(penalty, D.shape[1], D.dtype)
        if penalty.kind == penalty_tags.L1:
            what, scales = "no objective exceeds its minimum", 0.5 * np.einsum("ij,ij->i", X, X, dtype=np.float64)
        else:
            change = "change of a single entry" if step is None else f"forward-backward step of {step:g}"
            what, scales = f"no correlation misses a code that no {change} improves", np.abs(X @ D)
        bound = tol * float(scales.max(initial=0.0))
        blank = np.full(X.shape[0], np.nan)
        text = f"{type(penalty).__name__} at lam={penalty.lam:g}: {what} by more than the bound"
        return cls(text, bound, None, Status.INVALID, penalty=penalty, codes=C, step=step, distances=blank).check(X, D)

    def check(self, X: ArrayLike, D: ArrayLike) -> "CodeCertificate":
        """Recompute all distances from the data, with nothing but matrix products and one proximal step.

        Parameters
        ----------
        X : array-like of shape (n_samples, m)
            Signals.
        D : array-like of shape (m, n_atoms)
            Atoms.

        Returns
        -------
        CodeCertificate
            With fresh `measured`, `distances` and `valid`.
        """
        if self.penalty.kind == penalty_tags.L1:
            distances = duality_gap(X, D, self.codes, self.penalty.lam)
        else:
            distances = criticality(X, D, self.codes, self.penalty, self.step)
        measured = float(distances.max(initial=0.0))
        return replace(self, measured=measured, distances=distances, status=Status.of(measured <= self.bound))


def _residuals(X: _Floats, D: _Floats, C: _Floats) -> Iterator[tuple[slice, _Array, _Array]]:
    """Yield rows, their residuals and the correlations of these with all atoms, in double precision."""
    atoms = D.astype(np.float64, copy=False)
    for chunk in row_chunks(X.shape[0], 8 * sum(D.shape)):
        residual = X[chunk] - C[chunk].astype(np.float64, copy=False) @ atoms.T
        yield chunk, residual, residual @ atoms
