"""Arrays of real numbers: one rule for the types and byte orders that users give, and rows of unit length."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.typing import AnyArray, Float64Array, FloatArray

__all__ = ["finite_array", "non_negative_weights", "real_array", "require_finite_entries", "unit_rows"]


def real_array(name: str, given: ArrayLike) -> FloatArray:
    """Return an array of any shape in native byte order: float32 stays, other numbers become float64.

    Parameters
    ----------
    name : str
        What errors call it.
    given : array-like
        Integers, or floats of 32 or 64 bits; returned as it is where it fits already.

    Raises
    ------
    TypeError
        If entries are of another type, or the array is sparse.
    ValueError
        If nested lists are of different lengths.

    Examples
    --------
    >>> real_array("X", [1, 2]), real_array("X", np.ones(1, ">f4")).dtype.name
    (array([1., 2.]), 'float32')
    """
    if hasattr(given, "tocsr"):
        raise TypeError(f"{name} must be a dense array; got {type(given).__name__}, of which toarray() makes one")
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise ValueError(f"{name} must be an array; {error}") from error
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "iu" and not (kind == "f" and size in (4, 8)):
        raise TypeError(f"{name} must hold integers or floats of 32 or 64 bits; got dtype {array.dtype}")
    return array.astype(np.float32 if kind == "f" and size == 4 else np.float64, copy=False)


def require_finite_entries(name: str, array: AnyArray) -> None:
    """Raise ValueError for an array that holds NaN or infinity."""
    # Minimum and maximum pass NaN on, and unlike isfinite they need no array of their own.
    if array.size and not np.isfinite([array.min(), array.max()]).all():
        raise ValueError(f"{name} must be finite; it holds NaN or infinity")


def unit_rows(rows: FloatArray) -> FloatArray:
    """Return rows over their Euclidean norms; none may be zero.

    Examples
    --------
    >>> unit_rows(np.array([[3e-200, 4e-200]]))
    array([[0.6, 0.8]])
    """
    # Division by the largest entry first, so that no square overflows or vanishes.
    scaled = rows / np.abs(rows).max(axis=1, keepdims=True)
    return scaled / np.linalg.norm(scaled, axis=1, keepdims=True)


def finite_array(name: str, value: Any, ndim: int | None = None) -> FloatArray:
    """Return an array of finite real numbers; single precision stays, all else becomes double.

    Raises
    ------
    ValueError
        If it is not one, or does not have `ndim` axes.
    """
    try:
        array = np.asarray(value)
        array = array if array.dtype == np.float32 else array.astype(np.float64, casting="same_kind")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of real numbers; got {value!r}") from error
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes; got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    return array


def non_negative_weights(sample_weight: ArrayLike, X: Any) -> Float64Array:
    """Return one non-negative weight per row of X, in double precision.

    Raises
    ------
    ValueError
        Naming `sample_weight`, if there are too few or too many, or one is negative.
    """
    # Not public in scikit-learn, whose estimators all use it: the one place of this package that does, too.
    from sklearn.utils.validation import _check_sample_weight

    try:
        return np.asarray(_check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True))
    except ValueError as error:
        raise ValueError(f"sample_weight must hold one non-negative number per row of X: {error}") from error
