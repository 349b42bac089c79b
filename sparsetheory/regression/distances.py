"""Distances of columns to the spans of other columns, never through a Gram matrix."""

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike
from scipy import sparse

from sparsetheory.arrays import finite_array
from sparsetheory.constraints import NONNEGATIVE
from sparsetheory.ranges import require_squares
from sparsetheory.regression.columns import Columns, check_columns, refuse_half
from sparsetheory.regression.orthonormal import column_norms, leading_rank
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["inverse_factor", "leave_one_out_distances", "residual_norms"]

# A column whose pivot is smaller than this, relative to its norm, depends on the others.
_DEPENDENT = 1e-13


def inverse_factor(columns: Float64Array) -> tuple[Float64Array, IndexArray]:
    """Return the inverse of the triangular factor of a maximal independent subset of columns.

    Parameters
    ----------
    columns : ndarray of shape (n_samples, n_columns)
        Columns.

    Returns
    -------
    W : ndarray of shape (rank, rank)
        ``X_kept @ W`` has orthonormal columns; row i belongs to column ``kept[i]``.
    kept : ndarray of shape (rank,)
        Independent columns that span all of them, in the order of their pivots.
    """
    norms = column_norms(columns)
    pivoted, order = scipy.linalg.qr(columns / np.where(norms > 0, norms, 1.0), mode="r", pivoting=True)
    rank = leading_rank(pivoted, _DEPENDENT)
    kept = order[:rank].astype(np.intp)
    W = scipy.linalg.solve_triangular(pivoted[:rank, :rank], np.eye(rank)) if rank else np.empty((0, 0))
    return W / norms[kept, None], kept


def leave_one_out_distances(columns: ArrayLike) -> Float64Array:
    r"""Return the distance of every column to the span of the others.

    With ``X_S = Q R`` and ``W = R^{-1}``, the distance of column i is :math:`1 / \|W_{i,:}\|`. Solving with R costs
    one condition number, a Gram matrix would cost its square.

    Parameters
    ----------
    columns : array-like of shape (n_samples, n_columns)
        Columns.

    Returns
    -------
    ndarray of shape (n_columns,)
        Root mean squares (Euclidean lengths over ``sqrt(n_samples)``). Of dependent columns, a maximal independent
        subset is kept (pivots of at least 1e-13 of the first, after normalisation), its distances are those among
        itself, and the others, which can be removed from any combination without changing it, get infinity: a ratio
        of any distance to theirs is 0.

    Raises
    ------
    ValueError
        If `columns` is not a finite matrix, or is in half precision.

    Notes
    -----
    O(n_samples * n_columns^2). The relative error is about ``eps * cond(columns)`` with normalised columns. The
    identity is classical.

    Examples
    --------
    >>> import numpy as np
    >>> columns = np.array([[2.0, 2.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    >>> leave_one_out_distances(columns).round(6)
    array([0.447214, 0.5     ])
    >>> leave_one_out_distances(columns[:, [1, 1]]).round(6)
    array([1.118034,      inf])
    """
    refuse_half(columns)
    dense = sparse.csc_array(columns).toarray() if sparse.issparse(columns) else columns
    checked = finite_array("columns", dense, 2).astype(np.float64)
    require_squares("columns", checked, each_column=True)
    W, kept = inverse_factor(checked)
    distances = np.full(checked.shape[1], np.inf)
    distances[kept] = 1.0 / np.sqrt(np.einsum("ij,ij->i", W, W) * checked.shape[0])
    return distances


def residual_norms(X: Any, Q: ArrayLike, *, recompute_below: float = 1e-7) -> Float64Array:
    """Return the distance of every column of X to the span of an orthonormal basis.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Design in single or double precision.
    Q : array-like of shape (n_samples, q)
        Orthonormal columns; q may be 0.
    recompute_below : float
        Where the squared distance is a smaller fraction of the squared norm of the column than this, it is not taken
        from ``|x|^2 - |Q'x|^2`` but from the residual itself.

    Returns
    -------
    ndarray of shape (n_features,)
        Root mean squares: Euclidean lengths over ``sqrt(n_samples)``. Accurate to about 1e-8 relative, or to 1e-15 of
        the norm of the column.

    Raises
    ------
    ValueError
        If X is not finite, or Q does not fit it.

    Notes
    -----
    One product of size ``q x n_samples x n_features``, in blocks of columns, and two more for the recomputed ones.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 3.0], [1.0, 4.0], [1.0, 5.0], [1.0, 0.0]])
    >>> residual_norms(X, np.full((4, 1), 0.5)).round(6)
    array([0.      , 1.870829])
    """
    X, basis = check_columns(X), finite_array("Q", Q, 2).astype(np.float64)
    NONNEGATIVE.check("recompute_below", recompute_below)
    if basis.shape[0] != X.shape[0]:
        raise ValueError(f"Q must be a matrix with one row per row of X, {X.shape[0]}; got shape {basis.shape}")
    columns = Columns(X, basis)
    squares = columns.squares(recompute_below=recompute_below)
    if not np.all(np.isfinite(squares)):
        raise ValueError("X must be finite, and so must the squares of its entries; it contains NaN or infinity")
    return np.asarray(np.sqrt(squares / columns.n_samples))
