"""Data of linear models with one variance per coefficient: one matrix or mode dictionaries, checked once."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_X_y, validate_data

from sparsetheory.bayesian.kronecker.checks import ModeDictionaries, as_tensor, check_dictionaries
from sparsetheory.typing import InexactArray

__all__ = ["LinearData", "are_dictionaries", "contrasts", "read_data"]

_REAL = [np.float64, np.float32]


def are_dictionaries(X: Any) -> bool:
    """Whether an argument is a sequence of matrices and not one matrix.

    Parameters
    ----------
    X : Any
        A matrix, possibly as nested lists, or a list or tuple of matrices, not necessarily valid ones.

    Returns
    -------
    bool
    """
    return isinstance(X, list | tuple) and any(np.ndim(A) >= 2 for A in X)


@dataclass(frozen=True, eq=False)
class LinearData:
    """Checked data of one model.

    Attributes
    ----------
    dictionaries : Dictionaries
        As given, of the dtype of the data; a single one stands for itself.
    Y : ndarray of shape (M,) or (M, n_snapshots)
        Measurements.
    single : bool
        Whether y does not ask for double precision.
    """

    modes: ModeDictionaries
    Y: InexactArray
    single: bool

    @property
    def n_columns(self) -> int:
        """Number of coefficients N."""
        return math.prod(self.modes.columns)

    def centred(self) -> tuple[InexactArray, InexactArray]:
        """Return the matrix and the measurements less their means over the rows.

        Columns that do not vary beyond the rounding of their own entries become zero.
        """
        (A,), Y = self.modes.matrices, self.Y
        return _centred(A, self.modes.single), _centred(Y, False)


def _centred(block: InexactArray, single: bool) -> InexactArray:
    left = block - block.mean(axis=0)
    # The mean itself is rounded: a second pass leaves what rounding leaves of the small rest.
    left = left - left.mean(axis=0)
    rounding = 2.0 * float(np.finfo(np.float32 if single else np.float64).eps) * np.abs(block).max(axis=0)
    return np.where(np.abs(left).max(axis=0) > rounding, left, 0.0)


def contrasts(block: InexactArray) -> InexactArray:
    """Return the coordinates of centred columns in an orthonormal basis of what is orthogonal to the constants.

    Parameters
    ----------
    block : ndarray of shape (M, ...)
        Columns with mean zero, at least two rows.

    Returns
    -------
    ndarray of shape (M - 1, ...)
        White noise stays white, and one row is gone: a variance learned from them is unbiased by the mean.
    """
    n = block.shape[0]
    # The reflection that takes the constant vector to the first axis.
    v = np.full(n, 1.0 / math.sqrt(n))
    v[0] += 1.0
    v /= np.linalg.norm(v)
    reflected = block - 2.0 * np.multiply.outer(v, v @ block)
    return np.ascontiguousarray(reflected[1:])


def read_data(X: Any, y: Any, estimator: Any = None) -> LinearData:
    """Validate data as `fit` takes them.

    Parameters
    ----------
    X : array-like of shape (M, N), or sequence of array-like of shapes (M_i, N_i)
        Dictionary, or mode dictionaries of a Kronecker product; real or complex.
    y : array-like of shape (M,) or (M, n_snapshots)
        Measurements.
    estimator : LinearSBL, optional
        Remembers the names of features.

    Returns
    -------
    LinearData

    Raises
    ------
    ValueError
        If a shape does not fit or a value is not finite.
    TypeError
        If a matrix is sparse.
    """
    if are_dictionaries(X):
        modes = check_dictionaries(X)
    elif sparse.issparse(X):
        raise TypeError("X must be dense: sparse data were passed, make them dense with X.toarray()")
    elif np.iscomplexobj(np.asarray(X)) or np.iscomplexobj(np.asarray(y)):
        modes = check_dictionaries([X], names=["X"])
    else:
        settings = {"dtype": _REAL, "multi_output": True, "y_numeric": True}
        X, y = check_X_y(X, y, **settings) if estimator is None else validate_data(estimator, X, y, **settings)
        modes = check_dictionaries([X], names=["X"])
    # Integer responses, as any that scikit-learn admits, do not decide the precision.
    single = np.asarray(y).dtype in (np.float32, np.complex64) or np.asarray(y).dtype.kind in "biu"
    data = as_tensor(y, modes.rows, "y")
    dtype = np.result_type(data.values, modes.matrices[0])
    matrices = [A.astype(dtype, copy=False) for A in modes.matrices]
    values = data.values.astype(dtype, copy=False)
    Y = values.reshape(math.prod(modes.rows), *values.shape[data.n_modes :])
    return LinearData(ModeDictionaries(matrices, modes.single), Y, bool(single))
