"""Walsh-Hadamard transforms of rows, and what a fastfood projection does around them.

What bounds the speed is memory, not arithmetic: a plain loop over pairs reads and writes everything ``log2 L`` times.
Here, sixteen cache lines at a time are transformed in registers, and their results joined in eights, also in registers.
The order is depth first: eight parts are joined as soon as the last of them is done, while all still lie in the cache.
So a cache that holds a part spares all outer ones the passes below: 2**20 numbers of single precision come from the
third-level cache and go there twice. Eight parts lie a power of two apart, and so compete for the same places of a
cache; sixteen would be too many for the first-level cache of most processors.
"""

import numpy as np

from sparsetheory.numba_kernels.inlined import inlined
from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.numba_kernels.projections.butterflies import LINE_BYTES, combine, transform_lines
from sparsetheory.typing import AnyArray, FloatArray

__all__ = ["gather_and_transform", "scatter", "transform", "warmup"]

# Sixteen vectors are half the registers of AVX-512.
_LINES = 16


@inlined
def _transform_few(source: FloatArray, first: int, target: FloatArray, start: int, size: int) -> None:
    """Transform a power of two of numbers, fewer than are in a cache line."""
    for i in range(size):
        target[start + i] = source[first + i]
    bit = 1
    while bit < size:
        for i in range(start, start + size):
            if not (i - start) & bit:
                a, b = target[i], target[i + bit]
                target[i], target[i + bit] = a + b, a - b
        bit *= 2


@inlined
def _transform_chunk(source: FloatArray, first: int, target: FloatArray, start: int, size: int) -> None:
    """Transform a power of two of numbers, at most sixteen cache lines."""
    lines = size * source.itemsize // LINE_BYTES
    if lines == 16:
        transform_lines(source, first, target, start, 16)
    elif lines == 8:
        transform_lines(source, first, target, start, 8)
    elif lines == 4:
        transform_lines(source, first, target, start, 4)
    elif lines == 2:
        transform_lines(source, first, target, start, 2)
    elif lines == 1:
        transform_lines(source, first, target, start, 1)
    else:
        _transform_few(source, first, target, start, size)


@inlined
def _join(out: FloatArray, first: int, size: int, radix: int) -> None:
    """Join 2, 4 or 8 neighbouring parts, transformed each, to the transform of all."""
    step = LINE_BYTES // out.itemsize
    if radix == 8:
        for i in range(first, first + size, step):
            combine(out, i, size, 8)
    elif radix == 4:
        for i in range(first, first + size, step):
            combine(out, i, size, 4)
    else:
        for i in range(first, first + size, step):
            combine(out, i, size, 2)


@inlined
def _join_finished(out: FloatArray, end: int, chunk: int) -> None:
    """Join whatever is complete once the chunk that ends at `end` is done."""
    n_done, exponent = end // chunk, 0
    while chunk << exponent < out.size:
        exponent += 1
    # The odd radix comes first, where it costs least.
    size, radix = chunk, 1 << exponent % 3
    if radix == 1:
        radix = 8
    while size < out.size and n_done % radix == 0:
        _join(out, end - size * radix, size, radix)
        n_done, size, radix = n_done // radix, size * radix, 8


@kernel
def transform(X: FloatArray, out: FloatArray) -> None:
    """Write the transforms of rows, which zeros fill up.

    Parameters
    ----------
    X : ndarray of shape (n, m)
        C-ordered, of single or double precision.
    out : ndarray of shape (n, L)
        Of the type of X, C-ordered; L is a power of two, at least m. May be X itself.
    """
    size = out.shape[1]
    chunk = min(size, _LINES * LINE_BYTES // out.itemsize)
    for row in range(out.shape[0]):
        given, target = X[row], out[row]
        for start in range(0, size, chunk):
            if start + chunk <= given.size:
                _transform_chunk(given, start, target, start, chunk)
            else:
                for i in range(start, start + chunk):
                    target[i] = given[i] if i < given.size else 0.0
                # The transform of zeros is zeros.
                if start < given.size:
                    _transform_chunk(target, start, target, start, chunk)
            _join_finished(target, start + chunk, chunk)


@kernel
def gather_and_transform(X: FloatArray, index: AnyArray, factors: FloatArray, out: FloatArray) -> None:
    """Write the transforms of rows ``factors * x[index]``.

    Parameters
    ----------
    X : ndarray of shape (n, m)
        C-ordered, of single or double precision.
    index : ndarray of unsigned int of shape (L,)
    factors : ndarray of shape (L,)
        Of the type of X.
    out : ndarray of shape (n, L)
        Of the type of X, C-ordered; L is a power of two.
    """
    size = out.shape[1]
    chunk = min(size, _LINES * LINE_BYTES // out.itemsize)
    ahead = min(size, 4 * chunk)
    for row in range(out.shape[0]):
        given, target = X[row], out[row]
        for start in range(0, size, chunk):
            # Numbers that were written one by one just now cannot be read as a vector without waiting.
            if start % ahead == 0:
                part, places = target[start : start + ahead], index[start : start + ahead]
                weights = factors[start : start + ahead]
                for i in range(part.size):
                    part[i] = weights[i] * given[places[i]]
            _transform_chunk(target, start, target, start, chunk)
            _join_finished(target, start + chunk, chunk)


@kernel
def scatter(X: FloatArray, index: AnyArray, factors: FloatArray, out: FloatArray) -> None:
    """Write, for each row, the sums of the entries of ``factors * x`` that share an index.

    Parameters
    ----------
    X : ndarray of shape (n, L)
    index : ndarray of unsigned int of shape (L,)
    factors : ndarray of shape (L,)
        Of the type of X.
    out : ndarray of shape (n, m)
        Of the type of X.
    """
    out[:] = 0.0
    for row in range(out.shape[0]):
        given, sums = X[row], out[row]
        for i in range(given.size):
            sums[index[i]] += factors[i] * given[i]


def warmup() -> None:
    """Compile the kernels of this file for single and double precision, and short and long indices."""
    for dtype in (np.float32, np.float64):
        rows, factors = np.ones((1, 2), dtype), np.ones(2, dtype)
        transform(rows, rows)
        for integer in (np.uint16, np.uint32):
            index = np.arange(2, dtype=integer)
            gather_and_transform(rows, index, factors, np.empty((1, 2), dtype))
            scatter(rows, index, factors, np.empty((1, 2), dtype))
