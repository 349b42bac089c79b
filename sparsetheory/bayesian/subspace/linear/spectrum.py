"""The bound on one subspace as a function of noise and prior, and where it is largest."""

import math
from dataclasses import dataclass

import numpy as np

from sparsetheory.typing import Float64Array

__all__ = ["LARGEST_PRECISION", "SubspaceSpectrum", "is_at_an_end", "within_ends"]

# One over the smallest share of the mean square of the data that learned noise may have.
LARGEST_PRECISION = 1e8
# Signal to noise, kappa sigma^2 |f|^2, of a column of typical norm, between which a learned prior stays: below, gains
# would be hidden by the tolerance; above, the prior says nothing any more, and rounding much.
_SIGNAL = (1e-3, 1e10)
# Points of the first pass over all sizes, those of later ones, and the width of the last interval.
_FIRST, _LATER, _WIDTH = 129, 17, 1e-12


def within_ends(signal: float) -> float:
    """Return the nearest signal to noise that a learned prior may have."""
    return min(max(signal, _SIGNAL[0]), _SIGNAL[1])


def is_at_an_end(signal: float) -> bool:
    """Whether a learned prior is at an end of where it may be, given the signal to noise of a typical column."""
    return not _SIGNAL[0] * 1.001 < signal < _SIGNAL[1] * 0.999


@dataclass(frozen=True, eq=False)
class SubspaceSpectrum:
    r"""What noise and prior see of one subspace: singular values of its columns, and the data in their vectors.

    With the singular values :math:`s_k`, the data :math:`z_k` in the left vectors and :math:`\rho = \kappa\sigma_p^2`,
    the bound is, up to a constant,

    .. math::
        \tfrac{M}{2}\log\kappa - \tfrac{\kappa}{2} S(\rho) - \tfrac12\sum_{i\in A}\log(1 + \rho\|f_i\|^2), \qquad
        S(\rho) = \|y_\perp\|^2 + \sum_k \frac{z_k^2}{1 + \rho s_k^2} .

    For a fixed :math:`\rho` the best precision is :math:`M / S(\rho)`: one number is left to be found, on a line.

    Attributes
    ----------
    n_rows : int
        Number M of data.
    outside : float
        Square of the part of the data that no combination of columns reaches.
    squares : ndarray of shape (s,)
        Squares of the columns.
    values, data : ndarray of shape (k,)
        Singular values, and the data in the left vectors.
    vectors : ndarray of shape (k, s)
        Right vectors.
    """

    n_rows: int
    outside: float
    squares: Float64Array
    values: Float64Array
    data: Float64Array
    vectors: Float64Array

    @classmethod
    def of(cls, columns: Float64Array, y: Float64Array) -> "SubspaceSpectrum":
        """Decompose columns by orthogonal transformations, which square no condition number: O((M + s) s^2)."""
        size = columns.shape[1]
        R = np.asarray(np.linalg.qr(np.concatenate([columns, y[:, None]], axis=1), mode="r"))
        k = min(y.size, size)
        left, values, vectors = np.linalg.svd(R[:k, :size], full_matrices=False)
        squares = np.einsum("ij,ij->j", R[:, :size], R[:, :size])
        return cls(y.size, float(np.sum(R[k:, size] ** 2)), squares, values, R[:k, size] @ left, vectors)

    def mean(self, kappa: float, prior: float) -> Float64Array:
        """Return the posterior mean."""
        rho = kappa * prior
        return np.asarray((rho * self.values * self.data / (1.0 + rho * self.values**2)) @ self.vectors)

    def bound(self, kappa: Float64Array, rho: Float64Array) -> Float64Array:
        """Return the bound for several precisions and ratios."""
        spread = np.log1p(np.multiply.outer(rho, self.squares)).sum(axis=1)
        return 0.5 * (self.n_rows * np.log(kappa / (2.0 * math.pi)) - kappa * self._misfit(rho) - spread)

    def bound_at(self, kappa: float, prior: float) -> float:
        """Return the bound for one precision and one variance of the prior."""
        return float(self.bound(np.array([kappa]), np.array([kappa * prior]))[0])

    def maximise(
        self, kappa: float, prior: float, typical: float, *, learn_noise: bool, learn_prior: bool
    ) -> tuple[float, float]:
        """Return the precision and the prior variance of the largest bound; what is not learned stays.

        Parameters
        ----------
        kappa, prior : float
            Used where they are not learned.
        typical : float
            Mean square of the columns of the design.
        learn_noise, learn_prior : bool
            What is learned.
        """
        energy = self.outside + float(self.data @ self.data)
        most = LARGEST_PRECISION * self.n_rows / energy if energy > 0 else kappa
        low, high = (math.log(end / typical) for end in _SIGNAL)
        if not learn_prior:
            # The expected square of what is left is at most that of the data and the prior together.
            least = self.n_rows / (energy + prior * float(self.squares.sum()))
            low, high = math.log(0.5 * min(least, most) * prior), math.log(most * prior)

        def at(logs: Float64Array) -> tuple[Float64Array, Float64Array]:
            rho = np.exp(logs)
            if not learn_noise:
                return np.full(logs.size, kappa), rho
            if not learn_prior:
                return rho / prior, rho
            with np.errstate(divide="ignore"):
                return np.minimum(self.n_rows / self._misfit(rho), most), rho

        logs = np.linspace(low, high, _FIRST)
        k = int(np.argmax(self.bound(*at(logs))))
        low, high = float(logs[max(k - 1, 0)]), float(logs[min(k + 1, _FIRST - 1)])
        # A maximum is where the derivative turns negative, which is known better than where values are largest.
        while high - low > _WIDTH * max(1.0, abs(low), abs(high)):
            logs = np.linspace(low, high, _LATER)
            rising = self._slope(*at(logs), learn_prior=learn_prior) > 0
            k = _LATER - 1 if rising.all() else max(1, int(np.argmin(rising)))
            low, high = float(logs[k - 1]), float(logs[k])
        found, rho = at(np.array([0.5 * (low + high)]))
        return float(found[0]), prior if not learn_prior else float(rho[0] / found[0])

    def _misfit(self, rho: Float64Array) -> Float64Array:
        """Return S for several ratios."""
        return np.asarray(self.outside + (1.0 / (1.0 + np.multiply.outer(rho, self.values**2))) @ self.data**2)

    def _slope(self, kappa: Float64Array, rho: Float64Array, *, learn_prior: bool) -> Float64Array:
        """Return twice the derivative of the bound by the logarithm of the ratio; by that of the precision if alone."""
        signal = np.multiply.outer(rho, self.squares)
        freedom = np.sum(signal / (1.0 + signal), axis=1)
        signal = np.multiply.outer(rho, self.values**2)
        if learn_prior:
            return np.asarray(kappa * ((signal / (1.0 + signal) ** 2) @ self.data**2) - freedom)
        left = self.outside + (1.0 + signal) ** -2.0 @ self.data**2
        return np.asarray(self.n_rows - kappa * left - freedom)
