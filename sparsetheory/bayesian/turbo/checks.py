"""Data of Turbo-VBI, checked, and turned into a problem."""

import warnings
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.validation import validate_data

from sparsetheory.bayesian.data_units import require_coefficients
from sparsetheory.bayesian.turbo.problem import TurboProblem
from sparsetheory.ranges import require_squares
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["check_arrays", "make_problem", "read_arrays", "read_rows", "require_units"]


def check_arrays(F: Any, y: Any) -> tuple[AnyArray, AnyArray]:
    """Return data as arrays of one floating-point type, checked as scikit-learn checks real ones.

    Raises
    ------
    ValueError
        If they are no numbers, shapes do not fit, or values are not finite.
    TypeError
        If a matrix is sparse.
    """
    arrays = []
    for name, value in (("F", F), ("y", y)):
        if sparse.issparse(value):
            raise TypeError(f"{name} must be dense: sparse data were passed, make them dense with .toarray()")
        array = np.asarray(value)
        if array.dtype.kind == "O":
            try:
                array = array.astype(np.float64)
            except (TypeError, ValueError):
                raise ValueError(f"{name} must be an array of numbers; got {array.dtype}") from None
        if array.dtype.kind not in "biufc":
            raise ValueError(f"{name} must be an array of numbers; got {array.dtype}")
        arrays.append(array)
    F, y = arrays
    single = np.float32 if F.dtype in (np.float32, np.complex64) else np.float64
    real = np.result_type(single, np.float32 if y.dtype.kind in "biu" else y.real.dtype)
    dtype = np.result_type(real, np.complex64) if "c" in F.dtype.kind + y.dtype.kind else real
    if F.ndim != 2 or 0 in F.shape:
        raise ValueError(f"F must be a matrix with at least one row and one column; got shape {F.shape}")
    if y.ndim not in (1, 2) or y.shape[0] != F.shape[0] or y.size == 0:
        raise ValueError(f"y must have one entry or row per row of F, {F.shape[0]}; got shape {y.shape}")
    for name, value in (("F", F), ("y", y)):
        if not np.all(np.isfinite(value)):
            raise ValueError(f"{name} contains NaN or infinity")
    return F.astype(dtype), y.astype(dtype)


def read_arrays(estimator: Any, F: Any, y: Any, **settings: Any) -> tuple[AnyArray, AnyArray]:
    """Return data as `fit` takes them, and let the estimator remember their features.

    Parameters
    ----------
    estimator : BaseEstimator
    F : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
    **settings
        Of scikit-learn's checks, for real data.

    Raises
    ------
    ValueError
        As :func:`check_arrays`.
    TypeError
        If F is sparse.
    """
    if sparse.issparse(F):
        raise TypeError("F must be dense: sparse data were passed, make them dense with .toarray()")
    if np.iscomplexobj(np.asarray(F)) or np.iscomplexobj(np.asarray(y)):
        validate_data(estimator, F, y, skip_check_array=True)
        return check_arrays(F, y)
    kinds = [np.float64, np.float32]
    F, y = validate_data(estimator, F, y, dtype=kinds, y_numeric=True, ensure_all_finite=False, **settings)
    for name, value in (("F", F), ("y", y)):
        if not np.all(np.isfinite(value)):
            raise ValueError(f"{name} contains NaN or infinity")
    return F, y


def read_rows(estimator: Any, F: Any) -> AnyArray:
    """Return new rows as `predict` takes them.

    Parameters
    ----------
    estimator : BaseEstimator
        Fitted.
    F : array-like of shape (n_samples, n_features)

    Raises
    ------
    ValueError
        As :func:`check_arrays`, or if the number of features is not that of the fit.
    TypeError
        If F is sparse.
    """
    if sparse.issparse(F):
        raise TypeError("F must be dense: sparse data were passed, make them dense with .toarray()")
    if np.iscomplexobj(np.asarray(F)):
        validate_data(estimator, F, skip_check_array=True, reset=False)
        F = np.asarray(F)
        return check_arrays(F, np.zeros(F.shape[:1], F.dtype))[0]
    F = validate_data(estimator, F, dtype=[np.float64, np.float32], reset=False, ensure_all_finite=False)
    if not np.all(np.isfinite(F)):
        raise ValueError("F contains NaN or infinity")
    return np.asarray(F)


def make_problem(F: AnyArray, y: AnyArray, weights: Float64Array | None) -> TurboProblem:
    """Weight the rows, set columns of zeros aside, and keep the rest in double precision.

    Warns
    -----
    RuntimeWarning
        If a column is zero: its coefficient keeps its prior.
    """
    dtype = np.complex128 if np.iscomplexobj(F) else np.float64
    F, Y = F.astype(dtype), y.astype(dtype).reshape(y.shape[0], -1)
    if weights is not None:
        if not weights.any():
            raise ValueError("sample_weight must not be zero for all rows")
        F, Y = (np.sqrt(weights)[:, None] * block for block in (F, Y))
    live = np.flatnonzero(F.any(axis=0))
    if live.size == 0:
        raise ValueError("F must have a column that is not zero")
    require_units(F[:, live], Y)
    if live.size < F.shape[1]:
        warnings.warn(
            f"{F.shape[1] - live.size} columns of F are zero: their coefficients keep their prior",
            RuntimeWarning,
            stacklevel=3,
        )
    n_rows = float(Y.shape[0] if weights is None else weights.sum())
    return TurboProblem(np.asfortranarray(F[:, live]), np.asfortranarray(Y), n_rows, live, F.shape[1])


def require_units(F: AnyArray, Y: AnyArray) -> None:
    """Raise ValueError where squares of data, of columns or of coefficients would leave the range."""
    require_squares("F", F)
    require_squares("y", Y.reshape(-1))
    data, largest = float(np.sqrt(np.mean(np.abs(Y) ** 2))), float(np.linalg.norm(F, axis=0).max())
    if data > 0:
        size = np.log10(data) - np.log10(largest)
        require_coefficients("F", np.log10(data), size, size)
