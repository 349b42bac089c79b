"""Evidence that variances without structure are a stationary point, recomputed from raw data."""

import math
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from sparsetheory.bayesian.flat_data import FlatData, read_flat
from sparsetheory.bayesian.noise_variance import NOISE_FLOOR
from sparsetheory.bayesian.returning import price_of_name
from sparsetheory.certificates import Certificate, Status

__all__ = ["FlatStationarityCertificate"]

_Array = NDArray[np.inexact]
_Real = NDArray[np.float64]
_EPS = float(np.finfo(np.float64).eps)
# Columns of a Kronecker product that are formed at a time.
_CHUNK = 1024


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
    intercept : float, ndarray or None
        The constant; None for a model without one.
    held : ndarray of bool, shape (N,)
        Variances that the user held at zero.
    """

    gamma: _Real = field(kw_only=True, repr=False)
    noise_variance: float = field(kw_only=True)
    noise_learned: bool = field(kw_only=True)
    tol: float = field(kw_only=True)
    converged: bool = field(kw_only=True)
    coef: _Array = field(kw_only=True, repr=False)
    intercept: Any = field(kw_only=True, default=None)
    held: NDArray[np.bool_] = field(kw_only=True, repr=False)

    @classmethod
    def of(cls, converged: bool, residual: float, tol: float, **details: Any) -> "FlatStationarityCertificate":
        """Certify the point that a solver ended with, where it found this largest derivative."""
        return cls(
            "no derivative of the cost by the logarithm of a variance exceeds the bound, per measurement, and the "
            "coefficients are the posterior mean",
            tol,
            residual,
            Status.of(converged),
            reason="" if converged else "the solver stopped before it came to rest",
            tol=tol,
            converged=converged,
            **details,
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
        if not self._sensible():
            return replace(self, measured=math.inf, status=Status.INVALID, reason="a value is not finite, or negative")
        measured, allowed, faults = self._measure(data)
        if not self.converged:
            faults.append("the solver stopped before it came to rest")
        if not math.isclose(self.bound, self.tol, rel_tol=1e-9, abs_tol=0.0):
            faults.append("the bound is not the tolerance of the solver")
        if not measured <= self.bound + allowed:
            faults.append("a derivative exceeds the bound")
        return replace(self, measured=measured, status=Status.of(not faults), reason="; ".join(faults))

    def _sensible(self) -> bool:
        values = (self.gamma, self.noise_variance, self.coef, 0.0 if self.intercept is None else self.intercept)
        finite = all(np.isfinite(value).all() for value in values)
        return bool(finite and np.all(np.asarray(self.gamma) >= 0) and self.noise_variance >= 0)

    def _measure(self, data: FlatData) -> tuple[float, float, list[str]]:
        """Return the largest derivative, what rounding may add to it, and what else is wrong."""
        matrices, Y = data.dictionaries.matrices, data.Y
        n_rows, faults = Y.shape[0], []
        if self.intercept is not None:
            A, Y = data.centred()
            matrices, n_rows = [A], n_rows - 1
            if not self._intercept_fits(data):
                faults.append("the intercept does not belong to the means and the coefficients")
        if not Y.any() and self.noise_variance == 0.0:
            return 0.0, 0.0, [*faults, *(["y is zero and a coefficient is not"] if self.coef.any() else [])]
        unit = math.sqrt(float(np.mean(np.abs(Y) ** 2))) or 1.0
        frame = _Frame.of(matrices, Y / unit, self.gamma / unit**2, self.noise_variance / unit**2, n_rows)
        price = price_of_name(self._n_free(matrices), math.prod(Y.shape[1:]), np.iscomplexobj(Y))
        largest = 0.0
        for columns, A in _chunks(matrices, self.gamma.size):
            gamma = self.gamma[columns] / unit**2
            q, S = frame.project(A)
            power = _snapshots(np.abs(S) ** 2)
            largest = max(largest, float(np.abs(gamma * (q - power)).max()))
            ratio = np.maximum(np.divide(power, q, out=np.ones_like(q), where=q > 0), 1.0)
            gain = np.where((gamma > 0) | self.held[columns], 0.0, ratio - 1.0 - np.log(ratio))
            if gain.max() > price * (1.0 + 1e-6):
                faults.append("the data ask for a variance that was pruned")
            if not self._is_mean(columns, A, gamma, S, unit, frame):
                faults.append("the coefficients are not the posterior mean")
        if self.noise_learned:
            slope = frame.noise_slope()
            at_floor = frame.noise <= NOISE_FLOOR * (1.0 + 1e-9)
            largest = max(largest, -slope if at_floor else abs(slope))
        return largest / n_rows, frame.rounding, list(dict.fromkeys(faults))

    def _n_free(self, matrices: list[_Array]) -> int:
        """Return the number of columns that are not zero, and not held."""
        live = reduce(np.logical_and.outer, [np.any(A != 0, axis=0) for A in matrices])
        return int(np.sum(live.reshape(-1) & ~self.held))

    def _is_mean(self, columns: Any, A: _Array, gamma: _Real, S: _Array, unit: float, frame: "_Frame") -> bool:
        """Whether coefficients are variances times S, up to their own precision and the rounding of S."""
        shape = (-1,) + (1,) * (self.coef.ndim - 1)
        mean = unit * gamma.reshape(shape) * S.reshape(columns.size, *self.coef.shape[1:])
        sizes = unit * gamma * np.linalg.norm(A, axis=0) * frame.solution_size
        allowed = _precision(self.coef) * np.abs(mean) + (frame.rounding * sizes).reshape(shape)
        return bool(np.all(np.abs(self.coef[columns] - mean) <= allowed))

    def _intercept_fits(self, data: FlatData) -> bool:
        (A,), coef = data.dictionaries.matrices, self.coef
        means = A.mean(axis=0)
        expected = data.Y.mean(axis=0) - means @ coef
        terms = np.abs(data.Y).max(axis=0) + np.abs(A).max(axis=0) @ np.abs(coef)
        allowed = _EPS * sum(A.shape) * terms + _precision(coef) * np.abs(expected)
        return bool(np.all(np.abs(self.intercept - expected) <= allowed))


@dataclass(frozen=True, eq=False)
class _Frame:
    """A square root of the covariance of the measurements, by orthogonal factorisation, and what it whitens."""

    root: _Array
    basis: _Array | None
    y: _Array
    noise: float
    n_rows: int
    n_free: int
    free_energy: float
    rounding: float

    @classmethod
    def of(cls, matrices: list[_Array], Y: _Array, gamma: _Real, noise: float, n_rows: int) -> "_Frame":
        Y = Y.reshape(Y.shape[0], -1)
        live = np.flatnonzero(gamma)
        basis, n_free, energy = None, 0, 0.0
        if len(matrices) == 1 and matrices[0].shape[0] > matrices[0].shape[1]:
            basis = np.linalg.qr(matrices[0])[0]
            inside = basis.conj().T @ Y
            energy = float(_snapshots((np.abs(Y - basis @ inside) ** 2).sum(axis=0)))
            n_free, Y = n_rows - inside.shape[0], inside
        elif n_rows < Y.shape[0]:
            # Centred rows: one direction carries neither data nor noise.
            n_free = -1
        scaled = _columns(matrices, live) * np.sqrt(gamma[live])
        scaled = scaled if basis is None else basis.conj().T @ scaled
        stacked = np.concatenate([scaled.conj().T, math.sqrt(noise) * np.eye(Y.shape[0])])
        root = np.linalg.qr(stacked, mode="r").conj().T
        condition = 1.0 + float(np.sum(np.abs(scaled) ** 2)) / noise
        whitened = solve_triangular(root, Y, lower=True)
        return cls(root, basis, whitened, noise, n_rows, n_free, energy, 4.0 * _EPS * condition)

    @property
    def solution_size(self) -> float:
        """Largest norm, over snapshots, of the data times the inverse covariance."""
        u = solve_triangular(self.root, self.y, lower=True, trans="C")
        return float(np.linalg.norm(u, axis=0).max())

    def project(self, A: _Array) -> tuple[_Real, _Array]:
        """Return the diagonal of ``A^H C^-1 A``, and ``A^H C^-1 y``."""
        inside = A if self.basis is None else self.basis.conj().T @ A
        W = solve_triangular(self.root, inside, lower=True)
        return np.sum(np.abs(W) ** 2, axis=0), W.conj().T @ self.y

    def noise_slope(self) -> float:
        """Return the derivative of the cost by the logarithm of the noise variance."""
        inverse = solve_triangular(self.root, np.eye(self.root.shape[0]), lower=True)
        u = inverse.conj().T @ self.y
        trace = float(np.sum(np.abs(inverse) ** 2)) + self.n_free / self.noise
        squares = float(_snapshots(np.sum(np.abs(u) ** 2, axis=0))) + self.free_energy / self.noise**2
        return self.noise * (trace - squares)


def _snapshots(values: _Real) -> Any:
    """Average over the last axis."""
    return values.mean(axis=-1)


def _precision(coef: _Array) -> float:
    return float(np.finfo(coef.dtype).eps)


def _columns(matrices: list[_Array], indices: NDArray[np.intp]) -> _Array:
    """Return columns of a dictionary or of a Kronecker product of several."""
    if len(matrices) == 1:
        return matrices[0][:, indices]
    places = np.unravel_index(indices, [A.shape[1] for A in matrices])
    parts = [A[:, place] for A, place in zip(matrices, places, strict=True)]
    return reduce(lambda a, b: (a[:, None, :] * b[None, :, :]).reshape(len(a) * len(b), a.shape[1]), parts)


def _chunks(matrices: list[_Array], n: int) -> Any:
    """Yield indices and columns, a thousand at a time."""
    for start in range(0, n, _CHUNK):
        indices = np.arange(start, min(start + _CHUNK, n))
        yield indices, _columns(matrices, indices)
