"""The gradient of a sparse weight on the connections that exist, and the step of descent with momentum.

The gradient of a dense weight is the product of the errors of its outputs with the activations of its inputs, summed
over samples. Of this matrix only the entries with a connection are formed: for each of them the inner product of two
rows, which both lie contiguously. The row of the output stays in the first-level cache for all its connections; that of
the input comes from the second-level cache, once for each connection. Nothing as large as the dense weight exists.
"""

import numpy as np

from sparsetheory.numba_kernels.inlined import entry
from sparsetheory.typing import AnyArray, FloatArray

__all__ = ["add_sampled_products", "momentum_step", "warmup"]


@entry(fastmath=True)
def add_sampled_products(
    indptr: AnyArray, indices: AnyArray, d: FloatArray, x: FloatArray, n: int, out: FloatArray
) -> None:
    """Add ``d[row] @ x[column]`` to each entry of a sparse matrix; ``2 nnz n`` operations.

    Parameters
    ----------
    indptr : ndarray of int64 of shape (n_out + 1,)
        Entries ``indptr[i]`` to ``indptr[i + 1]`` lie in row i.
    indices : ndarray of int32 of shape (nnz,)
        Columns; not checked.
    d : ndarray of shape (n_out * n,)
        One row for each output.
    x : ndarray of shape (n_in * n,)
        One row for each input.
    n : int
        Samples of a block; best a multiple of 128 bytes.
    out : ndarray of shape (nnz,)
        Added to.
    """
    for row in range(indptr.size - 1):
        own = d[row * n : (row + 1) * n]
        for k in range(indptr[row], indptr[row + 1]):
            start = np.int64(indices[k]) * n
            other = x[start : start + n]
            total = out.dtype.type(0)
            for i in range(n):
                total += own[i] * other[i]
            out[k] += total


@entry
def momentum_step(
    values: FloatArray,
    velocity: FloatArray,
    gradient: FloatArray,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
) -> None:
    """Move weights by their velocity in one pass, and set the gradient to zero for the next batch.

    ``v = momentum v - learning_rate g`` and ``w = w + v - weight_decay w``: the decay is not multiplied by the rate.

    Parameters
    ----------
    values, velocity : ndarray of shape (nnz,)
        Overwritten.
    gradient : ndarray of shape (nnz,)
        Overwritten with zeros.
    learning_rate, momentum, weight_decay : floating
        Of the type of the weights, so that single precision stays single.
    """
    for k in range(values.size):
        v = momentum * velocity[k] - learning_rate * gradient[k]
        velocity[k] = v
        values[k] += v - weight_decay * values[k]
        gradient[k] = 0


def warmup() -> None:
    """Compile the kernels for single and double precision."""
    indptr, indices = np.array([0, 1]), np.zeros(1, dtype=np.int32)
    for dtype in (np.float32, np.float64):
        one, block = np.ones(1, dtype=dtype), np.ones(32, dtype=dtype)
        add_sampled_products(indptr, indices, block, block, 32, one.copy())
        momentum_step(one.copy(), one.copy(), one.copy(), one[0], one[0], one[0])
