"""Sparse matrix times channels, on plain arrays: checks, memory to work with, and the call of the kernel."""

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.constraints import COUNT
from sparsetheory.numba_kernels.sparse_conv.products import multiply, strip_length, work_size
from sparsetheory.typing import AnyArray, FloatArray

__all__ = ["Operands", "check_rows", "multiply_images", "multiply_memory", "operands", "spmm_block4", "spmm_chw"]

_LINE = 64
_HELD_BYTES = 2**23
_memory = threading.local()


def spmm_chw(
    indptr: ArrayLike,
    indices: ArrayLike,
    values: ArrayLike,
    X: ArrayLike,
    bias: ArrayLike,
    out: FloatArray | None = None,
    strip: int | None = None,
    *,
    lower: float = -np.inf,
    upper: float = np.inf,
) -> FloatArray:
    """Return ``clip(W @ X + bias, lower, upper)`` for a matrix W in compressed sparse rows.

    With the channels of an image as rows of X, this is a convolution of size 1 x 1. Sums stay in registers over all
    weights of a row; it takes ``2 nnz n_positions`` operations, on one thread.

    Parameters
    ----------
    indptr : array_like of int of shape (n_rows + 1,)
        Entries ``indptr[r]`` to ``indptr[r + 1]`` belong to row r.
    indices, values : array_like of shape (nnz,)
        Column and weight of each entry.
    X : array_like of float32 or float64 of shape (n_columns, n_positions)
        Fastest if aligned to 64 bytes, as tensors of torch are.
    bias : array_like of shape (n_rows,)
        What a row without weights gives.
    out : ndarray of shape (n_rows, n_positions) or None
        Receives the result if given: in C order, of the type of X, writeable, and no part of an input.
    strip : int or None
        Positions done together; None for as many as keep all channels in the first-level cache, from 64 to 1024.
    lower, upper : float
        Bounds of the result: 0 and 6 make ReLU6.

    Returns
    -------
    ndarray of shape (n_rows, n_positions)
        Of the type of X.

    Raises
    ------
    ValueError
        If arrays do not fit together, a type is neither float32 nor float64, or the lower bound is above the upper one.

    Notes
    -----
    Zeros that are left out do not meet infinite inputs: 0 times infinity is 0 here.

    Source: E. Elsen, M. Dukhan, T. Gale, K. Simonyan, "Fast Sparse ConvNets", CVPR 2020, arXiv 1911.09723.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.arange(6.0).reshape(2, 3)
    >>> spmm_chw([0, 1, 1], [1], [2.0], X, [0.0, 5.0], upper=9.0)
    array([[6., 8., 9.],
           [5., 5., 5.]])
    """
    return _checked_product(indptr, indices, values, X, bias, out, strip, (lower, upper), in_blocks=False)


def spmm_block4(
    indptr: ArrayLike,
    indices: ArrayLike,
    values: ArrayLike,
    X: ArrayLike,
    bias: ArrayLike,
    out: FloatArray | None = None,
    strip: int | None = None,
    *,
    lower: float = -np.inf,
    upper: float = np.inf,
) -> FloatArray:
    """Return ``clip(W @ X + bias, lower, upper)`` for a matrix W whose rows share their columns four by four.

    Each input is loaded once for four rows, so that an entry takes half the time of :func:`spmm_chw` or less. All else
    is as there.

    Parameters
    ----------
    indptr : array_like of int of shape (n_rows // 4 + n_rows % 4 + 1,)
        One place for each block of four consecutive rows, then one for each row that is left.
    indices : array_like of shape (n_entries,)
        Column of each entry of a block or row.
    values : array_like of shape (4 * n_entries of blocks + n_entries of rows,)
        Four weights for each entry of a block, from the upper row to the lower, then one for each entry of a row.
    X, bias, out, strip, lower, upper
        As in :func:`spmm_chw`.

    Returns
    -------
    ndarray of shape (n_rows, n_positions)

    Raises
    ------
    ValueError
        As in :func:`spmm_chw`.

    Examples
    --------
    >>> import numpy as np
    >>> spmm_block4([0, 1], [1], [1.0, 2.0, 3.0, 4.0], np.array([[5.0], [7.0]]), np.zeros(4)).ravel()
    array([ 7., 14., 21., 28.])
    """
    return _checked_product(indptr, indices, values, X, bias, out, strip, (lower, upper), in_blocks=True)


def _checked_product(
    indptr: ArrayLike,
    indices: ArrayLike,
    values: ArrayLike,
    X: ArrayLike,
    bias: ArrayLike,
    out: FloatArray | None,
    strip: int | None,
    bounds: tuple[float, float],
    *,
    in_blocks: bool,
) -> FloatArray:
    if not bounds[0] <= bounds[1]:
        raise ValueError(f"lower must be at most upper; got {bounds[0]!r} and {bounds[1]!r}")
    x = np.ascontiguousarray(X)
    if x.ndim != 2 or x.dtype not in (np.float32, np.float64):
        raise ValueError(f"X must be a matrix of float32 or float64; got {x.dtype} of shape {x.shape}")
    weights, biases = (np.ascontiguousarray(array, dtype=x.dtype) for array in (values, bias))
    starts, columns = _integers("indptr", indptr), _integers("indices", indices)
    if biases.ndim != 1:
        raise ValueError(f"bias must be a vector; got shape {biases.shape}")
    n_blocks = biases.size // 4 if in_blocks else 0
    given = operands(starts, columns, weights, n_blocks, biases, bounds, len(x), strip)
    shape = (biases.size, x.shape[1])
    if out is None:
        out = np.empty(shape, dtype=x.dtype)
    else:
        _check_output(out, shape, (x, weights, biases, starts, columns))
    multiply_images(given, x.reshape(-1), x.shape[1], out.reshape(-1))
    return out


def _check_output(out: FloatArray, shape: tuple[int, int], inputs: Sequence[AnyArray]) -> None:
    dtype = inputs[0].dtype
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype:
        got = f"{out.dtype} of shape {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"out must be an array of {dtype} of shape {shape}; got {got}")
    # The kernel writes to the memory itself, where NumPy's protection does not reach.
    if not (out.flags.c_contiguous and out.flags.writeable) or any(np.may_share_memory(out, each) for each in inputs):
        raise ValueError("out must be writeable, in C order and apart from the inputs; got one that is not")


def _integers(name: str, array: ArrayLike) -> AnyArray:
    given = np.asarray(array)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise ValueError(f"{name} must be a vector of integers; got {given.dtype} of shape {given.shape}")
    if given.size and not 0 <= given.min() <= given.max() < 2**31:
        raise ValueError(f"{name} must be from 0 to 2**31 - 1; got values from {given.min()} to {given.max()}")
    return np.ascontiguousarray(given, dtype=np.int32)


def check_rows(indptr: AnyArray, indices: AnyArray, values: AnyArray, shape: tuple[int, int], n_blocks: int) -> None:
    """Raise ValueError unless arrays describe a matrix; a kernel that reads past their ends ends the process."""
    places = shape[0] - 3 * n_blocks
    if not 0 <= 4 * n_blocks <= shape[0]:
        raise ValueError(f"indptr must be for rows and blocks of four of {shape[0]} rows; got {n_blocks} blocks")
    # Differences of 32 bits could overflow.
    if indptr.shape != (places + 1,) or indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        raise ValueError(
            f"indptr must begin with 0, never fall and have {places + 1} entries; got shape {indptr.shape}"
        )
    if indices.shape != (indptr[-1],):
        raise ValueError(f"indices must have as many entries as indptr ends with, {indptr[-1]}; got {indices.shape}")
    wanted = int(indptr[-1]) + 3 * int(indptr[n_blocks])
    if values.shape != (wanted,):
        raise ValueError(f"values must have shape ({wanted},); got {values.shape}")
    if indices.size and not 0 <= indices.min() <= indices.max() < shape[1]:
        raise ValueError(
            f"indices must be from 0 to {shape[1] - 1}; got values from {indices.min()} to {indices.max()}"
        )


class Operands(NamedTuple):
    """Arrays that are known to fit together, as :func:`multiply_images` hands them to the kernel.

    Parameters
    ----------
    indptr, indices : ndarray of int32
    values : ndarray
    n_blocks : int
    bias : ndarray of shape (n_rows,)
    lower, upper : floating
        Of the type of the values.
    n_columns, strip : int
        Columns of the matrix, and positions done together.
    """

    indptr: AnyArray
    indices: AnyArray
    values: FloatArray
    n_blocks: int
    bias: FloatArray
    lower: Any
    upper: Any
    n_columns: int
    strip: int


def operands(
    indptr: AnyArray,
    indices: AnyArray,
    values: FloatArray,
    n_blocks: int,
    bias: FloatArray,
    bounds: tuple[float, float],
    n_columns: int,
    strip: int | None = None,
) -> Operands:
    """Check arrays and put them together; without a strip, choose one."""
    check_rows(indptr, indices, values, (bias.size, n_columns), n_blocks)
    lower, upper = (values.dtype.type(bound) for bound in bounds)
    strip = strip_length(n_columns, values.itemsize) if strip is None else COUNT.check("strip", strip)
    return Operands(indptr, indices, values, n_blocks, bias, lower, upper, n_columns, strip)


def multiply_images(given: Operands, x: FloatArray, n_positions: int, out: FloatArray) -> None:
    """Call the kernel on arrays.

    Parameters
    ----------
    given : Operands
    x : ndarray of shape (n_images * n_columns * n_positions,)
        Of the type of the weights.
    n_positions : int
    out : ndarray of shape (n_images * n_rows * n_positions,)
        Overwritten.
    """
    if not out.size:
        return
    if not x.size:
        out.reshape(-1, given.bias.size, n_positions)[:] = np.clip(given.bias, given.lower, given.upper)[:, None]
        return
    n_images = x.size // (given.n_columns * n_positions)
    multiply_memory(given, x.ctypes.data, n_images, n_positions, out.ctypes.data)


def multiply_memory(given: Operands, x: int, n_images: int, n_positions: int, out: int) -> None:
    """Call the kernel on addresses: what comes before it counts, since small products take microseconds.

    Parameters
    ----------
    given : Operands
    x, out : int
        Addresses of the images and of the result, as in :func:`multiply_images`.
    n_images, n_positions : int
        At least 1, as is the number of columns.
    """
    indptr, indices, values, n_blocks, bias, lower, upper, n_columns, strip = given
    work = getattr(_memory, values.dtype.char, None)
    if work is None or work.size < n_columns * (strip + _LINE):
        work = _work(
            work_size(n_columns, n_positions, strip, values.itemsize), n_columns * (strip + _LINE), values.dtype
        )
    sizes = x, n_images, n_columns, n_positions
    multiply(indptr, indices, values, n_blocks, *sizes, bias, lower, upper, out, strip, work)


def _work(needed: int, enough: int, dtype: Any) -> FloatArray:
    """Return memory of this thread, aligned to a cache line; fresh memory would cost more than small products do.

    It is made so large that it is enough for any number of positions, unless the strip is an unusual one: not all that
    such a strip needs is held for ever by every thread.
    """
    held = enough * dtype.itemsize <= _HELD_BYTES
    size = enough if held else needed
    fresh = np.empty(size * dtype.itemsize + _LINE, dtype=np.uint8)
    start = -fresh.ctypes.data % _LINE
    memory = fresh[start : start + size * dtype.itemsize].view(dtype)
    if held:
        setattr(_memory, dtype.char, memory)
    return memory
