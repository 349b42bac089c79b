"""Checks of mode dictionaries and of vectors of the Kronecker space."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sparsetheory.typing import InexactArray

__all__ = ["Layout", "ModeDictionaries", "as_tensor", "check_dictionaries", "numeric"]

_SINGLE = (np.dtype(np.float32), np.dtype(np.complex64))


@dataclass(frozen=True, eq=False)
class ModeDictionaries:
    """Mode dictionaries in double precision.

    Attributes
    ----------
    matrices : list of ndarray of shape (M_i, N_i)
        All float64, or all complex128.
    single : bool
        Whether all were given in single precision.
    """

    matrices: list[InexactArray]
    single: bool

    @property
    def rows(self) -> list[int]:
        """Numbers of rows, M_i."""
        return [A.shape[0] for A in self.matrices]

    @property
    def columns(self) -> list[int]:
        """Numbers of columns, N_i."""
        return [A.shape[1] for A in self.matrices]

    def with_precision(self, values: NDArray, single: bool) -> NDArray:
        """Return results in single precision if everything given was."""
        if not (self.single and single):
            return values
        return values.astype(np.complex64 if np.iscomplexobj(values) else np.float32)


@dataclass(frozen=True, eq=False)
class Layout:
    """A vector of the Kronecker space as a tensor, and how it was given.

    Attributes
    ----------
    values : ndarray of shape (n_1, ..., n_d) or (n_1, ..., n_d, n_columns)
        In double precision, C-ordered.
    shape : tuple of int
        Of the argument.
    single : bool
        Whether the argument was in single precision.
    n_modes : int
        d.
    """

    values: InexactArray
    shape: tuple[int, ...]
    single: bool
    n_modes: int

    @property
    def n_columns(self) -> int | None:
        """Number of columns, None for a single vector."""
        return self.values.shape[-1] if self.values.ndim > self.n_modes else None

    def restore(self, tensor: NDArray, sizes: Sequence[int]) -> NDArray:
        """Return a tensor with other sizes in the layout of the argument."""
        if self.n_columns is not None:
            return tensor.reshape(math.prod(sizes), self.n_columns)
        return tensor.reshape(tuple(sizes)) if len(self.shape) > 1 else tensor.reshape(-1)


def numeric(name: str, value: Any) -> tuple[NDArray, bool]:
    """Return a finite array in double precision, and whether it was in single.

    Raises
    ------
    ValueError
        If it is no array of numbers, or a value is not finite.
    TypeError
        If it is sparse.
    """
    if sparse.issparse(value):
        raise TypeError(f"{name} must be dense: sparse data were passed, make them dense with .toarray()")
    try:
        array = np.asarray(value)
        single = array.dtype in _SINGLE
        array = array.astype(np.complex128 if np.iscomplexobj(array) else np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of numbers; got {type(value).__name__}") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; it contains NaN or infinity")
    return array, single


def check_dictionaries(dictionaries: Any, names: Sequence[str] | None = None) -> ModeDictionaries:
    """Validate mode dictionaries.

    Parameters
    ----------
    dictionaries : sequence of array-like, of shapes (M_i, N_i)
        At least one.
    names : sequence of str, optional
        What errors call them; by their modes by default.

    Returns
    -------
    Dictionaries

    Raises
    ------
    ValueError
        If there are none, or one is not a finite matrix with rows and columns; the message names its mode.
    """
    if sparse.issparse(dictionaries) or (isinstance(dictionaries, np.ndarray) and dictionaries.ndim == 2):
        raise ValueError("dictionaries must be a sequence of mode dictionaries; put a single matrix into a list, [A]")
    try:
        given = list(dictionaries)
    except TypeError as error:
        raise ValueError(
            f"dictionaries must be a sequence of mode dictionaries; got {type(dictionaries).__name__}"
        ) from error
    if not given:
        raise ValueError("dictionaries must contain at least one mode dictionary; got none")
    matrices, singles = [], []
    for k, A in enumerate(given):
        name = f"the dictionary of mode {k}" if names is None else names[k]
        matrix, single = numeric(name, A)
        if matrix.ndim != 2:
            raise ValueError(f"{name} must be a matrix; got shape {matrix.shape}")
        if 0 in matrix.shape:
            raise ValueError(f"{name} must have rows and columns; got shape {matrix.shape}")
        matrices.append(matrix)
        singles.append(single)
    dtype = np.result_type(*matrices)
    return ModeDictionaries([np.ascontiguousarray(A, dtype=dtype) for A in matrices], all(singles))


def as_tensor(y: Any, sizes: Sequence[int], name: str, *, adjoint: bool = False) -> Layout:
    """Validate a vector of the Kronecker space, several of them, or one as a tensor.

    Parameters
    ----------
    y : array-like of shape (n,), (n, n_columns), (n_1, ..., n_d) or (n_1, ..., n_d, n_columns)
        With n the product of the sizes.
    sizes : sequence of int
        Lengths of the modes.
    name : str
        For messages.
    adjoint : bool
        Whether the vector is multiplied by the adjoint, for messages.

    Returns
    -------
    Layout

    Raises
    ------
    ValueError
        If the shape fits none of these, or a value is not finite.
    """
    values, single = numeric(name, y)
    sizes = tuple(sizes)
    n = math.prod(sizes)
    if values.shape in ((n,), sizes):
        shape = sizes
    elif values.ndim in (2, len(sizes) + 1) and values.size and values.shape[:-1] in ((n,), sizes):
        shape = (*sizes, values.shape[-1])
    else:
        side = "columns" if name == "x" and not adjoint else "rows"
        product = " * ".join(map(str, sizes))
        raise ValueError(
            f"{name} must have {product} = {n} entries, one for each of the {side} of kron(A_1, kron(A_2, ...)), "
            f"in C order (the last mode varies fastest), as shape ({n},), ({n}, n_snapshots) or {sizes}; "
            f"got shape {values.shape}"
        )
    return Layout(np.ascontiguousarray(values.reshape(shape)), values.shape, single, len(sizes))
