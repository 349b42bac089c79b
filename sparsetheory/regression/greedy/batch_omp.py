"""Orthogonal matching pursuit of many targets on one Gram matrix."""

from itertools import pairwise

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import ArrayLike

from sparsetheory.arrays import finite_array
from sparsetheory.constraints import COUNT, JOBS, NONNEGATIVE
from sparsetheory.numba_kernels.greedy.matching_pursuit import batch_omp
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.gram_statistics import require_gram
from sparsetheory.typing import Float64Array, FloatArray, Int64Array

__all__ = ["omp_gram", "pursue_targets"]


# Fewer targets than this are not worth a thread of their own.
_CHUNK = 256
# Correlations below this many roundings of what is explained already are rounding.
_ROUNDINGS = 10


def omp_gram(
    gram: ArrayLike,
    correlations: ArrayLike,
    *,
    n_nonzero: int | None = None,
    tol: float | None = None,
    squares: ArrayLike | None = None,
    n_jobs: int | None = None,
) -> FloatArray:
    """Select and fit few columns for each of many targets, from inner products alone.

    Parameters
    ----------
    gram : array-like of shape (n_features, n_features)
        ``X.T @ X``.
    correlations : array-like of shape (n_targets, n_features) or (n_features,)
        ``Y.T @ X``.
    n_nonzero : int or None
        Largest number of columns per target; by default as many as there are if `tol` is given, else a tenth.
    tol : float or None
        Tolerance in the unit of `squares`: a target is done once its squared residual is at most this.
    squares : array-like of shape (n_targets,) or float, optional
        Squared norms of the targets; needed with `tol`.
    n_jobs : int or None
        Threads, in the sense of joblib.

    Returns
    -------
    ndarray
        Coefficients, in the shape of `correlations`; in single precision if both arrays are, else in double.

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite or out of range, or `tol` comes without `squares`.

    See Also
    --------
    OMP : The same from data, with intercept, row weights and sparse designs.

    Notes
    -----
    About ``n_features * k**2 / 2`` operations per target of k columns. Batch-OMP in the sense of Rubinstein, Zibulevsky
    and Elad (2008), but with inner products of orthonormal directions in place of triangular solves. Columns are
    normalised inside. A Gram matrix squares the condition number: the selection ends at a column of which less than
    the root of the machine precision is left (as a fraction of its square), where `OMP` on one target goes further.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.6, 0.0], [0.0, 0.8, 0.0], [0.0, 0.0, 2.0]])
    >>> Y = np.array([[3.0, 0.0, 2.0], [0.0, 4.0, 0.5]]).T
    >>> omp_gram(X.T @ X, Y.T @ X, n_nonzero=2).round(6)
    array([[ 3.,  0.,  1.],
           [-3.,  5.,  0.]])
    """
    gram, rows = finite_array("gram", gram), finite_array("correlations", correlations)
    n = gram.shape[0] if gram.ndim else 0
    if gram.shape != (n, n) or n == 0:
        raise ValueError(f"gram must be a square matrix; got shape {gram.shape}")
    require_gram(gram, gram.dtype)
    if rows.ndim not in (1, 2) or rows.shape[-1] != n:
        raise ValueError(f"correlations must have {n} entries per target, as gram has columns; got shape {rows.shape}")
    if n_nonzero is not None and COUNT.check("n_nonzero", n_nonzero) > n:
        raise ValueError(f"n_nonzero must be at most the number of columns of gram, {n}; got {n_nonzero!r}")
    JOBS.check("n_jobs", n_jobs)
    count = int(n_nonzero or (max(1, n // 10) if tol is None else n))
    dtype = np.result_type(gram, rows)
    energies = _energies(squares, tol, rows.shape[:-1]).astype(dtype)
    targets = np.atleast_2d(np.array(rows, dtype=dtype, order="C"))
    _pursue(gram.astype(dtype, copy=False), targets, energies, count, tol, n_jobs)
    return targets.reshape(rows.shape)


def _energies(squares: ArrayLike | None, tol: float | None, shape: tuple[int, ...]) -> FloatArray:
    """Return the squared norms of the targets; zeros where no tolerance reads them."""
    if tol is None:
        return np.zeros(max(shape, default=1))
    NONNEGATIVE.check("tol", tol)
    if squares is None:
        raise ValueError("squares, the squared norms of the targets, are needed with tol; got None")
    energies = finite_array("squares", squares)
    if np.any(energies < 0):
        raise ValueError(f"squares must not be negative; got {energies.min():.3g}")
    if energies.shape != shape:
        raise ValueError(f"squares must hold one number per target, shape {shape}; got shape {energies.shape}")
    return np.atleast_1d(energies)


def pursue_targets(
    columns: Columns,
    y: Float64Array,
    squares: Float64Array,
    n_nonzero: int,
    tol: float | None,
    n_jobs: int | None,
) -> tuple[Float64Array, Int64Array]:
    """Select and fit few columns for each of many targets, on the Gram matrix of the projected columns.

    Parameters
    ----------
    columns : Columns
        Design, seen through a projection.
    y : ndarray of shape (n_samples, n_targets)
        Targets, projected alike.
    squares : ndarray of shape (n_features,)
        Squared norms of the projected columns; columns of square zero stay out.
    n_nonzero, tol, n_jobs
        As in :func:`omp_gram`.

    Returns
    -------
    coef : ndarray of shape (n_targets, n_features)
        Coefficients.
    counts : ndarray of shape (n_targets,)
        Columns selected per target.
    """
    dead = squares == 0
    rows = np.ascontiguousarray(columns.inner(y).T)
    gram = np.empty((columns.n_features, columns.n_features))
    for block in columns.blocks():
        gram[block] = columns.inner(columns.take(np.arange(block.start, block.stop))).T
    rows[:, dead] = gram[dead] = gram[:, dead] = 0.0
    return rows, _pursue(gram, rows, np.einsum("ij,ij->j", y, y), n_nonzero, tol, n_jobs)


def _pursue(
    gram: FloatArray, rows: FloatArray, squares: FloatArray, n_nonzero: int, tol: float | None, n_jobs: int | None
) -> Int64Array:
    """Replace checked correlations by coefficients, in place; return how many columns each target uses."""
    dtype = rows.dtype.type
    diagonal = np.diagonal(gram)
    scales = (1 / np.sqrt(np.where(diagonal > 0, diagonal, np.inf))).astype(dtype)
    unit = np.ascontiguousarray(gram * scales * scales[:, None])
    rows *= scales
    epsilon = np.finfo(dtype).eps
    budget = dtype(-1.0 if tol is None else tol)
    limits = dtype(np.sqrt(epsilon)), dtype((_ROUNDINGS * epsilon) ** 2)
    n_threads = min(effective_n_jobs(n_jobs), max(rows.shape[0] // _CHUNK, 1))
    edges = np.linspace(0, rows.shape[0], n_threads + 1).astype(int)
    counts = Parallel(n_jobs=n_threads, require="sharedmem")(
        delayed(batch_omp)(unit, rows[start:stop], squares[start:stop], budget, n_nonzero, *limits)
        for start, stop in pairwise(edges)
    )
    rows *= scales
    return np.concatenate(counts)
