"""Evidence that variances without structure are a stationary point, recomputed from raw data."""

import math
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from sparsetheory.bayesian.sbl.certificates.whitening import Whitening, chunks, is_posterior_mean
from sparsetheory.bayesian.sbl.flat_data import FlatData, read_flat
from sparsetheory.bayesian.sbl.noise_variance import NOISE_FLOOR
from sparsetheory.bayesian.sbl.returning import price_of_name
from sparsetheory.certificates import Certificate, Status
from sparsetheory.ranges import rounding_of
from sparsetheory.typing import BoolArray, Float64Array, InexactArray

__all__ = ["FlatStationarityCertificate", "intercept_fits"]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class FlatStationarityCertificate(Certificate):
    """Stationarity of the cost, and coefficients that are the posterior mean there.

    The largest derivative of the cost by the logarithm of a variance, per measurement. With learned noise its variance
    counts too. Of variances that were pruned none would raise the log evidence by more than the logarithm of the
    number of columns.

    Attributes
    ----------
    gamma : ndarray of shape (N,)
        Prior variances; zero where pruned.
    noise_variance : float
    noise_learned : bool
    tol : float
        Tolerance of the solver, which is the bound.
    converged : bool
        Whether the solver reached it, at rest.
    coef : ndarray of shape (N,) or (N, n_snapshots)
        What the model predicts with.
    intercept : float or ndarray of shape (n_snapshots,)
        The constant that the model predicts with.
    fit_intercept : bool
        Whether it was learned; zero otherwise.
    held : ndarray of bool, shape (N,)
        Variances that the user held at zero.
    """

    TERMS: ClassVar[tuple[str, ...]] = (
        "tol", "converged", "noise_learned", "noise_variance", "fit_intercept", "held",
    )  # fmt: skip

    gamma: Float64Array = field(kw_only=True, repr=False)
    noise_variance: float = field(kw_only=True)
    noise_learned: bool = field(kw_only=True)
    tol: float = field(kw_only=True)
    converged: bool = field(kw_only=True)
    coef: InexactArray = field(kw_only=True, repr=False)
    intercept: Any = field(kw_only=True)
    fit_intercept: bool = field(kw_only=True)
    held: BoolArray = field(kw_only=True, repr=False)

    @classmethod
    def of(cls, converged: bool, residual: float, tol: float, **details: Any) -> "FlatStationarityCertificate":
        """Certify the point that a solver ended with, where it found this largest derivative."""
        return cls(
            "",
            tol,
            residual,
            Status.of(converged),
            reason="" if converged else "the solver stopped before it came to rest",
            tol=tol,
            converged=converged,
            **details,
        ).stated()

    def promise(self) -> str:
        """Return what is promised."""
        return (
            "no derivative of the cost by the logarithm of a variance exceeds the bound, per measurement, and the "
            "coefficients are the posterior mean"
        )

    def check(self, X: Any, y: Any, *, random_state: Any = 0) -> "FlatStationarityCertificate":
        """Recompute derivatives and mean, from an orthogonal factor of the columns beside the noise.

        Parameters
        ----------
        X, y
            What the solver was fitted on.
        random_state : Any
            Not used.

        Returns
        -------
        FlatStationarityCertificate
            With a fresh `measured` and `status`.

        Raises
        ------
        ValueError
            If the data are none that `fit` takes, or have other sizes.

        Notes
        -----
        One QR factorisation of the columns in use beside the noise, where the solver factors their product.
        """
        data = read_flat(X, y)
        shape = (data.n_columns, *data.Y.shape[1:])
        if self.coef.shape != shape:
            raise ValueError(f"X and y must belong to coefficients of shape {self.coef.shape}; got {shape}")
        if not self._sensible(data):
            return replace(self, measured=math.inf, status=Status.INVALID, reason="a value is not finite, or cannot be")
        measured, allowed, faults = self._measure(data)
        if not self.converged:
            faults.append("the solver stopped before it came to rest")
        if not math.isclose(self.bound, self.tol, rel_tol=1e-9, abs_tol=0.0):
            faults.append("the bound is not the tolerance of the solver")
        if not measured <= self.bound + allowed:
            faults.append("a derivative exceeds the bound")
        judged = replace(self, measured=measured, status=Status.of(not faults), reason="; ".join(faults))
        return judged.unless_misstated()

    def _sensible(self, data: FlatData) -> bool:
        if self.gamma.shape != self.held.shape or self.gamma.size != data.n_columns:
            return False
        if self.noise_variance == 0 and data.Y.any():
            return False
        values = (self.gamma, self.noise_variance, self.coef, self.intercept)
        finite = all(np.isfinite(value).all() for value in values)
        return bool(finite and np.all(np.asarray(self.gamma) >= 0) and self.noise_variance >= 0)

    def _measure(self, data: FlatData) -> tuple[float, float, list[str]]:
        """Return the largest derivative, what rounding may add to it, and what else is wrong."""
        matrices, Y = data.dictionaries.matrices, data.Y
        n_rows, faults = Y.shape[0], []
        if self.fit_intercept:
            A, Y = data.centred()
            matrices, n_rows = [A], n_rows - 1
        if not intercept_fits(data, self.coef, self.intercept, self.fit_intercept):
            faults.append("the intercept does not belong to the means and the coefficients")
        if not Y.any() and self.noise_variance == 0.0:
            return 0.0, 0.0, [*faults, *(["y is zero and a coefficient is not"] if self.coef.any() else [])]
        unit = math.sqrt(float(np.mean(np.abs(Y) ** 2)) * Y.shape[0] / n_rows) or 1.0
        frame = Whitening.of(matrices, Y / unit, self.gamma / unit**2, self.noise_variance / unit**2, n_rows)
        price = price_of_name(self._n_free(matrices), math.prod(Y.shape[1:]), np.iscomplexobj(Y))
        largest = 0.0
        for columns, A in chunks(matrices, self.gamma.size):
            gamma = self.gamma[columns] / unit**2
            q, S = frame.project(A)
            power = (np.abs(S) ** 2).mean(axis=-1)
            largest = max(largest, float(np.abs(gamma * (q - power)).max()))
            ratio = np.maximum(np.divide(power, q, out=np.ones_like(q), where=q > 0), 1.0)
            gain = np.where((gamma > 0) | self.held[columns], 0.0, ratio - 1.0 - np.log(ratio))
            if gain.max() > price * (1.0 + 1e-6):
                faults.append("the data ask for a variance that was pruned")
            if not is_posterior_mean(self.coef[columns], A, gamma, S, unit, frame):
                faults.append("the coefficients are not the posterior mean")
        if self.noise_learned:
            slope = frame.noise_slope()
            at_floor = frame.noise <= NOISE_FLOOR * (1.0 + 1e-9)
            largest = max(largest, -slope if at_floor else abs(slope))
        return largest / n_rows, frame.rounding, list(dict.fromkeys(faults))

    def _n_free(self, matrices: list[InexactArray]) -> int:
        """Return the number of columns that are not zero, and not held."""
        live = reduce(np.logical_and.outer, [np.any(A != 0, axis=0) for A in matrices])
        return int(np.sum(live.reshape(-1) & ~self.held))


def intercept_fits(data: FlatData, coef: InexactArray, intercept: Any, learned: bool) -> bool:
    """Whether an intercept is the mean of what coefficients leave, up to rounding.

    Parameters
    ----------
    data : FlatData
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
    (A,) = data.dictionaries.matrices
    expected = data.Y.mean(axis=0) - A.mean(axis=0) @ coef
    terms = np.abs(data.Y).max(axis=0) + np.abs(A).max(axis=0) @ np.abs(coef)
    allowed = _EPS * sum(A.shape) * terms + rounding_of(expected, coef.dtype)
    return bool(np.all(np.abs(intercept - expected) <= allowed))
