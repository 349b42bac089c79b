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
from sparsetheory.typing import Float64Array, IndexArray

__all__ = [
    "extend_basis",
    "inverse_factor",
    "leave_one_out_distances",
    "orthonormal_basis",
    "residual_norms",
]

# A column whose pivot is smaller than this, relative to its norm, depends on the others.
_DEPENDENT = 1e-13


def _norms(columns: Float64Array) -> Float64Array:
    return np.asarray(np.sqrt(np.einsum("ij,ij->j", columns, columns)))


def inverse_factor(XS: Float64Array) -> tuple[Float64Array, IndexArray]:
    """Return the inverse of the triangular factor of a maximal independent subset of columns.

    Parameters
    ----------
    XS : ndarray of shape (n_samples, k)
        Columns.

    Returns
    -------
    W : ndarray of shape (s, s)
        ``X_kept @ W`` has orthonormal columns; row i belongs to column ``kept[i]``.
    kept : ndarray of shape (s,)
        Independent columns that span all of them, in the order of their pivots.
    """
    norms = _norms(XS)
    pivoted, order = scipy.linalg.qr(XS / np.where(norms > 0, norms, 1.0), mode="r", pivoting=True)
    rank = _leading(pivoted, _DEPENDENT)
    kept = order[:rank].astype(np.intp)
    W = scipy.linalg.solve_triangular(pivoted[:rank, :rank], np.eye(rank)) if rank else np.empty((0, 0))
    return W / norms[kept, None], kept


def leave_one_out_distances(XS: ArrayLike) -> Float64Array:
    r"""Return the distance of every column to the span of the others.

    With ``X_S = Q R`` and ``W = R^{-1}``, the distance of column i is :math:`1 / \|W_{i,:}\|`. Solving with R costs
    one condition number, a Gram matrix would cost its square.

    Parameters
    ----------
    XS : array-like of shape (n_samples, k)
        Columns.

    Returns
    -------
    ndarray of shape (k,)
        Root mean squares (Euclidean lengths over ``sqrt(n_samples)``). Of dependent columns, a maximal independent
        subset is kept (pivots of at least 1e-13 of the first, after normalisation), its distances are those among
        itself, and the others, which can be removed from any combination without changing it, get infinity: a ratio
        of any distance to theirs is 0.

    Raises
    ------
    ValueError
        If `XS` is not a finite matrix, or is in half precision.

    Notes
    -----
    O(n_samples k^2). The relative error is about ``eps * cond(XS)`` with normalised columns. The identity is
    classical.

    Examples
    --------
    >>> import numpy as np
    >>> XS = np.array([[2.0, 2.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    >>> leave_one_out_distances(XS).round(6)
    array([0.447214, 0.5     ])
    >>> leave_one_out_distances(XS[:, [1, 1]]).round(6)
    array([1.118034,      inf])
    """
    refuse_half(XS)
    columns = finite_array("XS", sparse.csc_array(XS).toarray() if sparse.issparse(XS) else XS, 2).astype(np.float64)
    require_squares("XS", columns, each_column=True)
    W, kept = inverse_factor(columns)
    distances = np.full(columns.shape[1], np.inf)
    distances[kept] = 1.0 / np.sqrt(np.einsum("ij,ij->i", W, W) * columns.shape[0])
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
        Where the squared distance is a smaller share of the squared norm of the column than this, it is not taken
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


def orthonormal_basis(XT: ArrayLike, rtol: float = 1e-11) -> tuple[Float64Array, IndexArray]:
    """Return an orthonormal basis of the span of some columns.

    Parameters
    ----------
    XT : array-like of shape (n_samples, m)
        Columns of any scale.
    rtol : float
        Columns are normalised; those that come closer than this to the span of the columns before them, in the order
        of a pivoted QR factorisation, are left out.

    Returns
    -------
    Q : ndarray of shape (n_samples, rank)
        Orthonormal, in Fortran order.
    kept : ndarray of shape (rank,)
        The columns that span it, in increasing order.

    Examples
    --------
    >>> import numpy as np
    >>> Q, kept = orthonormal_basis(np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]]))
    >>> Q.shape, kept.tolist()
    ((2, 2), [0, 2])
    """
    columns = np.asarray(XT, dtype=np.float64)
    return extend_basis(np.empty((columns.shape[0], 0)), columns, rtol)


def extend_basis(Q: Float64Array, XT: Float64Array, rtol: float) -> tuple[Float64Array, IndexArray]:
    """Return an orthonormal basis of the span of a basis and some columns, and the columns that it needed.

    Parameters
    ----------
    Q : ndarray of shape (n_samples, q)
        Orthonormal columns; q may be 0.
    XT : ndarray of shape (n_samples, m)
        Columns of any scale.
    rtol : float
        As in :func:`orthonormal_basis`; distances include that to the span of Q.
    """
    norms = _norms(XT)
    unit = XT / np.where(norms > 0, norms, 1.0)
    left = unit - Q @ (Q.T @ unit)
    # Half of the columns may repeat each other: only the triangular factor is needed to choose among them.
    pivoted, order = scipy.linalg.qr(left, mode="r", pivoting=True)
    kept = np.sort(order[: _leading(pivoted, rtol)]).astype(np.intp)
    # A second factorisation with Q in front: weak columns of the first would not be orthogonal to Q.
    basis = scipy.linalg.qr(np.hstack([Q, unit[:, kept]]), mode="economic")[0]
    # The old directions as they were: a constant one has to stay exactly constant.
    basis[:, : Q.shape[1]] = Q
    return np.asfortranarray(basis), kept


def _leading(pivoted: Float64Array, rtol: float) -> int:
    """Count the pivots above a share of the norm of the columns, which is 1 (or 0 for zero columns)."""
    return int(np.count_nonzero(np.abs(np.diagonal(pivoted)) > rtol))
