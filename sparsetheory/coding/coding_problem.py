"""Signals, atoms and codes as the coders want them, and rows in chunks."""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import ThreadpoolController

from sparsetheory.arguments import check_number

__all__ = ["check_codes", "check_gram", "check_signals", "check_tolerance", "one_blas_thread", "row_chunks"]

_Floats = NDArray[np.floating]

# Correlations of one chunk of rows with all atoms stay in the second-level cache of one core.
_CHUNK_BYTES = 2**19
_FEWEST_ROWS = 64
# Single precision does not resolve smaller relative changes.
_LEAST_SINGLE_TOL = 1e-6
_LINE_BYTES = 64


def check_signals(X: ArrayLike, D: ArrayLike, *, allow_zero_atoms: bool = False) -> tuple[_Floats, _Floats]:
    """Return signals and atoms as finite C-ordered arrays of one real type.

    Parameters
    ----------
    X : array-like of shape (n_samples, m)
        Signals, one per row; there may be none.
    D : array-like of shape (m, n_atoms)
        Atoms, one per column.
    allow_zero_atoms : bool
        Accept columns of zeros.

    Returns
    -------
    X, D : ndarray
        float32 if both are, else float64. What fits already is returned as it is, without a copy.

    Raises
    ------
    TypeError
        If entries are neither integers nor floats of 32 or 64 bits.
    ValueError
        If an array is not two-dimensional, lengths differ, there is no atom, an entry is not finite or a column of `D`
        is zero.

    Examples
    --------
    >>> import numpy as np
    >>> X, D = check_signals([[3, 4]], np.eye(2, dtype=np.float32))
    >>> X.dtype.name, D.dtype.name
    ('float64', 'float64')
    """
    X, D = _matrix("X", X), _matrix("D", D)
    if D.size == 0:
        raise ValueError(f"D must have at least one row and one column; got shape {D.shape}")
    if X.shape[1] != D.shape[0]:
        raise ValueError(
            f"X must have as many columns as D has rows (the length of a signal); got shapes {X.shape} and {D.shape}"
        )
    dtype = _common_type(X, D)
    X, D = _prepared("X", X, dtype), _prepared("D", D, dtype)
    if not allow_zero_atoms and not (largest := np.abs(D).max(axis=0)).all():
        raise ValueError(f"D must have no column of zeros; column {int(np.argmin(largest))} is one")
    return X, D


def check_codes(codes: ArrayLike, X: _Floats, D: _Floats, name: str = "C") -> _Floats:
    """Return codes as a finite C-ordered array of the type of checked signals and atoms.

    Parameters
    ----------
    codes : array-like of shape (n_samples, n_atoms)
        One code per signal.
    X : ndarray of shape (n_samples, m)
        Signals, checked.
    D : ndarray of shape (m, n_atoms)
        Atoms, checked.
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
    shape = (X.shape[0], D.shape[1])
    if C.shape != shape:
        raise ValueError(f"{name} must have one row per signal and one column per atom, shape {shape}; got {C.shape}")
    return _prepared(name, C, X.dtype)


def check_gram(gram: ArrayLike | None, D: _Floats) -> _Floats:
    """Return the Gram matrix ``D.T @ D`` of checked atoms, or the one given once its shape, type and diagonal fit.

    Raises
    ------
    TypeError, ValueError
        As in :func:`check_signals`, if the diagonal differs from the squared norms by more than rounding, or if inner
        products of atoms overflow.
    """
    if gram is None:
        G = np.matmul(D.T, D, out=_aligned((D.shape[1], D.shape[1]), D.dtype))
        if not np.isfinite([G.min(), G.max()]).all():
            raise ValueError(f"D must have inner products within the range of {D.dtype}")
        return G
    G = _matrix("gram", gram)
    n = D.shape[1]
    if G.shape != (n, n):
        raise ValueError(f"gram must be D.T @ D, of shape {(n, n)}; got shape {G.shape}")
    G = _prepared("gram", G, D.dtype)
    squares = np.einsum("ij,ij->j", D, D)
    # Twice the worst case of a sum of m products, each side rounded on its own.
    slack = 4 * D.shape[0] * np.finfo(D.dtype).eps
    if not np.allclose(np.diagonal(G), squares, rtol=slack, atol=0.0):
        raise ValueError("gram must be D.T @ D; its diagonal is not the squared norms of the columns of D")
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
    tol = check_number("tol", tol)
    if dtype == np.float32 and 0 < tol < _LEAST_SINGLE_TOL:
        warnings.warn(
            f"tol={tol:g} is below what single precision resolves; {_LEAST_SINGLE_TOL:g} is used",
            RuntimeWarning,
            stacklevel=3,
        )
        return _LEAST_SINGLE_TOL
    return tol


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """Products of a chunk are too small to share, and on a busy machine threads that wait for each other are slow."""
    return _controller().limit(limits=1, user_api="blas")


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


def _aligned(shape: tuple[int, int], dtype: np.dtype) -> _Floats:
    """Return an array that starts at a cache line: loops over its rows are up to a tenth faster."""
    raw = np.empty(shape[0] * shape[1] * dtype.itemsize + _LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % _LINE_BYTES
    return raw[start : raw.size - _LINE_BYTES + start].view(dtype).reshape(shape)


def _matrix(name: str, given: ArrayLike) -> NDArray[np.generic]:
    array = np.asarray(given)
    if array.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional; got shape {array.shape}")
    if array.dtype.kind not in "iu" and array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must hold integers or floats of 32 or 64 bits; got dtype {array.dtype}")
    return array


def _common_type(*arrays: NDArray[np.generic]) -> np.dtype:
    return np.dtype(np.float32 if all(array.dtype == np.float32 for array in arrays) else np.float64)


def _prepared(name: str, array: NDArray[np.generic], dtype: np.dtype) -> _Floats:
    ready = np.ascontiguousarray(array, dtype=dtype)
    # Minimum and maximum pass NaN on, and unlike isfinite they need no array of their own.
    if ready.size and not np.isfinite([ready.min(), ready.max()]).all():
        raise ValueError(f"{name} must be finite; it holds NaN or infinity")
    return ready
