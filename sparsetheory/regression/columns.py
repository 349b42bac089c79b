"""Column access to a design, dense, sparse or memory-mapped, seen through a projection."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_array

from sparsetheory.numba_kernels.coordinate_descent import dense_correlations
from sparsetheory.numba_kernels.mixed_precision import row_correlations

__all__ = ["NEGLIGIBLE", "Columns", "check_columns", "refuse_half"]

# A length below this share of the raw column is rounding.
NEGLIGIBLE = 1e-11
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
    return check_array(X, accept_sparse="csc", dtype=[np.float64, np.float32], ensure_all_finite=False)


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
        Orthonormal columns Q to project out.
    """

    def __init__(self, X: Any, basis: NDArray[np.float64] | None = None) -> None:
        self.X = X
        self.basis = None if basis is None or basis.shape[1] == 0 else basis
        self.n_samples, self.n_features = X.shape
        self.is_sparse = sparse.issparse(X)
        self._squares: NDArray[np.float64] | None = None

    def with_basis(self, basis: NDArray[np.float64] | None) -> "Columns":
        """Return the same columns seen through another projection; norms already computed are shared."""
        other = Columns(self.X, basis)
        other._squares = self._squares
        return other

    def blocks(self) -> Iterator[slice]:
        """Cut the columns into ranges that fit the cache once converted."""
        width = max(1, _BLOCK_ENTRIES // self.n_samples)
        for start in range(0, self.n_features, width):
            yield slice(start, min(start + width, self.n_features))

    def project(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``(I - QQ') target``, orthogonal to Q to working precision."""
        if self.basis is None:
            return target
        once = target - self.basis @ (self.basis.T @ target)
        return once - self.basis @ (self.basis.T @ once)

    def inner(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
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

    def correlate(self, residual: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the inner products of all projected columns with one or more vectors: one pass over X."""
        return self.inner(self.project(residual))

    def take(self, indices: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return some projected columns as a dense Fortran-ordered array."""
        return np.asfortranarray(self.project(self.raw(indices)))

    def raw(self, indices: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return some columns as they are, dense, in double precision."""
        chosen = self.X[:, indices]
        dense = chosen.toarray() if self.is_sparse else np.asarray(chosen)
        return np.asfortranarray(dense, dtype=np.float64)

    def apply(self, indices: NDArray[np.intp], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``(I - QQ') X[:, indices] @ values``."""
        return self.project(np.asarray(self.X[:, indices] @ values, dtype=np.float64))

    def raw_squares(self) -> NDArray[np.float64]:
        """Return the squared Euclidean norms of the raw columns (computed once)."""
        if self._squares is None:
            self._squares = self._compute_squares()
        return self._squares

    def _compute_squares(self) -> NDArray[np.float64]:
        if self.is_sparse:
            squares = self.X.copy()
            squares.data = squares.data.astype(np.float64) ** 2
            return np.asarray(squares.sum(axis=0), dtype=np.float64).ravel()
        out = np.empty(self.n_features)
        for block in self.blocks():
            columns = np.asarray(self.X[:, block], dtype=np.float64)
            out[block] = np.einsum("ij,ij->j", columns, columns)
        return out

    def squares(self, *, recompute_below: float = 1e-7) -> NDArray[np.float64]:
        """Return the squared Euclidean norms of the projected columns.

        ``|x|^2 - |Q'x|^2`` loses all digits when a column lies almost in the span of Q: below the given share of
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
        for block in self.blocks():
            columns = self.raw_block(block)
            coordinates = self.basis.T @ columns
            part = np.maximum(total[block] - np.einsum("ij,ij->j", coordinates, coordinates), 0.0)
            weak = np.flatnonzero(part < recompute_below * total[block])
            if weak.size:
                residual = self._dense(columns[:, weak]) - self.basis @ coordinates[:, weak]
                part[weak] = np.einsum("ij,ij->j", residual, residual)
            left[block] = part
        return left

    def live_squares(self, *, recompute_below: float = 1e-7) -> NDArray[np.float64]:
        """Return :meth:`squares`, with zero for columns whose projection is rounding."""
        squares = self.squares(recompute_below=recompute_below)
        return np.where(squares > NEGLIGIBLE**2 * self.raw_squares(), squares, 0.0)

    def usable(self) -> NDArray[np.bool_]:
        """Return which projected columns are more than rounding.

        Raises
        ------
        ValueError
            If the square of an entry is not finite.
        """
        if not np.all(np.isfinite(self.raw_squares())):
            raise ValueError("X must be finite, and so must the squares of its entries; it contains NaN or infinity")
        return np.asarray(self.live_squares() > 0)

    def raw_block(self, block: slice) -> Any:
        """Return a range of raw columns in double precision, sparse where X is."""
        columns = self.X[:, block]
        return columns if self.is_sparse else np.asarray(columns, dtype=np.float64)

    @staticmethod
    def _dense(columns: Any) -> NDArray[np.float64]:
        return columns.toarray() if sparse.issparse(columns) else columns
