"""Numbers whose squares leave the range of their type: one rule for every solver.

Every solver of the package forms sums of squares. Where they overflow, or vanish although the numbers do not, results
are wrong without a sign of it. Such data are refused by name; a change of unit mends them.
"""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse

from sparsetheory.typing import Float64Array, FloatArray, IndexArray

__all__ = ["largest_entries", "require_squares", "rounding_of"]

# Squares, sums of squares over signals and products of correlations stay in range up to this share of the root of it.
_HEADROOM = 1e-3
# Squares keep their digits above this multiple of the smallest normal number's root.
_FOOTROOM = 16.0


def largest_entries(array: Any) -> FloatArray:
    """Return the largest absolute entry of each column of a matrix, dense or sparse; a vector counts as one column.

    Parameters
    ----------
    array : ndarray or sparse matrix
        Real or complex, finite.

    Returns
    -------
    ndarray of shape (n_columns,)
        Zeros where there are no rows.
    """
    columns = array[:, None] if array.ndim == 1 else array
    if 0 in columns.shape:
        return np.zeros(columns.shape[1])
    if sparse.issparse(columns):
        return np.asarray(abs(columns).max(axis=0).toarray()).ravel()
    if columns.dtype.kind == "c":
        return np.abs(columns).max(axis=0)
    return np.maximum(columns.max(axis=0), -columns.min(axis=0))


def require_squares(
    name: str,
    array: Any,
    length: int | None = None,
    *,
    each_column: bool = False,
    dtype: DTypeLike | None = None,
    places: IndexArray | None = None,
) -> float:
    """Raise ValueError if squared norms of vectors of `length` entries would leave the range of the type.

    Parameters
    ----------
    name : str
        What the error calls the array.
    array : ndarray or sparse matrix
        Finite; of one or two dimensions.
    length : int, optional
        Entries of a vector; rows of the array by default.
    each_column : bool
        Whether every column that is not zero must have a square that does not vanish, instead of the array as a whole.
    dtype : dtype, optional
        Precision in which squares are formed; that of the array by default.
    places : ndarray of int, optional
        Numbers by which an error names the columns, where the array holds some columns of another.

    Returns
    -------
    float
        The largest norm there can be.

    Raises
    ------
    ValueError
        Naming the array, its largest or smallest size, and what to do.

    Examples
    --------
    >>> require_squares("y", np.array([3.0, -4.0]))
    5.656854249492381
    >>> require_squares("y", np.array([1e200]))
    Traceback (most recent call last):
    ...
    ValueError: y must not hold numbers of which squares leave the range of float64: ...
    """
    info = np.finfo(array.dtype if dtype is None else dtype)
    vector = array.shape[0] if length is None else length
    sizes = largest_entries(array).astype(np.float64)
    largest = float(sizes.max(initial=0.0))
    most = _HEADROOM * float(info.max) ** 0.5
    if largest * vector**0.5 > most:
        raise ValueError(
            f"{name} must not hold numbers of which squares leave the range of {info.dtype}: at most "
            f"{most / vector**0.5:.3g} in size; got {largest:.3g}, divide {name} by a constant"
        )
    least = _FOOTROOM * float(info.tiny) ** 0.5
    small = np.flatnonzero((sizes > 0) & (sizes < least)) if each_column else np.flatnonzero([0 < largest < least])
    if small.size:
        place = small[0] if places is None else places[small[0]]
        where = f"column {place} of {name}" if each_column else name
        found = sizes[small[0]] if each_column else largest
        raise ValueError(
            f"{name} must not be so small that squares vanish in {info.dtype}: entries of {where} are at most "
            f"{found:.3g}, at least {least:.3g} is needed; multiply by a constant"
        )
    return largest * vector**0.5


def rounding_of(values: Any, dtype: DTypeLike) -> Float64Array:
    """Return how far numbers move at most when they are rounded to a type, subnormal numbers included.

    Parameters
    ----------
    values : ndarray
        Real or complex.
    dtype : dtype
        Real or complex.

    Returns
    -------
    ndarray of the shape of `values`

    Examples
    --------
    >>> rounding_of(np.array([1.0, 1e-45]), np.float32)
    array([1.19209290e-07, 1.40129846e-45])
    """
    info = np.finfo(dtype)
    return np.maximum(float(info.eps) * np.abs(values), float(info.smallest_subnormal))
