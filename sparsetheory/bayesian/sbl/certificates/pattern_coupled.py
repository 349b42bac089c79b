"""Evidence that pattern-coupled sparse Bayesian learning has come to rest, recomputed from raw data."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from sparsetheory.bayesian.sbl.certificates.base import LinearCertificate
from sparsetheory.bayesian.sbl.certificates.whitening import Whitening, chunks, is_posterior_mean
from sparsetheory.bayesian.sbl.data import LinearData
from sparsetheory.bayesian.sbl.noise_variance import NOISE_FLOOR
from sparsetheory.typing import Float64Array, InexactArray

__all__ = ["INFINITE", "LARGEST_RATIO", "PatternCoupledSBLCertificate", "mean_change"]

# Precisions this many times above the smallest are taken for infinite, and set to this value.
LARGEST_RATIO, INFINITE = 1e3, 1e10


def mean_change(before: InexactArray, after: InexactArray) -> float:
    """Return the change of a mean, relative to its norm before.

    Parameters
    ----------
    before, after : ndarray
        Posterior means.

    Returns
    -------
    float
    """
    size, moved = float(np.linalg.norm(before)), float(np.linalg.norm(after - before))
    return moved / size if size > 0 else moved


@dataclass(frozen=True)
class PatternCoupledSBLCertificate(LinearCertificate):
    """A fixed point: one more update changes the posterior mean, and a learned noise variance, by at most the bound.

    Attributes
    ----------
    variances, noise_variance, learn_noise, tol, converged, coef, intercept, fit_intercept
        The point, and how it was found: prior variances, that of the noise and whether it was learned, tolerance of the
        solver and whether it was reached, and what the model predicts with.
    shape, rate, coupling : float
        Of the update, as in :class:`PatternCoupledSBL`.
    """

    TERMS: ClassVar[tuple[str, ...]] = (
        "tol", "converged", "learn_noise", "noise_variance", "fit_intercept", "shape", "rate", "coupling",
    )  # fmt: skip

    EXCEEDED: ClassVar[str] = "one more update moves by more than the bound"

    shape: float = field(kw_only=True)
    rate: float = field(kw_only=True)
    coupling: float = field(kw_only=True)

    def promise(self) -> str:
        """Return what is promised."""
        return "one more update changes the posterior mean, and a learned noise variance, by at most the bound"

    def _sensible(self, data: LinearData) -> bool:
        rule = (self.shape, self.rate, self.coupling)
        return all(math.isfinite(value) and value >= 0 for value in rule) and super()._sensible(data)

    def _measure(self, data: LinearData) -> tuple[float, float, list[str]]:
        """Return how far one more update moves, how far it may, and what else is wrong."""
        matrices, Y, n_rows = self._seen(data)
        allowed = self.bound * (1.0 + 1e-6)
        if not Y.any() or not any(A.any() for A in matrices):
            return 0.0, allowed, ["nothing explains a coefficient"] if self.coef.any() or self.variances.any() else []
        unit = math.sqrt(float(np.mean(np.abs(Y) ** 2)) * Y.shape[0] / n_rows)
        norm = math.prod(math.sqrt(float(np.mean(np.linalg.norm(A, axis=0) ** 2))) for A in matrices)
        variances, noise = self.variances / unit**2, self.noise_variance / unit**2
        frame = Whitening.of(matrices, Y / unit, variances, noise, n_rows)
        mean, energy, fits = self._moments(frame, matrices, variances, unit)
        after = self._variances(energy * norm**2) / norm**2
        next_noise = noise
        if self.learn_noise:
            next_noise = max(noise * (1.0 - frame.noise_slope() / n_rows), NOISE_FLOOR)
        later = Whitening.of(matrices, Y / unit, after, next_noise, n_rows)
        moved = mean_change(mean, self._moments(later, matrices, after, unit)[0])
        faults = [] if fits else ["the coefficients are not the posterior mean"]
        return max(moved, abs(next_noise / noise - 1.0)), allowed, faults

    def _moments(
        self, frame: Whitening, matrices: list[InexactArray], variances: Float64Array, unit: float
    ) -> tuple[InexactArray, Float64Array, bool]:
        """Return mean and second moments, and whether the coefficients are that mean."""
        means, energies, fits = [], [], True
        for columns, A in chunks(matrices, variances.size):
            q, S = frame.project(A)
            g = variances[columns]
            means.append(g[:, None] * S)
            energies.append(np.maximum(g - g**2 * q, 0.0) + g**2 * (np.abs(S) ** 2).mean(axis=-1))
            fits &= is_posterior_mean(self.coef[columns], A, g, S, unit, frame)
        return np.concatenate(means), np.concatenate(energies), fits

    def _variances(self, energy: Float64Array) -> Float64Array:
        """Return prior variances after one update of the precisions."""
        sums = np.convolve(energy, [self.coupling, 1.0, self.coupling], mode="full")[1:-1]
        precisions = (2.0 * self.shape + 1.0) / (sums + 2.0 * self.rate)
        precisions = np.where(precisions > LARGEST_RATIO * precisions.min(), INFINITE, precisions)
        return 1.0 / np.convolve(precisions, [self.coupling, 1.0, self.coupling], mode="full")[1:-1]
