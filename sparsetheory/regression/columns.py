"""Column access to a design, dense, sparse or memory-mapped, seen through a projection."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array

from sparsetheory.numba_kernels.mixed_precision import row_correlations
from sparsetheory.numba_kernels.quadratic.coordinate_descent import dense_correlations
from sparsetheory.ranges import require_squares
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["NEGLIGIBLE", "Columns", "canonical", "check_columns", "refuse_half"]

# What a projection leaves of a column is rounding below this fraction of the column.
NEGLIGIBLE = 1e-11
# A mean can be taken off without rounding: what it leaves is rounding only where entries differ in their last digits.
_LAST_DIGITS = 4 * float(np.finfo(np.float64).eps)
# A response is explained if no more than this fraction of it is left.
_EXPLAINED = 1e-14
# Squared norms between these need no look at single entries to be known to be in range.
_LEAST_SQUARE, _LARGEST_SQUARE = 1e-304, 1e299
# Columns are converted and corrected in blocks of about this many entries: 4 MB in double precision.
_BLOCK_ENTRIES = 1 << 19


def check_columns(X: Any) -> Any:
    """Return a design as :class:`Columns` takes it; whether it is finite is left to whoever reads it.

    Raises
    ------
    ValueError
        If it is not a matrix of numbers, or is in half precision.
    """
    refuse_half(X)
    return canonical(check_array(X, accept_sparse="csc", dtype=[np.float64, np.float32], ensure_all_finite=False))


def canonical(X: Any) -> Any:
    """Return a design whose stored entries have distinct positions: repeated ones mean their sum.

    Dense designs and matrices in canonical format are returned as they are; others are copied.
    """
    if not sparse.issparse(X) or X.has_canonical_format:
        return X
    X = X.copy()
    X.sum_duplicates()
    return X


def refuse_half(X: Any) -> None:
    """Raise ValueError for a design in half precision: rounding at 1e-3 hides what columns have in common."""
    if getattr(X, "dtype", None) == np.float16:
        raise ValueError("X is in half precision (float16); convert it to float32 or float64")


class Columns:
    """The columns of ``(I - QQ') X``, without ever forming them all.

    An intercept, unpenalised features and anchors are all the same thing: a small subspace that is fitted by least
    squares and projected out of everything else. Single precision is storage only; all arithmetic is double.

    Parameters
    ----------
    X : ndarray or CSC matrix of shape (n_samples, n_features)
        float32 or float64, any memory order, memory maps included. Not copied.
    basis : ndarray of shape (n_samples, q), optional
        Orthonormal columns Q to project out. If the entries of the first are all the same, means are taken off first:
        that involves no rounding, so that columns with large means keep all digits in which their entries differ.
    """

    def __init__(self, X: Any, basis: Float64Array | None = None) -> None:
        self.X = X
        self.basis = None if basis is None or basis.shape[1] == 0 else basis
        self._constant = _constant_of(self.basis)
        self.n_samples, self.n_features = X.shape
        self.is_sparse = sparse.issparse(X)
        self._squares: Float64Array | None = None

    def with_basis(self, basis: Float64Array | None) -> "Columns":
        """Return the same columns seen through another projection; norms already computed are shared."""
        other = Columns(self.X, basis)
        other._squares = self._squares
        return other

    def blocks(self) -> Iterator[slice]:
        """Cut the columns into ranges that fit the cache once converted."""
        width = max(1, _BLOCK_ENTRIES // self.n_samples)
        for start in range(0, self.n_features, width):
            yield slice(start, min(start + width, self.n_features))

    def project(self, target: Float64Array) -> Float64Array:
        """Return ``(I - QQ') target``, orthogonal to Q to working precision."""
        if self.basis is None:
            return target
        if self._constant is not None and self.basis.shape[1] > 1:
            target = target - self._constant @ (self._constant.T @ target)
        once = target - self.basis @ (self.basis.T @ target)
        return once - self.basis @ (self.basis.T @ once)

    def inner(self, vectors: Float64Array) -> Float64Array:
        """Return ``X' vectors`` for the raw columns, shape (n_features,) or (n_features, q): one pass over X."""
        if self.is_sparse or self.X.dtype == np.float64:
            return np.asarray(self.X.T @ vectors)
        out = np.empty((self.n_features, *vectors.shape[1:]))
        if vectors.ndim == 1 and self.X.flags.f_contiguous:
            dense_correlations(self.X, np.arange(self.n_features), vectors, out)
        elif vectors.ndim == 1 and self.X.flags.c_contiguous:
            row_correlations(self.X, vectors, out)
        else:
            for block in self.blocks():
                out[block] = self.X[:, block].astype(np.float64).T @ vectors
        return out

    def correlate(self, residual: Float64Array) -> Float64Array:
        """Return the inner products of all projected columns with one or more vectors: one pass over X."""
        return self.inner(self.project(residual))

    def take(self, indices: IndexArray) -> Float64Array:
        """Return some projected columns as a dense Fortran-ordered array."""
        return np.asfortranarray(self.project(self.raw(indices)))

    def raw(self, indices: IndexArray) -> Float64Array:
        """Return some columns as they are, dense, in double precision."""
        chosen = self.X[:, indices]
        dense = chosen.toarray() if self.is_sparse else np.asarray(chosen)
        return np.asfortranarray(dense, dtype=np.float64)

    def apply(self, indices: IndexArray, values: Float64Array) -> Float64Array:
        """Return ``(I - QQ') X[:, indices] @ values``."""
        return self.project(np.asarray(self.X[:, indices] @ values, dtype=np.float64))

    def raw_squares(self) -> Float64Array:
        """Return the squared Euclidean norms of the raw columns (computed once)."""
        if self._squares is None:
            self._squares = self._compute_squares()
        return self._squares

    def _compute_squares(self) -> Float64Array:
        with np.errstate(over="ignore", under="ignore"):
            if self.is_sparse:
                squares = sparse.csc_array(
                    (self.X.data.astype(np.float64) ** 2, self.X.indices, self.X.indptr), self.X.shape
                )
                return np.asarray(squares.sum(axis=0), dtype=np.float64).ravel()
            out = np.empty(self.n_features)
            for block in self.blocks():
                columns = np.asarray(self.X[:, block], dtype=np.float64)
                out[block] = np.einsum("ij,ij->j", columns, columns)
            return out

    def require_squares(self) -> None:
        """Raise ValueError, naming X, if squared norms of columns that are not zero leave the range of doubles."""
        squares, n = self.raw_squares(), max(self.n_samples, 1)
        # Norms that are well inside the range need no look at single entries.
        suspicious = np.flatnonzero(~((squares > n * _LEAST_SQUARE) & (squares < _LARGEST_SQUARE)))
        if suspicious.size:
            require_squares("X", self.X[:, suspicious], each_column=True, dtype=np.float64, places=suspicious)

    def squares(self, *, recompute_below: float = 1e-7) -> Float64Array:
        """Return the squared Euclidean norms of the projected columns.

        ``|x|^2 - |Q'x|^2`` loses all digits when a column lies almost in the span of Q: below the given fraction of
        ``|x|^2`` the residual itself is formed.

        Parameters
        ----------
        recompute_below : float
            Share of the squared norm below which the difference is not trusted. At 1e-7 the result is accurate to
            about 1e-8 relative.

        Returns
        -------
        ndarray of shape (n_features,)
        """
        total = self.raw_squares()
        if self.basis is None:
            return total
        left = np.empty_like(total)
        for block in self._product_blocks():
            coordinates = self.basis.T @ self.raw_block(block)
            left[block] = np.maximum(total[block] - np.einsum("ij,ij->j", coordinates, coordinates), 0.0)
        weak = np.flatnonzero(left < recompute_below * total)
        left[weak] = self._squares_of(weak, self.project)
        return left

    def _product_blocks(self) -> Iterator[slice]:
        """Cut the columns into ranges for products with the basis; those of sparse columns are small."""
        if not self.is_sparse or self.basis is None:
            yield from self.blocks()
            return
        width = max(1, _BLOCK_ENTRIES // self.basis.shape[1])
        for start in range(0, self.n_features, width):
            yield slice(start, min(start + width, self.n_features))

    def _squares_of(self, indices: IndexArray, project: Callable[[Float64Array], Float64Array]) -> Float64Array:
        """Return the squared norms of some columns after a projection, formed entry by entry."""
        out = np.empty(indices.size)
        width = max(1, _BLOCK_ENTRIES // self.n_samples)
        for start in range(0, indices.size, width):
            some = slice(start, start + width)
            residual = project(self.raw(indices[some]))
            out[some] = np.einsum("ij,ij->j", residual, residual)
        return out

    def live_squares(self, *, recompute_below: float = 1e-7) -> Float64Array:
        """Return :meth:`squares`, with zero for columns whose projection is rounding."""
        squares, raw = self.squares(recompute_below=recompute_below), self.raw_squares()
        live = squares > NEGLIGIBLE**2 * raw
        if self._constant is not None:
            # Of a column with a large mean, what is left is to be compared with the column less its mean.
            doubtful = np.flatnonzero(~live & (squares > _LAST_DIGITS**2 * raw))
            live[doubtful] = squares[doubtful] > NEGLIGIBLE**2 * self._squares_of(doubtful, self._centre)
        return np.where(live, squares, 0.0)

    def without_rounding(self, target: Float64Array) -> Float64Array:
        """Return :meth:`project`, with zeros for a response of which rounding alone is left."""
        projected = self.project(target)
        size, left = np.linalg.norm(target, axis=0), np.linalg.norm(projected, axis=0)
        explained = left <= _EXPLAINED * size
        if self._constant is not None and np.any(explained):
            centred = np.linalg.norm(self._centre(target), axis=0)
            explained = (left <= _LAST_DIGITS * size) | (left <= _EXPLAINED * centred)
        return np.where(explained, 0.0, projected)

    def _centre(self, target: Float64Array) -> Float64Array:
        if self._constant is None:
            return target
        once = target - self._constant @ (self._constant.T @ target)
        return np.asarray(once - self._constant @ (self._constant.T @ once))

    def usable(self) -> BoolArray:
        """Return which projected columns are more than rounding.

        Raises
        ------
        ValueError
            If the square of an entry is not finite.
        """
        if not np.all(np.isfinite(self.raw_squares())):
            raise ValueError("X must be finite, and so must the squares of its entries; it contains NaN or infinity")
        self.require_squares()
        return np.asarray(self.live_squares() > 0)

    def raw_block(self, block: slice) -> Any:
        """Return a range of raw columns in double precision, sparse where X is."""
        whole = block.start == 0 and block.stop == self.n_features
        columns = self.X if whole else self.X[:, block]
        return columns if self.is_sparse else np.asarray(columns, dtype=np.float64)


def _constant_of(basis: Float64Array | None) -> Float64Array | None:
    """Return the first direction of a basis, as a column, if it is the constant."""
    if basis is None or np.any(basis[:, 0] != basis[0, 0]):
        return None
    return basis[:, :1]
