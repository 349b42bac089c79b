"""Checks of what belongs to modes: numbers, factors, moments, supports."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsetheory.bayesian.kronecker.checks import numeric
from sparsetheory.typing import Float64Array, IndexArray

__all__ = [
    "check_factors",
    "check_moments",
    "check_positive_factors",
    "check_supports",
    "per_mode",
]


def per_mode(name: str, value: Any, n_modes: int) -> list[Any]:
    """Spread a number over the modes, or return one number per mode.

    Parameters
    ----------
    name : str
        For messages.
    value : float or sequence of float
        Checked numbers.
    n_modes : int
        d.

    Returns
    -------
    list
        Of d numbers.

    Raises
    ------
    ValueError
        If there are not d of them.
    """
    if np.ndim(value) == 0:
        return [value] * n_modes
    values = list(value)
    if len(values) != n_modes:
        raise ValueError(f"{name} must be one number or one per mode ({n_modes}); got {len(values)}")
    return values


def _listed(name: str, values: Any, n_modes: int, what: str) -> list[Any]:
    """Return what was given for each mode."""
    try:
        given = list(values)
    except TypeError:
        raise ValueError(f"{name} must hold {what} per mode ({n_modes}); got {values!r}") from None
    if len(given) != n_modes:
        raise ValueError(f"{name} must hold {what} per mode ({n_modes}); got {len(given)}")
    return given


def check_factors(name: str, factors: Any, sizes: Sequence[int]) -> list[Float64Array]:
    """Validate one vector of prior variances per mode.

    Parameters
    ----------
    name : str
        For messages.
    factors : sequence of array-like of shape (N_i,)
        Not negative, not all zero; zeros are allowed.
    sizes : sequence of int
        N_i.

    Returns
    -------
    list of ndarray of float64
        Copies.

    Raises
    ------
    ValueError
        If a vector has another shape, a negative value, or only zeros.
    """
    given = _listed(name, factors, len(sizes), "one vector")
    result = []
    for k, (factor, n) in enumerate(zip(given, sizes, strict=True)):
        vector, _ = numeric(f"{name}[{k}]", factor)
        if vector.shape != (n,) or np.iscomplexobj(vector):
            raise ValueError(f"{name}[{k}] must be a real vector of shape ({n},); got {vector.dtype} {vector.shape}")
        if np.any(vector < 0) or not np.any(vector > 0):
            raise ValueError(f"{name}[{k}] must not be negative or all zero")
        result.append(vector.copy())
    return result


def check_moments(name: str, values: Any, sizes: Sequence[int] | None = None) -> Float64Array:
    """Validate a tensor of second moments.

    Parameters
    ----------
    name : str
        For messages.
    values : array-like of shape (N_1, ..., N_d)
        Real, finite, not negative.
    sizes : sequence of int, optional
        N_i, where they are known.

    Returns
    -------
    ndarray of float64
        C-ordered.

    Raises
    ------
    ValueError
        If the shape is another or a value is negative or complex.
    """
    tensor, _ = numeric(name, values)
    if tensor.ndim == 0 or tensor.size == 0 or (sizes is not None and tensor.shape != tuple(sizes)):
        expected = "(N_1, ..., N_d)" if sizes is None else str(tuple(sizes))
        raise ValueError(f"{name} must have shape {expected}, as the factors; got {tensor.shape}")
    if np.iscomplexobj(tensor) or np.any(tensor < 0):
        raise ValueError(f"{name} must be real and not negative")
    return np.ascontiguousarray(tensor)


def check_positive_factors(name: str, factors: Any, sizes: Sequence[int]) -> list[Float64Array]:
    """Validate factors that are divided by: as :func:`check_factors`, and no zeros.

    Raises
    ------
    ValueError
        Also if a value is zero.
    """
    checked = check_factors(name, factors, sizes)
    for k, factor in enumerate(checked):
        if not factor.all():
            raise ValueError(f"{name}[{k}] must be positive; leave out entries that are zero")
    return checked


def check_supports(supports: Any, sizes: Sequence[int]) -> list[IndexArray]:
    """Validate one set of indices per mode.

    Parameters
    ----------
    supports : sequence of array-like of int
        Indices into the columns of each dictionary.
    sizes : sequence of int
        N_i.

    Returns
    -------
    list of ndarray of int
        Sorted.

    Raises
    ------
    ValueError
        If there is not one set per mode, or an index is not an integer in range or occurs twice.
    """
    given = _listed("supports", supports, len(sizes), "one set of indices")
    result = []
    for k, (support, n) in enumerate(zip(given, sizes, strict=True)):
        indices = np.asarray(support)
        whole = indices.ndim == 1 and indices.size > 0 and np.issubdtype(indices.dtype, np.integer)
        if not whole or indices.min() < 0 or indices.max() >= n or np.unique(indices).size != indices.size:
            raise ValueError(f"supports[{k}] must be distinct integers from 0 to {n - 1}; got {support!r}")
        result.append(np.sort(indices).astype(np.intp))
    return result
