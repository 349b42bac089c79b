"""The least-squares part of a penalised regression, as a working-set solver sees it.

``q(w) = |y - Xw|^2 / (2n)``: gradients of chosen features, Gram blocks of the working set, and how far the residual has
moved. The solver never asks for more than the columns of its working set and correlations of features that its bounds
cannot settle.
"""

from typing import Any, Protocol

import numpy as np
from scipy import sparse

from sparsetheory.numba_kernels.quadratic.coordinate_descent import csc_correlations, dense_correlations
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.orthonormal import GrowingColumns
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["DataQuadratic", "GramQuadratic", "Quadratic"]

# From here on up, differences of Gram matrices keep at least half of the digits.
_SAFE_SHARE = 1e-7
# Columns of which projection leaves a smaller fraction, of squares, are projected before they are multiplied.
_FAR = 1e-6
# A square below this fraction of what its terms could add up to is negative by more than rounding.
_NEGATIVE = 1e-9
# Columns with large means are projected in blocks of about this many entries.
_BLOCK_ENTRIES = 1 << 19


class Quadratic(Protocol):
    """What the working-set solver needs to know of a quadratic ``w'Gw/2 - b'w + energy/2``.

    Attributes
    ----------
    linear : ndarray of shape (n_features,)
        b, the negative gradient at zero.
    curvature : ndarray of shape (n_features,)
        Diagonal of G; zero for features that cannot change the fit.
    energy : float
        Twice the value at zero.
    """

    linear: Float64Array
    curvature: Float64Array
    energy: float

    def extend(self, new: IndexArray) -> tuple[Float64Array, Float64Array]:
        """Append features to the working set; return their Gram blocks with the old members and among themselves."""
        ...

    def keep(self, positions: IndexArray) -> None:
        """Drop all members of the working set but those at the given positions."""
        ...

    def move(self, w: Float64Array) -> float:
        """Set the coefficients of the working set; return the distance the residual moved, over sqrt(n)."""
        ...

    def residual_products(self) -> tuple[float, float]:
        """Return ``y'r / n`` and ``r'r / n`` at the current point."""
        ...

    def gradient(self, features: IndexArray) -> Float64Array:
        """Return the negative gradient at the current point for some features."""
        ...


class DataQuadratic:
    """The quadratic of a design and a response.

    Parameters
    ----------
    columns : Columns
        Design; what its basis spans is projected out.
    y : ndarray of shape (n_samples,)
        Response, projected alike.
    squares : ndarray of shape (n_features,), optional
        :meth:`Columns.live_squares`, where the caller has them.
    """

    def __init__(self, columns: Columns, y: Float64Array, squares: Float64Array | None = None) -> None:
        self.columns = columns
        self.n = columns.n_samples
        squares = columns.live_squares() if squares is None else squares
        alive = squares > 0
        self.curvature = squares / self.n
        # Products with columns that are nearly their means alone would be of their rounding.
        self._far = alive & (squares < _FAR * columns.raw_squares())
        self.linear = np.where(alive, columns.correlate(y), 0.0) / self.n
        self._correct(np.arange(columns.n_features), y, self.linear)
        self.energy = float(y @ y) / self.n
        self.y = y
        self.residual = y
        narrow = columns.basis is None or (
            columns.basis.shape[1] <= 8 and bool(np.all(squares[alive] >= _SAFE_SHARE * columns.raw_squares()[alive]))
        )
        self._store = _SparseStore(columns) if columns.is_sparse and narrow else _DenseStore(columns)

    def extend(self, new: IndexArray) -> tuple[Float64Array, Float64Array]:
        """Append features to the working set."""
        cross, own = self._store.extend(new)
        return cross / self.n, own / self.n

    def keep(self, positions: IndexArray) -> None:
        """Drop all members but those at the given positions."""
        self._store.keep(positions)

    def move(self, w: Float64Array) -> float:
        """Set the coefficients of the working set."""
        residual = self.y - self._store.apply(w)
        distance = float(np.linalg.norm(residual - self.residual)) / np.sqrt(self.n)
        self.residual = residual
        return distance

    def residual_products(self) -> tuple[float, float]:
        """Return the products from the residual itself, which does not cancel as sums of Gram terms do."""
        return float(self.y @ self.residual) / self.n, float(self.residual @ self.residual) / self.n

    def gradient(self, features: IndexArray) -> Float64Array:
        """Return the negative gradient for some features: one pass over their columns."""
        out = self._raw_gradient(features)
        self._correct(features, self.residual, out)
        return out

    def _correct(self, features: IndexArray, residual: Float64Array, out: Float64Array) -> None:
        """Replace the gradients of features with large means by those of their projected columns."""
        places = np.flatnonzero(self._far[features])
        width = max(1, _BLOCK_ENTRIES // self.n)
        for start in range(0, places.size, width):
            some = places[start : start + width]
            out[some] = self.columns.take(features[some]).T @ residual / self.n

    def _raw_gradient(self, features: IndexArray) -> Float64Array:
        X = self.columns.X
        if 2 * features.size > self.columns.n_features or not (self.columns.is_sparse or X.flags.f_contiguous):
            return self.columns.inner(self.residual)[features] / self.n
        out = np.empty(features.size)
        if self.columns.is_sparse:
            csc_correlations(X.data, X.indices, X.indptr, features, self.residual, out)
        else:
            dense_correlations(X, features, self.residual, out)
        return out / self.n


class _DenseStore:
    """Columns of the working set, gathered."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.members = GrowingColumns(np.empty((columns.n_samples, 0)))

    def extend(self, new: IndexArray) -> tuple[Float64Array, Float64Array]:
        fresh = self.columns.take(new)
        cross = self.members.filled.T @ fresh
        self.members.append(fresh)
        return cross, fresh.T @ fresh

    def keep(self, positions: IndexArray) -> None:
        self.members.keep(positions)

    def apply(self, w: Float64Array) -> Float64Array:
        return np.asarray(self.members.filled @ w)


class _SparseStore:
    """Sparse columns of the working set, with the few coordinates of each in the projected-out subspace."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.matrix = sparse.csc_array((columns.n_samples, 0))
        q = 0 if columns.basis is None else columns.basis.shape[1]
        self.coordinates = np.empty((q, 0))

    def extend(self, new: IndexArray) -> tuple[Float64Array, Float64Array]:
        fresh = sparse.csc_array(self.columns.X[:, new], dtype=np.float64)
        basis = self.columns.basis
        coordinates = np.empty((0, new.size)) if basis is None else np.asarray(basis.T @ fresh)
        cross = (self.matrix.T @ fresh).toarray() - self.coordinates.T @ coordinates
        own = (fresh.T @ fresh).toarray() - coordinates.T @ coordinates
        self.matrix = sparse.csc_array(sparse.hstack([self.matrix, fresh]))
        self.coordinates = np.hstack([self.coordinates, coordinates])
        return cross, own

    def keep(self, positions: IndexArray) -> None:
        self.matrix = sparse.csc_array(self.matrix[:, positions])
        self.coordinates = self.coordinates[:, positions]

    def apply(self, w: Float64Array) -> Float64Array:
        return self.columns.project(self.matrix @ w)


class GramQuadratic:
    """The quadratic of sufficient statistics; the data are not needed.

    Parameters
    ----------
    gram : ndarray of shape (n_features, n_features)
        ``X'X / n``.
    linear : ndarray of shape (n_features,)
        ``X'y / n``.
    energy : float
        ``y'y / n``.
    """

    def __init__(self, gram: Float64Array, linear: Float64Array, energy: float) -> None:
        self.gram = gram
        self.linear = linear
        self.curvature = np.ascontiguousarray(np.diag(gram))
        self.energy = energy
        self.members: Any = np.empty(0, dtype=np.intp)
        self.w = np.empty(0)

    def extend(self, new: IndexArray) -> tuple[Float64Array, Float64Array]:
        """Append features to the working set."""
        blocks = self.gram[np.ix_(self.members, new)], self.gram[np.ix_(new, new)]
        self.members = np.concatenate([self.members, new])
        self.w = np.concatenate([self.w, np.zeros(new.size)])
        return blocks

    def keep(self, positions: IndexArray) -> None:
        """Drop all members but those at the given positions."""
        self.members, self.w = self.members[positions], self.w[positions]

    def move(self, w: Float64Array) -> float:
        """Set the coefficients of the working set."""
        change, self.w = w - self.w, w.copy()
        moved = np.flatnonzero(change)
        block = self.gram[np.ix_(self.members[moved], self.members[moved])]
        square = float(change[moved] @ block @ change[moved])
        if square < -_NEGATIVE * float(np.abs(change[moved]) @ np.sqrt(np.diag(block))) ** 2:
            raise ValueError(f"gram must be positive semidefinite; a direction has the square {square:.3g}")
        return float(np.sqrt(np.maximum(square, 0.0)))

    def residual_products(self) -> tuple[float, float]:
        """Return the products from the statistics."""
        active = np.flatnonzero(self.w)
        w, members = self.w[active], self.members[active]
        fit = self.energy - float(self.linear[members] @ w)
        return fit, fit - float(self.gradient(members) @ w)

    def gradient(self, features: IndexArray) -> Float64Array:
        """Return the negative gradient for some features."""
        active = np.flatnonzero(self.w)
        return self.linear[features] - self.gram[np.ix_(features, self.members[active])] @ self.w[active]
