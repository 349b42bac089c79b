"""The noise and the prior under which the bound on one subspace is largest."""

import math
from dataclasses import dataclass

import numpy as np

from sparsetheory.typing import Float64Array

__all__ = ["LARGEST_PRECISION", "SubspaceEvidence", "is_at_an_end"]

# One over the smallest share of the mean square of the data that learned noise may have.
LARGEST_PRECISION = 1e10
# Signal to noise of a typical column, kappa sigma^2 |f|^2, where learned numbers stay.
_SIGNAL = (1e-3, 1e14)
# Points of one pass over an interval, and passes: each keeps two of the intervals between the points.
_POINTS, _PASSES = 65, 6


def is_at_an_end(signals: Float64Array) -> bool:
    """Whether learned numbers are at an end of where they may be; `signals` are those of the active columns."""
    size = float(signals.mean())
    return size <= _SIGNAL[0] * 1.001 or size >= _SIGNAL[1] * 0.999


@dataclass(frozen=True, eq=False)
class SubspaceEvidence:
    r"""The bound on one subspace as a function of the precision of the noise and the variance of the prior.

    With the eigenvalues :math:`\lambda_k` of the Gram matrix, the data :math:`\beta_k` in its eigenvectors and
    :math:`\rho = \kappa\sigma_p^2`, the bound is

    .. math::
        \tfrac{M}{2}\log\kappa - \tfrac{\kappa}{2} S(\rho) - \tfrac12\sum_{i\in A}\log(1 + \rho\|f_i\|^2), \qquad
        S(\rho) = \|y\|^2 - \sum_k \frac{\rho\beta_k^2}{1 + \rho\lambda_k} .

    For a fixed :math:`\rho` the best precision is :math:`M / S(\rho)`: one number is left to be found, on a line.

    Attributes
    ----------
    n_rows : int
        Number M of data.
    energy : float
        Square of the data.
    squares : ndarray of shape (s,)
        Squares of the active columns.
    eigenvalues, projections : ndarray of shape (s,)
        Of the Gram matrix, and squares of the data in its eigenvectors.
    """

    n_rows: int
    energy: float
    squares: Float64Array
    eigenvalues: Float64Array
    projections: Float64Array

    @classmethod
    def of(cls, gram: Float64Array, b: Float64Array, energy: float, n_rows: int) -> "SubspaceEvidence":
        """Decompose the Gram matrix of the active columns; `b` holds their inner products with the data. O(s^3)."""
        eigenvalues, vectors = np.linalg.eigh(gram)
        return cls(n_rows, energy, np.diagonal(gram), np.maximum(eigenvalues, 0.0), (b @ vectors) ** 2)

    def misfit(self, rho: Float64Array) -> Float64Array:
        """Return S for several ratios."""
        explained = rho[:, None] * self.projections / (1.0 + rho[:, None] * self.eigenvalues)
        return np.maximum(self.energy - explained.sum(axis=1), 0.0)

    def bound(self, kappa: Float64Array, rho: Float64Array) -> Float64Array:
        """Return the bound for several precisions and ratios, up to a constant."""
        spread = np.log1p(rho[:, None] * self.squares).sum(axis=1)
        return 0.5 * (self.n_rows * np.log(kappa) - kappa * self.misfit(rho) - spread)

    def maximise(self, kappa: float, prior: float, *, learn_noise: bool, learn_prior: bool) -> tuple[float, float]:
        """Return the precision and the prior variance of the largest bound; what is not learned stays.

        Parameters
        ----------
        kappa, prior : float
            Current values; they are kept unless others raise the bound.
        learn_noise, learn_prior : bool
            What is learned.
        """
        size = float(self.squares.mean())
        low, high = (math.log(end / size) for end in _SIGNAL)
        most = LARGEST_PRECISION * self.n_rows / self.energy if self.energy > 0 else kappa

        def at(logs: Float64Array) -> tuple[Float64Array, Float64Array]:
            rho = np.exp(logs)
            if not learn_noise:
                return np.full(logs.size, kappa), rho
            if not learn_prior:
                return np.minimum(rho / prior, most), np.minimum(rho, most * prior)
            with np.errstate(divide="ignore"):
                return np.minimum(self.n_rows / self.misfit(rho), most), rho

        now = float(self.bound(np.array([kappa]), np.array([kappa * prior]))[0])
        for _ in range(_PASSES):
            logs = np.linspace(low, high, _POINTS)
            found, rho = at(logs)
            bounds = self.bound(found, rho)
            k = int(np.argmax(bounds))
            low, high = logs[max(k - 1, 0)], logs[min(k + 1, _POINTS - 1)]
        if not bounds[k] > now:
            return kappa, prior
        return float(found[k]), float(rho[k] / found[k])
