"""Sparse matrix times the channels of an image, which is a convolution of size 1 x 1.

The output is computed a strip of positions at a time. In a strip, a row of weights, or four rows with a common support,
takes up to 64 positions at once, whose sums never leave the registers.

Why. What bounds the speed is the traffic between processor and cache. Count it in vectors, of as many numbers as one
register holds, per product of a vector with a weight.

1. A sum that lives in memory costs a load and a store at every weight, beside the load of the input: 3 transfers.
2. Four weights added in one pass over that sum, "unrolled", share its load and its store: (4 + 1 + 1) / 4 = 1.5. A pass
   of its own has a fixed cost too, so its strip must be long: up to 1024 positions, 4 KB in single precision, of which
   the sum, four inputs and what comes next still fit into the first-level cache.
3. A sum in registers is neither loaded nor stored: 1 transfer. It needs no unrolling and no long strip.
4. Four rows that share their support use each loaded input four times: 1/4. Arithmetic is then the bound.

What a load costs depends on where it finds its number. From the second-level cache it takes about three times as long
as from the first, and a vector that straddles two cache lines counts twice. Channels that lie a multiple of 4096 bytes
apart compete for the same few places of the first-level cache. In such cases a strip of all channels is therefore
copied first, side by side and aligned, where each is used often enough; the copy is a load and a store per input.
A strip is as long as its channels fit into the first-level cache, within 64 and 1024 positions.
"""

from typing import Any, NamedTuple

import numpy as np

from sparsetheory.numba_kernels.inlined import entry, inlined
from sparsetheory.numba_kernels.sparse_conv.lanes import (
    add_multiple,
    array_at,
    clamp,
    has_wide_registers,
    lanes,
    load,
    peek,
    spread,
    store,
    store_first,
    width,
)
from sparsetheory.typing import AnyArray, FloatArray

__all__ = ["multiply", "strip_length", "warmup", "work_size"]

_LINE_BYTES = 64
_CACHE_BYTES = 32768
_PAGE_BYTES = 4096
# Copying channels pays from about so many uses of each on.
_USES = 8


# Four rows of 64 or 80 sums take 16 or 20 of the 32 registers of AVX-512; elsewhere they hold four rows of 16.
_WIDE = has_wide_registers()


class _Rows(NamedTuple):
    """Weights and biases."""

    indptr: AnyArray
    indices: AnyArray
    values: FloatArray
    bias: FloatArray
    n_blocks: int


class _Source(NamedTuple):
    """A strip of the input: entry i of channel c is at ``c * stride + first + i``."""

    array: FloatArray
    stride: int
    first: int


class _Target(NamedTuple):
    """A strip of the output: entry i of row r is at ``r * stride + first + i``, for i below `length`."""

    array: FloatArray
    stride: int
    first: int
    length: int
    lower: Any
    upper: Any


@inlined
def _put(target: _Target, row: int, at: int, total: Any) -> None:
    """Write the sums of a row from `at` on, as far as the strip goes."""
    start, left = row * target.stride + target.first + at, target.length - at
    total = clamp(total, target.lower, target.upper)
    if left >= width(total):
        store(target.array, start, total)
    else:
        store_first(target.array, start, total, left)


@inlined
def _input(rows: _Rows, k: int, source: _Source, at: int, like: Any) -> Any:
    """Return the inputs that entry k of the weights is for."""
    return load(source.array, np.int64(peek(rows.indices, k)) * source.stride + source.first + at, like)


@inlined
def _one_row(rows: _Rows, q: int, source: _Source, target: _Target, at: int, like: Any) -> None:
    row, shift = q + 3 * rows.n_blocks, 3 * np.int64(rows.indptr[rows.n_blocks])
    total = spread(rows.bias[row], like)
    for k in range(np.int64(rows.indptr[q]), np.int64(rows.indptr[q + 1])):
        total = add_multiple(total, peek(rows.values, shift + k), _input(rows, k, source, at, like))
    _put(target, row, at, total)


@inlined
def _four_rows(rows: _Rows, q: int, source: _Source, target: _Target, at: int, like: Any) -> None:
    row, bias = 4 * q, rows.bias
    a, b, c, d = (
        spread(bias[row], like),
        spread(bias[row + 1], like),
        spread(bias[row + 2], like),
        spread(bias[row + 3], like),
    )
    for k in range(np.int64(rows.indptr[q]), np.int64(rows.indptr[q + 1])):
        x = _input(rows, k, source, at, like)
        a = add_multiple(a, peek(rows.values, 4 * k), x)
        b = add_multiple(b, peek(rows.values, 4 * k + 1), x)
        c = add_multiple(c, peek(rows.values, 4 * k + 2), x)
        d = add_multiple(d, peek(rows.values, 4 * k + 3), x)
    _put(target, row, at, a)
    _put(target, row + 1, at, b)
    _put(target, row + 2, at, c)
    _put(target, row + 3, at, d)


@inlined
def _blocks(rows: _Rows, source: _Source, target: _Target, n_lines: int) -> None:
    """Do the blocks of four rows on one strip."""
    zero = rows.values.dtype.type(0)
    line = _LINE_BYTES // rows.values.itemsize
    for q in range(rows.n_blocks):
        done = 0
        if _WIDE:
            while n_lines - done >= 4:
                if n_lines - done == 5:
                    _four_rows(rows, q, source, target, done * line, lanes(zero, 5))
                    done += 5
                else:
                    _four_rows(rows, q, source, target, done * line, lanes(zero, 4))
                    done += 4
            if n_lines - done >= 2:
                _four_rows(rows, q, source, target, done * line, lanes(zero, 2))
                done += 2
        while done < n_lines:
            _four_rows(rows, q, source, target, done * line, lanes(zero, 1))
            done += 1


@inlined
def _singles(rows: _Rows, source: _Source, target: _Target, n_lines: int) -> None:
    """Do the rows after the blocks on one strip."""
    zero = rows.values.dtype.type(0)
    line = _LINE_BYTES // rows.values.itemsize
    for q in range(rows.n_blocks, rows.indptr.size - 1):
        done = 0
        while n_lines - done >= 4:
            if n_lines - done == 5:
                _one_row(rows, q, source, target, done * line, lanes(zero, 5))
                done += 5
            else:
                _one_row(rows, q, source, target, done * line, lanes(zero, 4))
                done += 4
        if n_lines - done >= 2:
            _one_row(rows, q, source, target, done * line, lanes(zero, 2))
            done += 2
        if done < n_lines:
            _one_row(rows, q, source, target, done * line, lanes(zero, 1))


@inlined
def _copy(x: FloatArray, channels: int, n: int, first: int, count: int, padded: int, copied: FloatArray) -> None:
    """Copy a strip of all channels; what is beyond its end is any number, and nothing is made of it."""
    like = lanes(x.dtype.type(0), 1)
    for c in range(channels):
        origin, to = first + c * n, c * padded
        if origin + padded <= x.size:
            for i in range(0, padded, width(like)):
                store(copied, to + i, load(x, origin + i, like))
        else:
            for i in range(count):
                copied[to + i] = x[origin + i]
            for i in range(count, padded):
                copied[to + i] = 0


@inlined
def _worth_copying(x: FloatArray, n_channels: int, n_positions: int, n_uses: int) -> bool:
    stride = n_positions * x.itemsize
    apart = x.ctypes.data % _LINE_BYTES == 0 and stride % _LINE_BYTES == 0 and stride % _PAGE_BYTES != 0
    near = n_channels * 4 * _LINE_BYTES <= _CACHE_BYTES
    return n_uses >= _USES * n_channels and not (apart and near)


@entry
def multiply(
    indptr: AnyArray,
    indices: AnyArray,
    values: FloatArray,
    n_blocks: int,
    x: int,
    n_images: int,
    n_channels: int,
    n_positions: int,
    bias: FloatArray,
    lower: Any,
    upper: Any,
    out: int,
    strip: int,
    work: FloatArray,
) -> None:
    """Write ``clip(W @ X + bias[:, None], lower, upper)`` for each of several images X.

    The first ``4 * n_blocks`` rows of W come in blocks of four, which have their columns in common; all others are
    single. ``2 nnz n_positions`` operations per image.

    Parameters
    ----------
    indptr : ndarray of int32 of shape (n_blocks + n_single + 1,)
        Entries ``indptr[q]`` to ``indptr[q + 1]`` belong to block or row q.
    indices : ndarray of int32 of shape (n_entries,)
        Column of each entry; not checked.
    values : ndarray of shape (4 * indptr[n_blocks] + entries of single rows,)
        Four for each entry of a block, from the upper row to the lower, then one for each entry of a single row.
    n_blocks : int
    x : int
        Address of ``n_images * n_channels * n_positions`` numbers of the type of the values, image after image, channel
        after channel. Addresses, because to make an array of a tensor takes longer than small products do.
    n_images, n_channels, n_positions : int
        At least 1.
    bias : ndarray of shape (4 * n_blocks + n_single,)
    lower, upper : floating
        Of the type of the values.
    out : int
        Address of ``n_images * bias.size * n_positions`` numbers, which are overwritten; no part of the input.
    strip : int
        Positions done together.
    work : ndarray of shape (work_size(...),)
        Overwritten; best aligned to 64 bytes.
    """
    rows = _Rows(indptr, indices, values, bias, n_blocks)
    line = _LINE_BYTES // values.itemsize
    inputs = array_at(x, n_images * n_channels * n_positions, values)
    outputs = array_at(out, n_images * bias.size * n_positions, values)
    copying = _worth_copying(inputs, n_channels, n_positions, indices.size)
    for image in range(n_images):
        start = 0
        while start < n_positions:
            left = n_positions - start
            # A last line of its own would cost a pass over the weights that is nearly as long as that of a strip.
            count = left if left <= strip + line else strip
            n_lines = (count + line - 1) // line
            first = image * n_channels * n_positions + start
            source = _Source(inputs, n_positions, first)
            if copying or n_lines * line != count:
                _copy(inputs, n_channels, n_positions, first, count, n_lines * line, work)
                source = _Source(work, n_lines * line, 0)
            target = _Target(outputs, n_positions, image * bias.size * n_positions + start, count, lower, upper)
            _blocks(rows, source, target, n_lines)
            _singles(rows, source, target, n_lines)
            start += count


def strip_length(n_channels: int, itemsize: int) -> int:
    """Return how many positions of all channels fit into the first-level cache, within 256 and 4096 bytes of each."""
    lines = _CACHE_BYTES // max(n_channels, 1) // _LINE_BYTES // 4 * 4
    return min(max(lines, 4), 64) * _LINE_BYTES // itemsize


def work_size(n_channels: int, n_positions: int, strip: int, itemsize: int) -> int:
    """Return how many numbers :func:`multiply` needs to work with."""
    line = _LINE_BYTES // itemsize
    return n_channels * -(-min(strip + line, n_positions) // line) * line


def warmup() -> None:
    """Compile the kernel for single and double precision."""
    indptr, indices = np.array([0, 1, 2], dtype=np.int32), np.zeros(2, dtype=np.int32)
    for dtype in (np.float32, np.float64):
        one = np.ones(5, dtype=dtype)
        work = np.empty(work_size(1, 1, 64, 8), dtype=dtype)
        x, out = np.ones(1, dtype=dtype), np.empty(5, dtype=dtype)
        given = indptr, indices, one, 1, x.ctypes.data, 1, 1, 1, one, one[0], one[0], out.ctypes.data
        multiply(*given, 64, work)
