"""A sparse weight times the activations of a block of samples, and its transpose.

Activations lie with one row for each neuron and one column for each sample, so that each weight multiplies neighbouring
numbers. The weight is in CSR, one row for each output.

Why. One weight costs a load of its place, a load of its value, and per vector of samples a load and a multiply-add. The
sums of an output stay in registers while its weights are gone through (16 cache lines of sums would fill them, 8 leave
room), so no sum is loaded or stored in between. The more samples a pass takes, the less the places and values weigh;
but the rows of activations are read in no order, and all of them must stay in the second-level cache. So a batch is cut
into blocks, see :func:`block_width`.

The transposed product reads a row of the operand once and adds its multiples to the rows of the result, which costs a
load and a store more for each vector. A second copy of the weight, ordered by its columns, would spare these; but it
would have to be sorted anew whenever connections change, and written anew after each step.
"""

from typing import Any

import numpy as np

from sparsetheory.numba_kernels.inlined import entry, inlined
from sparsetheory.numba_kernels.sparse_conv.lanes import add_multiple, lanes, load, peek, spread, store, width
from sparsetheory.typing import AnyArray, FloatArray

__all__ = ["block_width", "multiply", "multiply_transposed", "warmup"]

# Two cache lines, in which compiled sums of products leave no rest.
_UNIT_BYTES = 128
_MOST_BYTES = 8 * 64
# Half of a small second-level cache.
_CACHE_BYTES = 2**19


def block_width(n_samples: int, n_neurons: int, itemsize: int) -> int:
    """Return how many columns a block of activations has; what is beyond the samples is filled up with zeros.

    Parameters
    ----------
    n_samples : int
        Samples of a batch, at least 1. They are cut into blocks of about equal length.
    n_neurons : int
        Rows of the largest operand.
    itemsize : int
        Bytes of a number.

    Returns
    -------
    int
        A multiple of 128 bytes, at most 512 bytes, and no more than fills 512 KB with all neurons, or 128 bytes.

    Examples
    --------
    >>> block_width(100, 1000, 4), block_width(100, 1000, 8), block_width(100, 7000, 4), block_width(5, 10, 8)
    (128, 64, 32, 16)
    """
    unit = _UNIT_BYTES // itemsize
    fitting = _CACHE_BYTES // (max(n_neurons, 1) * itemsize) // unit * unit
    most = min(max(fitting, unit), _MOST_BYTES // itemsize)
    n_blocks = -(-n_samples // most)
    return -(-n_samples // (n_blocks * unit)) * unit


@inlined
def _sum_row(
    indptr: AnyArray,
    indices: AnyArray,
    values: FloatArray,
    bias: FloatArray,
    x: FloatArray,
    n: int,
    out: FloatArray,
    row: int,
    at: int,
    like: Any,
) -> None:
    """Write the sums of one output for as many samples as `like` has lanes, from `at` on."""
    total = spread(bias[row], like)
    for k in range(indptr[row], indptr[row + 1]):
        total = add_multiple(total, peek(values, k), load(x, np.int64(peek(indices, k)) * n + at, like))
    store(out, row * n + at, total)


@entry
def multiply(
    indptr: AnyArray,
    indices: AnyArray,
    values: FloatArray,
    bias: FloatArray,
    x: FloatArray,
    n: int,
    out: FloatArray,
) -> None:
    """Write ``W @ x + bias[:, None]``; ``2 nnz n`` operations.

    Parameters
    ----------
    indptr : ndarray of int64 of shape (n_out + 1,)
        Weights ``indptr[i]`` to ``indptr[i + 1]`` belong to output i.
    indices : ndarray of int32 of shape (nnz,)
        Inputs; not checked.
    values : ndarray of shape (nnz,)
    bias : ndarray of shape (n_out,)
    x : ndarray of shape (n_in * n,)
        Activations, one row for each input.
    n : int
        Samples of a block, a multiple of 128 bytes.
    out : ndarray of shape (n_out * n,)
        Overwritten.
    """
    zero = values.dtype.type(0)
    line = width(lanes(zero, 1))
    for row in range(bias.size):
        at = 0
        while at + 8 * line <= n:
            _sum_row(indptr, indices, values, bias, x, n, out, row, at, lanes(zero, 8))
            at += 8 * line
        if at + 4 * line <= n:
            _sum_row(indptr, indices, values, bias, x, n, out, row, at, lanes(zero, 4))
            at += 4 * line
        if at + 2 * line <= n:
            _sum_row(indptr, indices, values, bias, x, n, out, row, at, lanes(zero, 2))


@inlined
def _add_row(
    indptr: AnyArray,
    indices: AnyArray,
    values: FloatArray,
    d: FloatArray,
    n: int,
    out: FloatArray,
    row: int,
    at: int,
    like: Any,
) -> None:
    """Add multiples of one row of the operand, as many samples as `like` has lanes, to the rows of the result."""
    own = load(d, row * n + at, like)
    for k in range(indptr[row], indptr[row + 1]):
        place = np.int64(peek(indices, k)) * n + at
        store(out, place, add_multiple(load(out, place, like), peek(values, k), own))


@entry
def multiply_transposed(
    indptr: AnyArray, indices: AnyArray, values: FloatArray, d: FloatArray, n: int, out: FloatArray
) -> None:
    """Add ``W.T @ d`` to the result; ``2 nnz n`` operations.

    Parameters
    ----------
    indptr, indices, values : ndarray
        The weight, as in :func:`multiply`.
    d : ndarray of shape (n_out * n,)
        One row for each output.
    n : int
        Samples of a block, a multiple of 128 bytes.
    out : ndarray of shape (n_in * n,)
        Added to.
    """
    zero = values.dtype.type(0)
    line = width(lanes(zero, 1))
    for row in range(indptr.size - 1):
        at = 0
        while at + 4 * line <= n:
            _add_row(indptr, indices, values, d, n, out, row, at, lanes(zero, 4))
            at += 4 * line
        if at + 2 * line <= n:
            _add_row(indptr, indices, values, d, n, out, row, at, lanes(zero, 2))


def warmup() -> None:
    """Compile the kernels for single and double precision."""
    indptr, indices = np.array([0, 1]), np.zeros(1, dtype=np.int32)
    for dtype in (np.float32, np.float64):
        one, block = np.ones(1, dtype=dtype), np.ones(32, dtype=dtype)
        multiply(indptr, indices, one, one, block, 32, block.copy())
        multiply_transposed(indptr, indices, one, block, 32, block.copy())
