"""Posterior quantities by orthogonal factorisation of the columns beside the noise, for checks of certificates."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.linalg import solve_triangular

from sparsetheory.ranges import rounding_of
from sparsetheory.typing import Float64Array, IndexArray, InexactArray

__all__ = ["Whitening", "chunks", "is_posterior_mean"]

_EPS = float(np.finfo(np.float64).eps)
# Columns of a Kronecker product that are formed at a time.
_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class Whitening:
    """A square root of the covariance of the measurements, by orthogonal factorisation, and what it whitens."""

    root: InexactArray
    basis: InexactArray | None
    y: InexactArray
    noise: float
    n_rows: int
    n_free: int
    free_energy: float
    rounding: float

    @classmethod
    def of(
        cls, matrices: list[InexactArray], Y: InexactArray, variances: Float64Array, noise_variance: float, n_rows: int
    ) -> "Whitening":
        """Factor the columns with a positive variance beside the noise, for `n_rows` measurements that carry it."""
        Y = Y.reshape(Y.shape[0], -1)
        live = np.flatnonzero(variances)
        basis, n_free, energy = None, 0, 0.0
        if len(matrices) == 1 and matrices[0].shape[0] > matrices[0].shape[1]:
            basis = np.linalg.qr(matrices[0])[0]
            inside = basis.conj().T @ Y
            energy = float((np.abs(Y - basis @ inside) ** 2).sum(axis=0).mean())
            n_free, Y = n_rows - inside.shape[0], inside
        elif n_rows < Y.shape[0]:
            # Centred rows: one direction carries neither data nor noise.
            n_free = -1
        scaled = _columns(matrices, live) * np.sqrt(variances[live])
        scaled = scaled if basis is None else basis.conj().T @ scaled
        stacked = np.concatenate([scaled.conj().T, math.sqrt(noise_variance) * np.eye(Y.shape[0])])
        root = np.asarray(np.linalg.qr(stacked, mode="r")).conj().T
        condition = 1.0 + float(np.sum(np.abs(scaled) ** 2)) / noise_variance
        whitened = solve_triangular(root, Y, lower=True)
        return cls(root, basis, whitened, noise_variance, n_rows, n_free, energy, 4.0 * _EPS * condition)

    @property
    def solution_size(self) -> float:
        """Largest norm, over snapshots, of the data times the inverse covariance."""
        u = solve_triangular(self.root, self.y, lower=True, trans="C")
        return float(np.linalg.norm(u, axis=0).max())

    def project(self, A: InexactArray) -> tuple[Float64Array, InexactArray]:
        """Return the diagonal of ``A^H C^-1 A``, and ``A^H C^-1 y``."""
        inside = A if self.basis is None else self.basis.conj().T @ A
        W = solve_triangular(self.root, inside, lower=True)
        return np.sum(np.abs(W) ** 2, axis=0), W.conj().T @ self.y

    def noise_slope(self) -> float:
        """Return the derivative of the cost by the logarithm of the noise variance."""
        inverse = solve_triangular(self.root, np.eye(self.root.shape[0]), lower=True)
        u = inverse.conj().T @ self.y
        trace = float(np.sum(np.abs(inverse) ** 2)) + self.n_free / self.noise
        squares = float(np.sum(np.abs(u) ** 2, axis=0).mean()) + self.free_energy / self.noise**2
        return self.noise * (trace - squares)


def is_posterior_mean(
    coef: InexactArray, A: InexactArray, variances: Float64Array, S: InexactArray, unit: float, frame: Whitening
) -> bool:
    """Whether coefficients are variances times S, up to their own precision and the rounding of S.

    Parameters
    ----------
    coef : ndarray of shape (n,) or (n, n_snapshots)
        Coefficients.
    A : ndarray of shape (M, n)
        Their columns.
    variances : ndarray of shape (n,)
        Their variances, in units of the whitening.
    S : ndarray of shape (n, n_snapshots)
        As :meth:`Whitening.project` returns it.
    unit : float
        Unit of the data.
    frame : Whitening
        Where S is from.

    Returns
    -------
    bool
    """
    shape = (-1,) + (1,) * (coef.ndim - 1)
    mean = unit * variances.reshape(shape) * S.reshape(coef.shape)
    sizes = unit * variances * np.linalg.norm(A, axis=0) * frame.solution_size
    allowed = rounding_of(mean, coef.dtype) + (frame.rounding * sizes).reshape(shape)
    return bool(np.all(np.abs(coef - mean) <= allowed))


def _columns(matrices: list[InexactArray], indices: IndexArray) -> InexactArray:
    """Return columns of a dictionary or of a Kronecker product of several."""
    if len(matrices) == 1:
        return matrices[0][:, indices]
    places = np.unravel_index(indices, [A.shape[1] for A in matrices])
    parts = [A[:, place] for A, place in zip(matrices, places, strict=True)]
    return reduce(lambda a, b: (a[:, None, :] * b[None, :, :]).reshape(len(a) * len(b), a.shape[1]), parts)


def chunks(matrices: list[InexactArray], n: int) -> Iterator[tuple[IndexArray, InexactArray]]:
    """Yield indices and columns, a thousand at a time."""
    for start in range(0, n, _CHUNK):
        indices = np.arange(start, min(start + _CHUNK, n))
        yield indices, _columns(matrices, indices)
