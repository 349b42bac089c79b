"""Two sparse matrices on one support times the same inputs, one with the inputs and one with their squares.

Means and variances of the outputs of a layer with random weights are such a pair: ``M @ x`` and ``V @ x**2``. Inputs
and outputs lie with one row for each neuron and one column for each sample, in blocks of samples, so that each weight
multiplies neighbouring numbers. The support is in CSR, one row for each output.

Why. A weight costs a load of its place and of two values. A vector of samples costs one load of inputs, which both
products share, and their squares are made in registers: no square is ever stored. The way back goes through the same
support once, and makes four things of what it has loaded: two inner products, which are the derivatives by the two
weights (a sampled product of dense matrices), and two multiples that are added to the derivative by the inputs. The
dense derivative by the weights, of size outputs times inputs, is never computed.

Blocks of samples keep the rows of inputs, which are read in no order, in the second-level cache; see
:func:`sparsetheory.numba_kernels.sparse_autoencoder.products.block_width`.
"""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import AnyArray, FloatArray

__all__ = ["multiply_pair", "pair_derivatives", "warmup"]


@kernel(fastmath=True)
def multiply_pair(
    indptr: AnyArray,
    indices: AnyArray,
    first: FloatArray,
    second: FloatArray,
    x: FloatArray,
    out_first: FloatArray,
    out_second: FloatArray,
) -> None:
    """Write ``A @ x`` and ``B @ x**2``. ``5 nnz n_samples`` operations.

    Parameters
    ----------
    indptr : ndarray of int32 of shape (n_outputs + 1,)
    indices : ndarray of int32 of shape (nnz,)
        Inputs; not checked.
    first : ndarray of shape (nnz,)
        Entries of A.
    second : ndarray of shape (nnz,) or (0,)
        Entries of B, if there is such a product.
    x : ndarray of shape (n_blocks, n_inputs, width)
    out_first, out_second : ndarray of shape (n_blocks, n_outputs, width)
        Overwritten; without a block the second product is left out.
    """
    width, both = x.shape[2], out_second.shape[0] > 0
    for block in range(x.shape[0]):
        for row in range(indptr.size - 1):
            total = out_first[block, row]
            total[:] = 0
            if both:
                squares = out_second[block, row]
                squares[:] = 0
                for k in range(indptr[row], indptr[row + 1]):
                    a, b, inputs = first[k], second[k], x[block, indices[k]]
                    for i in range(width):
                        total[i] += a * inputs[i]
                        squares[i] += b * (inputs[i] * inputs[i])
            else:
                for k in range(indptr[row], indptr[row + 1]):
                    a, inputs = first[k], x[block, indices[k]]
                    for i in range(width):
                        total[i] += a * inputs[i]


@kernel(fastmath=True)
def pair_derivatives(
    indptr: AnyArray,
    indices: AnyArray,
    first: FloatArray,
    second: FloatArray,
    x: FloatArray,
    by_first: FloatArray,
    by_second: FloatArray,
    d_first: FloatArray,
    d_second: FloatArray,
    d_x: FloatArray,
) -> None:
    """Add the derivatives by entries and inputs to what stands there. ``11 nnz n_samples`` operations.

    Parameters
    ----------
    indptr, indices, first, second, x
        As :func:`multiply_pair` takes them.
    by_first, by_second : ndarray of shape (n_blocks, n_outputs, width)
        Derivatives by the two products; the second one has no block where there is no second product.
    d_first, d_second : ndarray of shapes of `first` and `second`
        Derivatives by the entries.
    d_x : ndarray of the shape of `x`, or with no block
        Derivative by the inputs; without a block it is left out.
    """
    width, both, wanted = x.shape[2], by_second.shape[0] > 0, d_x.shape[0] > 0
    zero = x.dtype.type(0)
    for block in range(x.shape[0]):
        for row in range(indptr.size - 1):
            g = by_first[block, row]
            for k in range(indptr[row], indptr[row + 1]):
                a, inputs = first[k], x[block, indices[k]]
                s = zero
                if both:
                    h, b, t = by_second[block, row], second[k] + second[k], zero
                    if wanted:
                        to = d_x[block, indices[k]]
                        for i in range(width):
                            p = h[i] * inputs[i]
                            s += g[i] * inputs[i]
                            t += p * inputs[i]
                            to[i] += a * g[i] + b * p
                    else:
                        for i in range(width):
                            s += g[i] * inputs[i]
                            t += h[i] * inputs[i] * inputs[i]
                    d_second[k] += t
                else:
                    for i in range(width):
                        s += g[i] * inputs[i]
                    if wanted:
                        to = d_x[block, indices[k]]
                        for i in range(width):
                            to[i] += a * g[i]
                d_first[k] += s


def warmup() -> None:
    """Compile the kernels for single and double precision."""
    indptr, indices = np.array([0, 1], dtype=np.int32), np.zeros(1, dtype=np.int32)
    for dtype in (np.float32, np.float64):
        one, cube = np.ones(1, dtype=dtype), np.ones((1, 1, 1), dtype=dtype)
        multiply_pair(indptr, indices, one, one, cube, cube.copy(), cube.copy())
        pair_derivatives(indptr, indices, one, one, cube, cube, cube, one.copy(), one.copy(), cube.copy())
