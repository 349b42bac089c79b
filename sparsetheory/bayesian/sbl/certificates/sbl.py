"""Evidence that variances without structure are a stationary point, recomputed from raw data."""

import math
from dataclasses import dataclass, field
from functools import reduce
from typing import ClassVar

import numpy as np

from sparsetheory.bayesian.sbl.certificates.base import LinearCertificate
from sparsetheory.bayesian.sbl.certificates.whitening import Whitening, chunks, is_posterior_mean
from sparsetheory.bayesian.sbl.data import LinearData
from sparsetheory.bayesian.sbl.noise_variance import NOISE_FLOOR
from sparsetheory.bayesian.sbl.reactivation import inclusion_penalty
from sparsetheory.typing import BoolArray, InexactArray

__all__ = ["SBLCertificate"]


@dataclass(frozen=True)
class SBLCertificate(LinearCertificate):
    """Stationarity of the cost, and coefficients that are the posterior mean there.

    What is bounded is the largest derivative of the cost by the logarithm of a variance, per measurement. With learned
    noise its variance counts too. Of variances that were pruned none would raise the log evidence by more than the
    logarithm of the number of columns.

    Attributes
    ----------
    variances, noise_variance, learn_noise, tol, converged, coef, intercept, fit_intercept
        The point, and how it was found: prior variances, that of the noise and whether it was learned, tolerance of the
        solver and whether it was reached, and what the model predicts with.
    fixed_zeros : ndarray of bool, shape (N,)
        Variances that the user fixed at zero.
    """

    TERMS: ClassVar[tuple[str, ...]] = (
        "tol", "converged", "learn_noise", "noise_variance", "fit_intercept", "fixed_zeros",
    )  # fmt: skip

    EXCEEDED: ClassVar[str] = "a derivative exceeds the bound"

    fixed_zeros: BoolArray = field(kw_only=True, repr=False)

    def promise(self) -> str:
        """Return what is promised."""
        return (
            "no derivative of the cost by the logarithm of a variance exceeds the bound, per measurement, and the "
            "coefficients are the posterior mean"
        )

    def _sensible(self, data: LinearData) -> bool:
        return self.variances.shape == self.fixed_zeros.shape and super()._sensible(data)

    def _measure(self, data: LinearData) -> tuple[float, float, list[str]]:
        """Return the largest derivative, how large rounding lets it be, and what else is wrong."""
        (matrices, Y, n_rows), faults = self._seen(data), []
        if not Y.any() and self.noise_variance == 0.0:
            return 0.0, self.bound, ["y is zero and a coefficient is not"] if self.coef.any() else []
        unit = math.sqrt(float(np.mean(np.abs(Y) ** 2)) * Y.shape[0] / n_rows) or 1.0
        frame = Whitening.of(matrices, Y / unit, self.variances / unit**2, self.noise_variance / unit**2, n_rows)
        penalty = inclusion_penalty(self._n_free(matrices), math.prod(Y.shape[1:]), np.iscomplexobj(Y))
        largest = 0.0
        for columns, A in chunks(matrices, self.variances.size):
            gamma = self.variances[columns] / unit**2
            q, S = frame.project(A)
            power = (np.abs(S) ** 2).mean(axis=-1)
            largest = max(largest, float(np.abs(gamma * (q - power)).max()))
            ratio = np.maximum(np.divide(power, q, out=np.ones_like(q), where=q > 0), 1.0)
            gain = np.where((gamma > 0) | self.fixed_zeros[columns], 0.0, ratio - 1.0 - np.log(ratio))
            if gain.max() > penalty * (1.0 + 1e-6):
                faults.append("the data ask for a variance that was pruned")
            if not is_posterior_mean(self.coef[columns], A, gamma, S, unit, frame):
                faults.append("the coefficients are not the posterior mean")
        if self.learn_noise:
            slope = frame.noise_slope()
            at_floor = frame.noise <= NOISE_FLOOR * (1.0 + 1e-9)
            largest = max(largest, -slope if at_floor else abs(slope))
        return largest / n_rows, self.bound + frame.rounding, list(dict.fromkeys(faults))

    def _n_free(self, matrices: list[InexactArray]) -> int:
        """Return the number of columns that are not zero, and whose variances are not fixed at zero."""
        live = reduce(np.logical_and.outer, [np.any(A != 0, axis=0) for A in matrices])
        return int(np.sum(live.reshape(-1) & ~self.fixed_zeros))
