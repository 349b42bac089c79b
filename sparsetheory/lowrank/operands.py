"""Single blocks: their conversion to working precision, dense or sparse, and sums that round little."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import sparse

from sparsetheory.typing import AnyArray, Float64Array

__all__ = [
    "Matrix",
    "Operand",
    "as_matrix",
    "as_operand",
    "digest",
    "gram",
    "is_finite",
    "largest",
    "pairwise_sum",
    "squared_norm",
]

Matrix = AnyArray
Operand = Any

# Sparse matrices with more entries than this, zeros included, are not made dense in silence: 2 GiB in double precision.
_LARGEST_DENSE = 2**28
# Terms that are added one after another before partial sums are added in pairs.
_RUN = 256
# Columns of one product.
_PANEL = 2048


def as_matrix(block: Any, name: str = "block") -> Matrix:
    """Return a block as a two-dimensional float64 or complex128 array; entries may be non-finite.

    Parameters
    ----------
    block : array-like, sparse matrix, memory map or dask array of shape (m, n)
        Boolean, integer, float16, float32, float64, complex64 or complex128.
    name : str
        How errors call the block.

    Returns
    -------
    ndarray of shape (m, n)
        The block itself where no conversion is needed.

    Raises
    ------
    ValueError, TypeError
        If it is not two-dimensional, is empty, masked, of another dtype, or sparse and too large to be made dense.
    """
    operand = as_operand(block, name)
    if not sparse.issparse(operand):
        return operand
    if operand.shape[0] * operand.shape[1] > _LARGEST_DENSE:
        size = operand.shape[0] * operand.shape[1] * operand.dtype.itemsize / 2**30
        raise ValueError(
            f"{name} is sparse of shape {operand.shape} and would have to be made dense here ({size:.3g} GiB); "
            "range_finder_summary takes sparse blocks as they are, or pass fewer columns at a time"
        )
    return operand.toarray()


def as_operand(block: Any, name: str = "block") -> Operand:
    """Do what :func:`as_matrix` does, but keep a sparse block sparse; entries given twice are added.

    Returns
    -------
    ndarray or sparse matrix in CSC format, of shape (m, n)
    """
    if sparse.issparse(block):
        return _canonical(block, name)
    if isinstance(block, np.ma.MaskedArray) and np.ma.is_masked(block):
        raise TypeError(f"{name} is a masked array: masked entries have no value here; fill or drop them")
    try:
        array = np.asarray(block)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} cannot be read as a matrix: {error}") from error
    _check_shape(array.shape, name)
    return array.astype(_working_dtype(array.dtype, name), copy=False)


def _canonical(block: Any, name: str) -> Operand:
    _check_shape(block.shape, name)
    # Conversions of a matrix in another format are copies; one in this format must not change.
    own = block.copy() if block.format == "csc" and not block.has_canonical_format else block.tocsc()
    own = own.astype(_working_dtype(block.dtype, name), copy=False)
    if not own.has_canonical_format:
        own.sum_duplicates()
    return own


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    if len(shape) != 2:
        hint = "; reshape a single column to (m, 1)" if len(shape) == 1 else ""
        raise ValueError(f"{name} must be two-dimensional; got shape {shape}{hint}")
    if 0 in shape:
        raise ValueError(f"{name} must have at least one row and one column; got shape {shape}")


def _working_dtype(dtype: np.dtype[Any], name: str) -> type:
    if dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize <= 8):
        return np.float64
    if dtype.kind == "c" and dtype.itemsize <= 16:
        return np.complex128
    raise TypeError(
        f"{name} must be real or complex with at most double precision; got dtype {dtype}; "
        "convert it, for example with astype(np.float32)"
    )


def _entries(operand: Operand) -> Float64Array:
    """Return the stored entries in one row, real and imaginary parts side by side."""
    flat = operand.data if sparse.issparse(operand) else operand.ravel(order="K")
    return np.ascontiguousarray(flat).view(np.float64)


def squared_norm(operand: Operand) -> float:
    """Squared Frobenius norm with a rounding error that hardly grows with the number of entries; may overflow."""
    flat = _entries(operand)
    whole = flat.size // _RUN * _RUN
    runs, rest = flat[:whole].reshape(-1, _RUN), flat[whole:]
    # Overflow is looked at by the caller.
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.einsum("ij,ij->i", runs, runs).sum() + rest @ rest)


def is_finite(operand: Operand) -> bool:
    """Whether no entry is NaN or infinite."""
    return bool(np.isfinite(_entries(operand)).all())


def largest(operand: Operand) -> float:
    """Size of the largest entry, real or imaginary part."""
    flat = _entries(operand)
    return float(np.maximum(flat.max(initial=0.0), -flat.min(initial=0.0)))


def pairwise_sum(terms: Iterable[Any]) -> Any:
    """Add terms in pairs, so that rounding grows with the logarithm of their number; few are held at a time."""
    pending: list[tuple[int, Any]] = []
    for term in terms:
        level, total = 0, term
        while pending and pending[-1][0] == level:
            total = pending.pop()[1] + total
            level += 1
        pending.append((level, total))
    result = pending.pop()[1]
    while pending:
        result = pending.pop()[1] + result
    return result


def gram(operand: Operand) -> Matrix:
    """Return ``A @ A^H`` as a dense array, summed over panels of columns in pairs."""
    if sparse.issparse(operand):
        if operand.shape[0] ** 2 > _LARGEST_DENSE:
            raise ValueError(
                f"the Gram matrix of sparse blocks would be dense of order {operand.shape[0]}; "
                "range_finder_summary takes sparse blocks as they are"
            )
        return (operand @ operand.conj().T).toarray()
    panels = (operand[:, start : start + _PANEL] for start in range(0, operand.shape[1], _PANEL))
    return pairwise_sum(panel @ panel.conj().T for panel in panels)


def digest(matrix: Matrix) -> bytes:
    """Return a short name of the entries of a matrix, the same for every layout."""
    # Adding zero makes negative zeros, which sparse formats drop, equal to positive ones.
    return hashlib.blake2b((np.ascontiguousarray(matrix) + 0.0).data, digest_size=16).digest()
