"""Arguments of the functions on one subspace of a linear model."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import finite_array
from sparsetheory.constraints import POSITIVE
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["check_active", "check_linear"]


def check_linear(F: ArrayLike, y: ArrayLike, kappa: Any, prior_std: Any) -> tuple[Float64Array, Float64Array]:
    """Return design and data in double precision.

    Parameters
    ----------
    F : array-like of shape (M, N)
        Design.
    y : array-like of shape (M,)
        Data.
    kappa, prior_std : float
        Precision of the noise and standard deviation of the prior; positive.

    Raises
    ------
    ValueError
        If an argument is not what it must be.
    """
    POSITIVE.require(kappa=kappa, prior_std=prior_std)
    F = finite_array("F", F, 2).astype(np.float64, copy=False)
    y = finite_array("y", y, 1).astype(np.float64, copy=False)
    if y.size != F.shape[0]:
        raise ValueError(f"y must have one entry per row of F, {F.shape[0]}; got {y.size}")
    return F, y


def check_active(active: ArrayLike, n_columns: int) -> IndexArray:
    """Return the indices of the active columns.

    Parameters
    ----------
    active : array-like of int of shape (s,), or of bool of shape (N,)
        Indices in any order, or a mask.
    n_columns : int
        Number N of columns.

    Raises
    ------
    ValueError
        If an index is out of range or occurs twice.
    """
    given = np.asarray(active)
    if given.dtype == np.bool_ and given.shape == (n_columns,):
        return np.flatnonzero(given)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise ValueError(f"active must be a vector of indices or a mask of {n_columns} columns; got {active!r}")
    indices = given.astype(np.intp)
    if indices.size and (indices.min() < 0 or indices.max() >= n_columns or np.unique(indices).size < indices.size):
        raise ValueError(f"active must hold different indices from 0 to {n_columns - 1}; got {active!r}")
    return indices
