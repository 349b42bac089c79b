"""Evidence that pattern-coupled sparse Bayesian learning has come to rest, recomputed from raw data."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from sparsetheory.bayesian.sbl.certificates.flat import intercept_fits
from sparsetheory.bayesian.sbl.certificates.whitening import Whitening, chunks, is_posterior_mean
from sparsetheory.bayesian.sbl.flat_data import read_flat
from sparsetheory.bayesian.sbl.noise_variance import NOISE_FLOOR
from sparsetheory.certificates import Certificate, Status
from sparsetheory.typing import Float64Array, InexactArray

__all__ = ["INFINITE", "LARGEST_RATIO", "PatternCertificate", "mean_change"]

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
class PatternCertificate(Certificate):
    """A fixed point: one more update changes the posterior mean, and a learned noise variance, by at most the bound.

    Attributes
    ----------
    gamma : ndarray of shape (N,)
        Prior variances.
    noise_variance : float
    noise_learned : bool
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
    a, b, eta : float
        Of the update.
    """

    TERMS: ClassVar[tuple[str, ...]] = (
        "tol", "converged", "noise_learned", "noise_variance", "fit_intercept", "a", "b", "eta",
    )  # fmt: skip

    gamma: Float64Array = field(kw_only=True, repr=False)
    noise_variance: float = field(kw_only=True)
    noise_learned: bool = field(kw_only=True)
    tol: float = field(kw_only=True)
    converged: bool = field(kw_only=True)
    coef: InexactArray = field(kw_only=True, repr=False)
    intercept: Any = field(kw_only=True)
    fit_intercept: bool = field(kw_only=True)
    a: float = field(kw_only=True)
    b: float = field(kw_only=True)
    eta: float = field(kw_only=True)

    @classmethod
    def of(cls, converged: bool, moved: float, tol: float, **details: Any) -> "PatternCertificate":
        """Certify the point that a solver ended with, which one more update moved by this share."""
        return cls(
            "",
            tol,
            moved,
            Status.of(converged),
            reason="" if converged else "the solver stopped before it came to rest",
            tol=tol,
            converged=converged,
            **details,
        ).stated()

    def promise(self) -> str:
        """Return what is promised."""
        return "one more update changes the posterior mean, and a learned noise variance, by at most the bound"

    def check(self, X: Any, y: Any, *, random_state: Any = 0) -> "PatternCertificate":
        """Do one more update, with an orthogonal factor of the columns beside the noise.

        Parameters
        ----------
        X, y
            What the solver was fitted on.
        random_state : Any
            Not used.

        Returns
        -------
        PatternCertificate
            With a fresh `measured` and `status`.

        Raises
        ------
        ValueError
            If the data are none that `fit` takes, or have other sizes.
        """
        data = read_flat(X, y)
        shape = (data.n_columns, *data.Y.shape[1:])
        if self.coef.shape != shape:
            raise ValueError(f"X and y must belong to coefficients of shape {self.coef.shape}; got {shape}")
        if not self._sensible(data):
            return replace(self, measured=math.inf, status=Status.INVALID, reason="a value is not finite, or cannot be")
        measured, faults = self._measure(data)
        if not self.converged:
            faults.append("the solver stopped before it came to rest")
        if not math.isclose(self.bound, self.tol, rel_tol=1e-9, abs_tol=0.0):
            faults.append("the bound is not the tolerance of the solver")
        if not measured <= self.bound * (1.0 + 1e-6):
            faults.append("one more update moves by more than the bound")
        judged = replace(self, measured=measured, status=Status.of(not faults), reason="; ".join(faults))
        return judged.unless_misstated()

    def _sensible(self, data: Any) -> bool:
        numbers = (self.gamma, self.noise_variance, self.a, self.b, self.eta)
        if not all(np.isfinite(v).all() and np.all(v >= 0) for v in numbers) or self.gamma.shape != self.coef.shape[:1]:
            return False
        finite = np.isfinite(self.coef).all() and np.isfinite(self.intercept).all()
        return bool(finite and (self.noise_variance > 0 or not data.Y.any()))

    def _measure(self, data: Any) -> tuple[float, list[str]]:
        """Return how far one more update moves, and what else is wrong."""
        matrices, Y, faults, n_rows = data.dictionaries.matrices, data.Y, [], data.Y.shape[0]
        if self.fit_intercept:
            A, Y = data.centred()
            matrices, n_rows = [A], n_rows - 1
        if not intercept_fits(data, self.coef, self.intercept, self.fit_intercept):
            faults.append("the intercept does not belong to the means and the coefficients")
        if not Y.any() or not any(A.any() for A in matrices):
            return 0.0, [*faults, *(["nothing explains a coefficient"] if self.coef.any() or self.gamma.any() else [])]
        unit = math.sqrt(float(np.mean(np.abs(Y) ** 2)) * Y.shape[0] / n_rows)
        norm = math.prod(math.sqrt(float(np.mean(np.linalg.norm(A, axis=0) ** 2))) for A in matrices)
        gamma, noise = self.gamma / unit**2, self.noise_variance / unit**2
        frame = Whitening.of(matrices, Y / unit, gamma, noise, n_rows)
        mean, energy, fits = self._moments(frame, matrices, gamma, unit)
        if not fits:
            faults.append("the coefficients are not the posterior mean")
        after = self._variances(energy * norm**2) / norm**2
        next_noise = noise
        if self.noise_learned:
            next_noise = max(noise * (1.0 - frame.noise_slope() / n_rows), NOISE_FLOOR)
        later = Whitening.of(matrices, Y / unit, after, next_noise, n_rows)
        moved = mean_change(mean, self._moments(later, matrices, after, unit)[0])
        return max(moved, abs(next_noise / noise - 1.0)), faults

    def _moments(
        self, frame: Whitening, matrices: list[InexactArray], gamma: Float64Array, unit: float
    ) -> tuple[InexactArray, Float64Array, bool]:
        """Return mean and second moments, and whether the coefficients are that mean."""
        means, energies, fits = [], [], True
        for columns, A in chunks(matrices, gamma.size):
            q, S = frame.project(A)
            g = gamma[columns]
            means.append(g[:, None] * S)
            energies.append(np.maximum(g - g**2 * q, 0.0) + g**2 * (np.abs(S) ** 2).mean(axis=-1))
            fits &= is_posterior_mean(self.coef[columns], A, g, S, unit, frame)
        return np.concatenate(means), np.concatenate(energies), fits

    def _variances(self, energy: Float64Array) -> Float64Array:
        """Return prior variances after one update of the precisions."""
        sums = np.convolve(energy, [self.eta, 1.0, self.eta], mode="full")[1:-1]
        precisions = (2.0 * self.a + 1.0) / (sums + 2.0 * self.b)
        precisions = np.where(precisions > LARGEST_RATIO * precisions.min(), INFINITE, precisions)
        return 1.0 / np.convolve(precisions, [self.eta, 1.0, self.eta], mode="full")[1:-1]
