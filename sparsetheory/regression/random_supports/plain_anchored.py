"""A fit from anchors seen by plain linear algebra: what prediction certificates are recomputed from."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from sparsetheory.regression.certificates.plain_support import PlainSupport, dense, dense_blocks, inner
from sparsetheory.regression.least_squares import LeastSquaresData
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["AnchoredEvidence", "PlainAnchored", "understated"]

_EPS = float(np.finfo(np.float64).eps)
# Columns closer to the span of others than this fraction of their norm depend on them.
_DEPENDENT = 1e-11
# Steps of the forward selection that estimates the noise.
_STEPS = 30
# The right standard deviation is refuted at most this often by noise alone.
_CHANCE = 1e-6


@dataclass(frozen=True)
class AnchoredEvidence:
    """What the data say about one response of an anchored l1 fit, all in root or mean squares.

    Attributes
    ----------
    energy : float
        Half the mean square of what the anchors leave of the response: the loss at zero.
    gap : float
        Duality gap of the coefficients.
    anchor_residual : float
        Root mean square of the residual's part in the span of the anchors; zero but for rounding.
    terms, rounding : float
        Root mean squares of the response and of all terms of the model about their means, added up; and what rounding
        may make of `anchor_residual` in double precision.
    signal : float
        Root mean square of the response without what is in every model.
    """

    energy: float
    gap: float
    anchor_residual: float
    terms: float
    rounding: float
    signal: float


class PlainAnchored:
    """The span of anchors, and how far every column is from it, by Gram-Schmidt steps.

    Parameters
    ----------
    data : LeastSquaresData
        Validated data; only its rows, scaled by the roots of their weights, are used.
    anchors : ndarray of int
        The anchors.

    Attributes
    ----------
    fixed_basis : ndarray of shape (n_samples, n_fixed)
        Orthonormal basis of the constant and the forced features.
    basis : ndarray of shape (n_samples, rank)
        The same with the anchors.
    closest : float
        Least distance of a column of the basis to the span of those before it, as a fraction of its norm.
    lengths, distances : ndarray of shape (n_features,)
        Euclidean norms of the columns (about their means where there is a constant), and of what the basis leaves of
        them; zero for rounding and for the anchors.
    """

    def __init__(self, data: LeastSquaresData, anchors: IndexArray) -> None:
        self.data = data
        self.X = data.columns.X
        self.n_samples, self.n_features = self.X.shape
        fixed = dense(self.X, data.free)
        if data.fit_intercept:
            rows = np.ones(self.n_samples) if data.roots is None else data.roots
            fixed = np.column_stack([rows, fixed])
        self.fixed_basis, first = _extended(np.empty((self.n_samples, 0)), fixed)
        self.basis, second = _extended(self.fixed_basis, dense(self.X, anchors))
        self.closest = min(first, second)
        self.lengths, self.distances = np.zeros(self.n_features), np.zeros(self.n_features)
        for places, columns in dense_blocks(self.X):
            self.lengths[places] = self._lengths(columns)
            self.distances[places] = np.linalg.norm(_outside(self.basis, columns), axis=0)
        self.distances[self.distances <= _DEPENDENT * self.lengths] = 0.0
        self.distances[np.concatenate([anchors, data.free])] = 0.0

    def _lengths(self, columns: Float64Array) -> Float64Array:
        """Return norms of columns, about their means where there is a constant; zero where that is rounding."""
        raw = np.linalg.norm(columns, axis=0)
        left = np.linalg.norm(_outside(self.fixed_basis[:, : int(self.data.fit_intercept)], columns), axis=0)
        return np.where(left > 4 * _EPS * raw, left, 0.0)

    @property
    def weights(self) -> Float64Array:
        """Distances as root mean squares: weights of the l1 norm."""
        return self.distances / np.sqrt(self.n_samples)

    def agrees(self, weights: Float64Array) -> bool:
        """Whether other distances, in root mean squares, differ by rounding only."""
        if weights.shape != self.distances.shape:
            return False
        # Two bases of one span lean towards each other by the rounding of their weakest direction.
        lean = 2 * _DEPENDENT + 100 * _EPS / self.closest
        slack = (1e-6 * self.distances + lean * self.lengths) / np.sqrt(self.n_samples)
        return bool(np.all(np.abs(weights - self.weights) <= slack))

    def evidence(self, fit: PlainSupport, alpha: float) -> AnchoredEvidence:
        """Return what the response says about coefficients that minimise the l1 norm at a strength."""
        n = self.n_samples
        inside = self.basis.T @ fit.residual
        left = _outside(self.basis, fit.residual)
        target = _outside(self.basis, fit.y)
        ratio = self._ratio(left, alpha)
        square = float(left @ left)
        best = float(left @ target) / square if square > 0 else 0.0
        point = left * (float(np.clip(best, -1 / ratio, 1 / ratio)) if ratio > 0 else best)
        primal = 0.5 * square / n + alpha * float(self.weights @ np.abs(fit.coef))
        dual = 0.5 * float(target @ target - (target - point) @ (target - point)) / n
        outer = _outside(self.fixed_basis, fit.y)
        return AnchoredEvidence(
            0.5 * float(target @ target) / n,
            max(primal - dual, 0.0),
            float(np.linalg.norm(inside) / np.sqrt(n)),
            fit.terms / np.sqrt(n),
            ((_DEPENDENT + n * _EPS) * fit.terms + (fit.support.size + 2) * _EPS * fit.sizes) / np.sqrt(n),
            float(np.linalg.norm(outer) / np.sqrt(n)),
        )

    def _ratio(self, left: Float64Array, alpha: float) -> float:
        """Return the largest correlation of a column with what is left, over its strength, less rounding."""
        alive = self.distances > 0
        rounding = 4 * _EPS * self.lengths * np.linalg.norm(left)
        found = np.maximum(np.abs(inner(self.X, left)) - rounding, 0.0)[alive]
        strengths = alpha * np.sqrt(self.n_samples) * self.distances[alive]
        return float(np.max(found / strengths, initial=0.0))

    def forward_rss(self, y: Float64Array) -> float:
        """Return the residual sum of squares of the forward selection from the anchors that a criterion prefers.

        Every step takes the column that lowers it most; the length minimises the sum of ``(n - t) log`` of its ratios
        plus twice the logarithm of the number of columns per step, n being the dimension that the anchors leave.
        """
        residual = _outside(self.basis, y)
        free = self.n_samples - self.basis.shape[1]
        found = inner(self.X, residual)
        squares, alive = self.distances**2, self.distances**2
        basis, rss = self.basis, [float(residual @ residual)]
        for _ in range(min(_STEPS, max(free // 5, 0))):
            scores = np.where(squares > _DEPENDENT * alive, found**2 / np.where(squares > 0, squares, 1.0), 0.0)
            best = int(np.argmax(scores))
            if not scores[best] > 0 or rss[-1] <= (self.n_samples * _EPS) ** 2 * float(y @ y):
                break
            basis, _ = _extended(basis, dense(self.X, np.array([best])))
            direction = basis[:, -1]
            coordinate = float(direction @ residual)
            residual = residual - coordinate * direction
            parts = inner(self.X, direction)
            found, squares = found - coordinate * parts, np.maximum(squares - parts**2, 0.0)
            squares[best] = 0.0
            rss.append(float(residual @ residual))
        logs = np.log(np.maximum(rss, np.finfo(np.float64).tiny))
        costs = (free - np.arange(1, len(rss))) * np.diff(logs) + 2 * np.log(max(self.n_features, 2))
        return rss[int(np.argmin(np.append(0.0, np.cumsum(costs))))]

    def refitted(self, fit: PlainSupport) -> tuple[float, int]:
        """Return residual sum of squares and degrees of freedom of least squares on the anchors and the model."""
        span, _ = _extended(self.basis, dense(self.X, fit.support))
        left = _outside(span, fit.y)
        return float(left @ left), self.n_samples - span.shape[1]


def understated(design: PlainAnchored, fit: PlainSupport, noise_std: float, n_nonzero: int) -> bool:
    """Whether the residuals that are in the data are too large for a standard deviation of the noise.

    Two estimates of the noise must both say so: forward selection from the anchors, and least squares on the anchors
    and the features of the fit, where that leaves a fifth of the dimensions. Each may exceed its chi-square limit (at
    level 1e-6) by what as many features as a support has leave behind where they do not pay, ``2 sigma^2 log d`` each.
    """
    overlooked = 2 * n_nonzero * float(np.log(max(design.n_features, 2)))

    def excessive(rss: float, freedom: int) -> bool:
        return bool(rss > noise_std**2 * (stats.chi2.isf(_CHANCE, max(freedom, 1)) + overlooked))

    free = design.n_samples - design.basis.shape[1]
    rss, freedom = design.refitted(fit)
    telling = freedom >= free / 5
    return excessive(design.forward_rss(fit.y), free) and (not telling or excessive(rss, freedom))


def _outside(basis: Float64Array, vectors: Float64Array) -> Float64Array:
    for _ in range(2):
        vectors = vectors - basis @ (basis.T @ vectors)
    return vectors


def _extended(basis: Float64Array, columns: Float64Array) -> tuple[Float64Array, float]:
    """Append to an orthonormal basis what columns add to its span, one after the other.

    Returns the basis and the least length that was left of a unit column and counted.
    """
    closest, rank = 1.0, basis.shape[1]
    # In Fortran order, so that the first columns are one piece of memory, and growing copies nothing.
    grown = np.empty((len(basis), rank + columns.shape[1]), order="F")
    grown[:, :rank] = basis
    for column in columns.T:
        norm = np.linalg.norm(column)
        left = _outside(grown[:, :rank], column / norm) if norm > 0 else column
        length = float(np.linalg.norm(left))
        if length > _DEPENDENT:
            grown[:, rank] = left / length
            rank += 1
            closest = min(closest, length)
    return grown[:, :rank], closest
