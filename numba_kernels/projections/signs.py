"""Products with a sparse matrix whose entries are signs, up to factors of its rows and columns.

An entry is one integer: its row within a band of rows, its column and its sign. So it takes 4 bytes where compressed
rows take 8 or 12, and a band, of input or of output, stays in the first-level cache. The sign costs nothing: a table
holds each number of the short side twice, as it is and negated. There is no loop over single rows, most of which have
an entry or two: processors predict badly where such loops end.
"""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import AnyArray, Float64Array, FloatArray

__all__ = ["BAND_BITS", "multiply", "multiply_transposed", "warmup"]

# Bands have at most so many rows that their number takes 12 bits.
BAND_BITS = 12
_ROWS = (1 << BAND_BITS) - 1


@kernel
def multiply(
    codes: AnyArray, ends: AnyArray, starts: AnyArray, scales: Float64Array, T: FloatArray, out: FloatArray
) -> None:
    """Write the products of the matrix with vectors.

    Parameters
    ----------
    codes : ndarray of uint32 of shape (nnz,)
        ``row + 4096 * (2 * column + negative)`` of each entry, with rows counted from the start of the band; band by
        band.
    ends : ndarray of int of shape (n_bands,)
        Where in `codes` the entries of each band end.
    starts : ndarray of int of shape (n_bands + 1,)
        Bands are rows ``starts[b]`` to ``starts[b + 1]``, at most 4096 of them.
    scales : ndarray of shape (n_bands,)
        Factor of the rows of each band.
    T : ndarray of shape (n, 2 * d)
        The vectors, multiplied with the factors of the columns; each number is followed by its negative.
    out : ndarray of shape (n, D)
        Of the type of T.
    """
    first = 0
    for band in range(ends.size):
        entries = codes[first : ends[band]]
        scale = out.dtype.type(scales[band])
        for row in range(out.shape[0]):
            table, sums = T[row], out[row, starts[band] : starts[band + 1]]
            sums[:] = 0.0
            for k in range(entries.size):
                sums[entries[k] & _ROWS] += table[entries[k] >> BAND_BITS]
            sums *= scale
        first = ends[band]


@kernel
def multiply_transposed(
    codes: AnyArray, ends: AnyArray, starts: AnyArray, scales: Float64Array, G: FloatArray, out: FloatArray
) -> None:
    """Write the products of the transposed matrix with vectors.

    Parameters
    ----------
    codes, ends, starts, scales : ndarray
        As in :func:`multiply`.
    G : ndarray of shape (n, D)
        The vectors.
    out : ndarray of shape (n, 2 * d)
        Of the type of G. Sums over the positive entries of each column, followed by those over the negative ones.
    """
    first = 0
    out[:] = 0.0
    for band in range(ends.size):
        entries = codes[first : ends[band]]
        scale = G.dtype.type(scales[band])
        for row in range(out.shape[0]):
            given, sums = G[row, starts[band] : starts[band + 1]], out[row]
            for k in range(entries.size):
                sums[entries[k] >> BAND_BITS] += scale * given[entries[k] & _ROWS]
        first = ends[band]


def warmup() -> None:
    """Compile the kernels of this file for single and double precision."""
    one = np.ones(1, np.int64)
    for dtype in (np.float32, np.float64):
        given = np.zeros(1, np.uint32), one, np.arange(2), np.ones(1)
        multiply(*given, np.ones((1, 2), dtype), np.empty((1, 1), dtype))
        multiply_transposed(*given, np.ones((1, 1), dtype), np.empty((1, 2), dtype))
