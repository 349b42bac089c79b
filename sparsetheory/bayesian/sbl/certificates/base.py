"""Certificates of learned variances without Kronecker structure: common fields, and the course of a check."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from sparsetheory.bayesian.sbl.data import LinearData, read_data
from sparsetheory.certificates import Certificate, Status
from sparsetheory.ranges import rounding_of
from sparsetheory.typing import Float64Array, InexactArray

__all__ = ["LinearCertificate"]

_EPS = float(np.finfo(np.float64).eps)
_STOPPED = "the solver stopped before it came to rest"


@dataclass(frozen=True)
class LinearCertificate(Certificate):
    """A certificate that variances stay where they are, and that the coefficients are the posterior mean there.

    Attributes
    ----------
    variances : ndarray of shape (N,)
        Prior variances; zero where pruned.
    noise_variance : float
        Variance of the noise.
    learn_noise : bool
        Whether it was learned.
    tol : float
        Tolerance of the solver, which is the bound.
    converged : bool
        Whether the solver reached it.
    coef : ndarray of shape (N,) or (N, n_snapshots)
        What the model predicts with.
    intercept : float or ndarray of shape (n_snapshots,)
        The constant that the model predicts with.
    fit_intercept : bool
        Whether it was learned; zero otherwise.
    """

    EXCEEDED: ClassVar[str] = "what was measured exceeds the bound"
    """What is wrong where it does."""

    variances: Float64Array = field(kw_only=True, repr=False)
    noise_variance: float = field(kw_only=True)
    learn_noise: bool = field(kw_only=True)
    tol: float = field(kw_only=True)
    converged: bool = field(kw_only=True)
    coef: InexactArray = field(kw_only=True, repr=False)
    intercept: Any = field(kw_only=True)
    fit_intercept: bool = field(kw_only=True)

    @classmethod
    def of(cls, converged: bool, measured: float, tol: float, **details: Any) -> Self:
        """Certify the point that a solver ended with, and what it measured there."""
        reason = "" if converged else _STOPPED
        status = Status.of(converged)
        return cls("", tol, measured, status, reason=reason, tol=tol, converged=converged, **details).stated()

    def check(self, X: Any, y: Any, *, random_state: Any = 0) -> Self:
        """Recompute what is bounded, and the mean, from an orthogonal factor of the columns beside the noise.

        Parameters
        ----------
        X, y
            What the solver was fitted on.
        random_state : Any
            Not used.

        Returns
        -------
        LinearCertificate
            Of the same class, with a fresh `measured` and `status`.

        Raises
        ------
        ValueError
            If the data are none that `fit` takes, or have other sizes.

        Notes
        -----
        QR factorisations of the columns in use beside the noise, where the solver factors their product.
        """
        data = read_data(X, y)
        shape = (data.n_columns, *data.Y.shape[1:])
        if self.coef.shape != shape:
            raise ValueError(f"X and y must belong to coefficients of shape {self.coef.shape}; got {shape}")
        if not self._sensible(data):
            return replace(self, measured=math.inf, status=Status.INVALID, reason="a value is not finite, or cannot be")
        measured, allowed, faults = self._measure(data)
        if not intercept_fits(data, self.coef, self.intercept, self.fit_intercept):
            faults.append("the intercept does not belong to the means and the coefficients")
        if not self.converged:
            faults.append(_STOPPED)
        if not math.isclose(self.bound, self.tol, rel_tol=1e-9, abs_tol=0.0):
            faults.append("the bound is not the tolerance of the solver")
        if not measured <= allowed:
            faults.append(self.EXCEEDED)
        judged = replace(self, measured=measured, status=Status.of(not faults), reason="; ".join(faults))
        return judged.unless_misstated()

    def _sensible(self, data: LinearData) -> bool:
        """Whether all numbers are finite and may belong to such a model."""
        numbers = (self.variances, self.noise_variance)
        finite = all(np.isfinite(value).all() for value in (*numbers, self.coef, self.intercept))
        if not finite or self.variances.shape != (data.n_columns,) or not all(np.all(v >= 0) for v in numbers):
            return False
        return bool(self.noise_variance > 0 or not data.Y.any())

    def _seen(self, data: LinearData) -> tuple[list[InexactArray], InexactArray, int]:
        """Return matrices and measurements that the variances are learned from, and how many carry noise."""
        if not self.fit_intercept:
            return data.modes.matrices, data.Y, data.Y.shape[0]
        A, Y = data.centred()
        return [A], Y, Y.shape[0] - 1

    def _measure(self, data: LinearData) -> tuple[float, float, list[str]]:
        """Return what is bounded, how large it may be, and what else is wrong."""
        raise NotImplementedError


def intercept_fits(data: LinearData, coef: InexactArray, intercept: Any, learned: bool) -> bool:
    """Whether an intercept is the mean of what coefficients leave, up to rounding.

    Parameters
    ----------
    data : LinearData
        With a single matrix.
    coef : ndarray of shape (N,) or (N, n_snapshots)
        Coefficients.
    intercept : float or ndarray of shape (n_snapshots,)
        What is judged.
    learned : bool
        Whether there is one; otherwise it must be zero.

    Returns
    -------
    bool
    """
    if not learned:
        return bool(np.all(intercept == 0.0))
    (A,) = data.modes.matrices
    expected = data.Y.mean(axis=0) - A.mean(axis=0) @ coef
    terms = np.abs(data.Y).max(axis=0) + np.abs(A).max(axis=0) @ np.abs(coef)
    allowed = _EPS * sum(A.shape) * terms + rounding_of(expected, coef.dtype)
    return bool(np.all(np.abs(intercept - expected) <= allowed))
