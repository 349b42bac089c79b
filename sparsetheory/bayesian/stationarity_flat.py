"""Evidence that variances without structure are a stationary point, recomputed from raw data."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsetheory.bayesian.kron_algebra import squared_modulus
from sparsetheory.bayesian.stationarity import CERTIFICATE_ROUNDING
from sparsetheory.bayesian.unstructured import FlatPosterior
from sparsetheory.certificates import Certificate, Status

__all__ = ["FlatStationarityCertificate"]

_Array = NDArray[np.inexact]
_Real = NDArray[np.float64]


@dataclass(frozen=True)
class FlatStationarityCertificate(Certificate):
    """The largest derivative of the cost by the logarithm of a kept variance, per measurement.

    Attributes
    ----------
    gamma : ndarray of shape (N,)
        Prior variances; zero where pruned.
    noise_variance : float
    noise_learned : bool
    converged : bool
        Whether the solver stopped because nothing moved.
    """

    gamma: _Real = field(kw_only=True, repr=False)
    noise_variance: float = field(kw_only=True)
    noise_learned: bool = field(kw_only=True)
    converged: bool = field(kw_only=True)

    @classmethod
    def of(
        cls, posterior: FlatPosterior, gamma: _Real, *, noise_learned: bool, converged: bool
    ) -> "FlatStationarityCertificate":
        """Certify the posterior that a solver ended with."""
        slopes = np.abs(posterior.prior * (posterior.q - posterior.power))
        largest = float(slopes.max(initial=0.0))
        if noise_learned:
            largest = max(largest, posterior.n_rows * abs(1.0 - posterior.noise_em / posterior.noise_variance))
        residual = largest / posterior.n_rows
        return cls(
            "no derivative of the cost by the logarithm of a kept variance exceeds this, per measurement",
            residual,
            residual,
            Status.VALID,
            gamma=gamma,
            noise_variance=posterior.noise_variance,
            noise_learned=noise_learned,
            converged=converged,
        )

    @classmethod
    def of_zero(cls, gamma: _Real, noise_variance: float, noise_learned: bool) -> "FlatStationarityCertificate":
        """Certify that no variance is left: then nothing but the noise variance could move, and it is the best one."""
        return cls(
            "no prior variance is left", 0.0, 0.0, Status.VALID, gamma=gamma, noise_variance=noise_variance,
            noise_learned=noise_learned, converged=True,
        )  # fmt: skip

    def check(self, X: Any, y: Any) -> "FlatStationarityCertificate":
        """Recompute the derivatives on the side of the coefficients.

        Parameters
        ----------
        X, y
            What the solver was fitted on.

        Returns
        -------
        FlatStationarityCertificate
            With a fresh `measured` and `valid`.

        Notes
        -----
        One system of the size of the number of kept columns, where the solver factors one of the number of rows.
        """
        y = np.asarray(y)
        if self.noise_variance == 0.0:
            return replace(self, measured=0.0, status=Status.of(not y.any()))
        live = np.flatnonzero(self.gamma)
        columns = _columns(X, live) * np.sqrt(self.gamma[live])
        y = y.reshape(columns.shape[0], -1)
        precision = np.eye(live.size) + columns.conj().T @ columns / self.noise_variance
        inverse = np.linalg.inv(precision)
        scaled = inverse @ (columns.conj().T @ y) / self.noise_variance
        slopes = 1.0 - np.diagonal(inverse).real - squared_modulus(scaled).mean(axis=1)
        largest = float(np.abs(slopes).max(initial=0.0))
        if self.noise_learned:
            residual = float(squared_modulus(y - columns @ scaled).sum(axis=0).mean())
            freedom = y.shape[0] - live.size + float(np.trace(inverse).real)
            largest = max(largest, abs(freedom - residual / self.noise_variance))
        measured = largest / y.shape[0]
        valid = measured <= self.bound * (1.0 + 1e-6) + CERTIFICATE_ROUNDING
        return replace(self, measured=measured, status=Status.of(valid))


def _columns(X: Any, indices: NDArray[np.intp]) -> _Array:
    """Return columns of a dictionary or of a Kronecker product of several."""
    if not isinstance(X, Sequence) or np.ndim(X[0]) != 2:
        return np.asarray(X)[:, indices]
    factors = [np.asarray(A) for A in X]
    places = np.unravel_index(indices, [A.shape[1] for A in factors])
    parts = [A[:, place] for A, place in zip(factors, places, strict=True)]
    return reduce(lambda a, b: (a[:, None, :] * b[None, :, :]).reshape(len(a) * len(b), a.shape[1]), parts)
