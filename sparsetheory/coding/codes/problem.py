"""Signals, atoms and codes as the coders want them, and rows in chunks."""

import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import real_array, require_finite_entries
from sparsetheory.constraints import NONNEGATIVE
from sparsetheory.ranges import require_squares
from sparsetheory.typing import FloatArray

__all__ = [
    "check_codes",
    "check_gram",
    "check_signals",
    "check_tolerance",
    "row_chunks",
]


# Correlations of one chunk of rows with all atoms stay in the second-level cache of one core.
_CHUNK_BYTES = 2**19
_FEWEST_ROWS = 64
# Single precision does not resolve smaller relative changes.
_LEAST_SINGLE_TOL = 1e-6
_LINE_BYTES = 64


def check_signals(X: ArrayLike, D: ArrayLike, *, name: str = "X") -> tuple[FloatArray, FloatArray]:
    """Return signals, and the matrix whose columns are the atoms, as finite C-ordered arrays of one real type.

    This is the one place where a dictionary is transposed. Users pass `D` with one atom per row, as scikit-learn's
    ``components_`` holds them; solvers work on ``A = D.T``, the matrix of the least-squares problems ``x = A c``.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals, one per row; there may be none.
    D : array-like of shape (n_atoms, n_features)
        Atoms, one per row.
    name : str
        What errors call the signals.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        float32 if both arrays are, else float64; the given array where it fits already.
    A : ndarray of shape (n_features, n_atoms)
        ``D.T`` in the same type. It is a view of `D` where that is the transpose of a C-ordered array, else a copy.

    Raises
    ------
    TypeError
        If entries are neither integers nor floats of 32 or 64 bits, or an array is sparse.
    ValueError
        If an array is not two-dimensional, lengths differ, there is no atom, an entry is not finite, a row of `D`
        is zero, or squares of norms or of inner products are not in the range of the type.

    Examples
    --------
    >>> import numpy as np
    >>> X, A = check_signals([[3, 4]], np.ones((5, 2), dtype=np.float32))
    >>> X.dtype.name, A.dtype.name, A.shape
    ('float64', 'float64', (2, 5))
    """
    X, D = _matrix(name, X), _matrix("D", D)
    if D.size == 0:
        raise ValueError(f"D must have at least one row and one column; got shape {D.shape}")
    if X.shape[1] != D.shape[1]:
        hint = "; its atoms seem to be columns, pass D.T" if X.shape[1] == D.shape[0] else ""
        raise ValueError(
            f"{name} and D must have as many columns as a signal has entries, one signal and one atom per row; got "
            f"shapes {X.shape} and {D.shape}{hint}"
        )
    dtype = np.dtype(np.float32 if X.dtype == D.dtype == np.float32 else np.float64)
    X, A = _prepared(name, X, dtype), _prepared("D", D.T, dtype)
    _require_ranges(name, X, A)
    return X, A


def _require_ranges(name: str, X: FloatArray, A: FloatArray) -> None:
    """Raise ValueError where an atom is zero, or squares of signals, atoms or their products leave the range."""
    empty = np.flatnonzero(~A.any(axis=0))
    if empty.size:
        raise ValueError(f"D must have no row of zeros, an atom that is zero; row {empty[0]} is one")
    longest = [require_squares(name, X, A.shape[0]), require_squares("D.T", A, A.shape[0], each_column=True)]
    most = float(np.finfo(A.dtype).max) ** 0.5
    if longest[0] * longest[1] > most:
        raise ValueError(
            f"{name} and D must have inner products whose squares are in the range of {A.dtype}, below {most:.3g}; "
            f"they may reach {longest[0] * longest[1]:.3g}, divide {name} by a constant"
        )


def check_codes(codes: ArrayLike, X: FloatArray, A: FloatArray, name: str = "C") -> FloatArray:
    """Return codes as a finite C-ordered array of the type of checked signals and atoms.

    Parameters
    ----------
    codes : array-like of shape (n_samples, n_atoms)
        One code per signal.
    X, A : ndarray
        Signals and matrix, checked.
    name : str
        What errors call the codes.

    Returns
    -------
    ndarray of shape (n_samples, n_atoms)
        `codes` itself where it fits already.

    Raises
    ------
    TypeError, ValueError
        As in :func:`check_signals`.
    """
    C = _matrix(name, codes)
    shape = (X.shape[0], A.shape[1])
    if C.shape != shape:
        raise ValueError(f"{name} must have one row per signal and one column per atom, shape {shape}; got {C.shape}")
    return _prepared(name, C, X.dtype)


def check_gram(gram: ArrayLike | None, A: FloatArray) -> FloatArray:
    """Return the Gram matrix ``A.T @ A`` of checked atoms, or the one given once its shape, type and diagonal fit.

    Raises
    ------
    TypeError, ValueError
        As in :func:`check_signals`, or if the diagonal, or the product with one vector, differs from what the atoms
        give by more than rounding.

    Notes
    -----
    O(n_atoms (n_atoms + n_features)) operations for a given matrix.
    """
    n = A.shape[1]
    if gram is None:
        return np.matmul(A.T, A, out=_aligned((n, n), A.dtype))
    G = _matrix("gram", gram)
    if G.shape != (n, n):
        raise ValueError(f"gram must be D @ D.T, of shape {(n, n)}; got shape {G.shape}")
    G = _prepared("gram", G, A.dtype)
    # Twice the worst case of sums of that many products, each side rounded on its own.
    slack = 4 * float(np.finfo(A.dtype).eps)
    if not np.allclose(np.diagonal(G), np.einsum("ij,ij->j", A, A), rtol=slack * A.shape[0], atol=0.0):
        raise ValueError("gram must be D @ D.T; its diagonal is not the squared norms of the rows of D")
    # All unit atoms have the same diagonal: the product with one vector tells the Gram matrix of others.
    probe = np.cos(np.arange(n, dtype=A.dtype))
    size = np.abs(A)
    if (np.abs(G @ probe - A.T @ (A @ probe)) > slack * sum(A.shape) * (size.T @ size.sum(axis=1))).any():
        raise ValueError("gram must be D @ D.T; it belongs to other atoms than those of D")
    return G


def check_tolerance(tol: float, dtype: np.dtype) -> float:
    """Return a tolerance that the precision can resolve.

    Raises
    ------
    ValueError
        If `tol` is not a finite number of at least 0.

    Warns
    -----
    RuntimeWarning
        If it is raised to 1e-6, below which single precision does not go.
    """
    tol = NONNEGATIVE.check("tol", tol)
    if dtype == np.float32 and 0 < tol < _LEAST_SINGLE_TOL:
        warnings.warn(
            f"tol={tol:g} is below what single precision resolves; {_LEAST_SINGLE_TOL:g} is used",
            RuntimeWarning,
            stacklevel=3,
        )
        return _LEAST_SINGLE_TOL
    return tol


def row_chunks(n_samples: int, row_size: int) -> Iterator[slice]:
    """Yield slices that cover all rows; the rows of one slice hold about half a megabyte, or are 64.

    The cuts depend on nothing but the two numbers, so neither do results that are computed slice by slice.

    Parameters
    ----------
    n_samples : int
        Rows.
    row_size : int
        Bytes that one row stands for.

    Yields
    ------
    slice

    Examples
    --------
    >>> list(row_chunks(100, 8000))
    [slice(0, 65, None), slice(65, 100, None)]
    """
    rows = max(_CHUNK_BYTES // row_size, _FEWEST_ROWS)
    for start in range(0, n_samples, rows):
        yield slice(start, min(start + rows, n_samples))


def _aligned(shape: tuple[int, int], dtype: np.dtype) -> FloatArray:
    """Return an array that starts at a cache line: loops over its rows are up to a tenth faster."""
    raw = np.empty(shape[0] * shape[1] * dtype.itemsize + _LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % _LINE_BYTES
    return raw[start : raw.size - _LINE_BYTES + start].view(dtype).reshape(shape)


def _matrix(name: str, given: ArrayLike) -> FloatArray:
    array = real_array(name, given)
    if array.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional; got shape {array.shape}")
    return array


def _prepared(name: str, array: FloatArray, dtype: np.dtype) -> FloatArray:
    ready = np.ascontiguousarray(array, dtype=dtype)
    require_finite_entries(name, ready)
    return ready
