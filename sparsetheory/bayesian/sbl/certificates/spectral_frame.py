"""Measurements of a Kronecker model in singular vectors, for checks of certificates."""

import math
from dataclasses import dataclass
from functools import reduce

import numpy as np

from sparsetheory.bayesian.sbl.reactivation import SlopeAtZero
from sparsetheory.typing import BoolArray, Float64Array, InexactArray

__all__ = ["SpectralFrame"]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class SpectralFrame:
    """Measurements in the singular vectors of the dictionaries times the roots of the factors."""

    vectors: list[InexactArray]
    seen: list[InexactArray]
    values: list[Float64Array]
    norms: list[Float64Array]
    scales: list[float]
    variances: list[Float64Array]
    noise: float
    D: Float64Array
    Z: InexactArray

    @classmethod
    def of(
        cls, matrices: list[InexactArray], Y: InexactArray, variances: list[Float64Array], noise: float, unit: float
    ) -> "SpectralFrame":
        """Rotate measurements and dictionaries into the singular vectors, and divide by the covariance."""
        # Factors of size one, whose product has the unit of the data.
        scales = [float(np.linalg.norm(A * np.sqrt(g))) ** 2 or 1.0 for A, g in zip(matrices, variances, strict=True)]
        rest = math.prod(scale / unit ** (2.0 / len(scales)) for scale in scales)
        scales[-1] /= rest
        vectors, values = [], []
        for A, gamma, scale in zip(matrices, variances, scales, strict=True):
            U, s, _ = np.linalg.svd(A * np.sqrt(gamma / scale), full_matrices=True)
            vectors.append(U)
            values.append(np.pad(s, (0, U.shape[0] - s.size)) ** 2)
        D = 1.0 / (noise + reduce(np.multiply.outer, values))
        Z = _rotated(Y, [U.conj().T for U in vectors])
        Z = Z * (D if Z.ndim == D.ndim else D[..., None])
        seen = [A.conj().T @ U for A, U in zip(matrices, vectors, strict=True)]
        norms = [np.linalg.norm(A, axis=0) for A in matrices]
        scaled = [gamma / scale for gamma, scale in zip(variances, scales, strict=True)]
        return cls(vectors, seen, values, norms, scales, scaled, noise, D, Z)

    @property
    def rounding(self) -> float:
        """What rounding leaves of a derivative per measurement."""
        return 4.0 * _EPS / (self.noise * float(self.D.min()))

    def _squares(self, values: InexactArray) -> Float64Array:
        squares = np.abs(values) ** 2
        return squares.mean(axis=-1) if self.Z.ndim > self.D.ndim else squares

    def slopes(self, k: int) -> SlopeAtZero:
        """Return the slopes of the cost by the entries of one factor."""
        up = np.abs(self.seen[k]) ** 2 @ _summed(self.D, self.values, k)
        inside = np.moveaxis(np.tensordot(self.seen[k], self.Z, axes=(1, k)), 0, k)
        down = _summed(self._squares(inside), self.values, k)
        return SlopeAtZero(up, down, self._sums_of_squares(k))

    def _sums_of_squares(self, k: int) -> Float64Array:
        """Return the sums over the other modes of the squares of what each entry of the factor adds."""
        q = self._quadratics()
        return _summed(q**2, [gamma**2 for gamma in self.variances], k)

    def _quadratics(self) -> Float64Array:
        """Return the diagonal of ``A^H C^-1 A``, shape (N_1, ..., N_d)."""
        return np.asarray(_rotated(self.D, [np.abs(W) ** 2 for W in self.seen]), dtype=np.float64)

    def single_gain(self, held: list[BoolArray]) -> float:
        """Return by how much a single coefficient could lower the cost where no variance is left."""
        up = self._quadratics()
        down = self._squares(_rotated(self.Z, self.seen))
        free = reduce(np.logical_and.outer, [~h for h in held])
        return float(np.where(free, SlopeAtZero(up, down, up**2).gain, 0.0).max())

    def mean(self) -> tuple[InexactArray, Float64Array]:
        """Return the posterior mean, and the sizes of its terms."""
        G = reduce(np.multiply.outer, self.variances)
        S = _rotated(self.Z, self.seen)
        sizes = G * reduce(np.multiply.outer, self.norms)
        largest = float(np.sqrt((np.abs(self.Z) ** 2).reshape(self.D.size, -1).sum(axis=0)).max())
        return S * (G if S.ndim == G.ndim else G[..., None]), sizes * largest

    def noise_slope(self) -> float:
        """Return the derivative of the cost by the logarithm of the noise variance."""
        return self.noise * (float(self.D.sum()) - float(self._squares(self.Z).sum()))


def _rotated(T: InexactArray, matrices: list[InexactArray]) -> InexactArray:
    """Multiply the first modes of a tensor by a matrix each."""
    for k, A in enumerate(matrices):
        T = np.moveaxis(np.tensordot(A, T, axes=(1, k)), 0, k)
    return T


def _summed(T: Float64Array, weights: list[Float64Array], k: int) -> Float64Array:
    """Sum over all modes but one, weighted."""
    for j in reversed([j for j in range(len(weights)) if j != k]):
        T = np.tensordot(T, weights[j], axes=(j, 0))
    return T
