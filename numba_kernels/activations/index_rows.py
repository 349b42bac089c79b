"""Products with packed numbers and their places, one byte each, 16 rows side by side.

Every product is a sum over the numbers of a row, each times an entry of a short vector that its byte points to and that
stays in the first-level cache. Lines hold one number of each of 16 rows, so the sums of all 16 grow in one register,
and no lanes are left over at the end of a row. Keys are rows of tokens, all of one length. Values are rows of channels,
one for each group of at most 256 tokens, where rows of about the same length lie side by side: a sum over tokens for
each channel needs no store for each number, as adding token after token would.

Source of the order of rows by length: SELL-C-sigma of Kreutzer, Hager, Wellein, Fehske, Bishop, "A unified sparse
matrix data format for efficient general sparse matrix-vector multiplication on modern processors with wide SIMD units",
SIAM J. Sci. Comput. 36 (2014), arXiv 1307.6209.
"""

from typing import Any

import numpy as np

from sparsetheory.numba_kernels.activations.gather import GATHERED, gather, zeros_of
from sparsetheory.numba_kernels.activations.prefetch import prefetch
from sparsetheory.numba_kernels.inlined import entry, inlined
from sparsetheory.numba_kernels.sparse_conv.lanes import add_product, load, peek, store, store_first
from sparsetheory.typing import AnyArray, FloatArray

__all__ = ["key_scores", "value_sums", "warmup"]

# Numbers; in single precision 4 KB.
_AHEAD = 1024


@inlined
def _dots(values: FloatArray, indices: AnyArray, start: int, stop: int, x: FloatArray, first: int) -> Any:
    """Return the sums of 16 rows of packed numbers times the entries of x that they belong to, from `first` on."""
    total: Any = zeros_of(values)
    for at in range(start, stop, GATHERED):
        prefetch(values, at + _AHEAD)
        prefetch(indices, at + _AHEAD)
        total = add_product(total, load(values, at, total), gather(x, first, indices, at, total))
    return total


@entry
def key_scores(
    values: FloatArray, indices: AnyArray, q: FloatArray, sizes: tuple[int, int, int, int, int], out: FloatArray
) -> None:
    """Compute products of all keys with the queries of their head.

    Parameters
    ----------
    values : ndarray of shape (heads * blocks * n_nonzero * 16,)
        By head, block of 16 tokens, number of the entry, and token.
    indices : ndarray of uint8, as many
        Channels.
    q : ndarray of shape (heads * n_queries * width,)
    sizes : tuple of int
        heads, n_queries, n_tokens, width, n_nonzero. Tokens beyond have valid channels.
    out : ndarray of shape (heads * n_queries * n_tokens,)
        Overwritten.
    """
    heads, n_queries, n_tokens, width, n_nonzero = sizes
    blocks = (n_tokens + GATHERED - 1) // GATHERED
    for head in range(heads):
        for block in range(blocks):
            start = (head * blocks + block) * n_nonzero * GATHERED
            # The packed keys stay in the first-level cache while the queries of a group take turns.
            for i in range(head * n_queries, (head + 1) * n_queries):
                found = _dots(values, indices, start, start + n_nonzero * GATHERED, q, i * width)
                left = min(GATHERED, n_tokens - GATHERED * block)
                store_first(out, i * n_tokens + GATHERED * block, found, left)


@entry
def value_sums(
    values: FloatArray,
    indices: AnyArray,
    offsets: AnyArray,
    channels: AnyArray,
    starts: AnyArray,
    weights: FloatArray,
    sizes: tuple[int, int, int, int],
    out: FloatArray,
    work: FloatArray,
) -> None:
    """Add the weighted sums of all values of a head, for each row of weights of that head.

    Parameters
    ----------
    values : ndarray
        By head, group of tokens, block of 16 channels, number of the entry, and channel.
    indices : ndarray of uint8, as many
        Token within the group.
    offsets : ndarray of int32 of shape (heads * (groups * blocks + 1),)
        Where a block begins, from the start of its head on, in lines of 16 values; then the end.
    channels : ndarray of int32 of shape (heads * groups * blocks * 16,)
        To which channel of the outputs a row belongs.
    starts : ndarray of int64 of shape (heads,)
        Where the values of a head begin.
    weights : ndarray of shape (heads * n_queries * n_tokens,)
    sizes : tuple of int
        n_queries, n_tokens, width, tokens in a group; the width is a multiple of 16.
    out : ndarray of shape (heads * n_queries * width,)
        Added to.
    work : ndarray of shape (16,)
        Overwritten.
    """
    n_queries, n_tokens, width, group = sizes
    blocks, groups = width // GATHERED, (n_tokens + group - 1) // group
    for head in range(starts.size):
        for g in range(groups):
            for block in range((head * groups + g) * blocks, (head * groups + g + 1) * blocks):
                start = starts[head] + GATHERED * np.int64(peek(offsets, block + head))
                stop = starts[head] + GATHERED * np.int64(peek(offsets, block + head + 1))
                for i in range(head * n_queries, (head + 1) * n_queries):
                    store(work, 0, _dots(values, indices, start, stop, weights, i * n_tokens + g * group))
                    for c in range(GATHERED):
                        out[i * width + np.int64(peek(channels, block * GATHERED + c))] += work[c]


def warmup() -> None:
    """Compile everything in this module."""
    indices, offsets, starts = np.zeros(GATHERED, np.uint8), np.array([0, 1], np.int32), np.zeros(1, np.int64)
    channels = np.arange(GATHERED, dtype=np.int32)
    for kind in (np.float32, np.float64):
        line, one = np.ones(GATHERED, kind), np.ones(1, kind)
        key_scores(line, indices, one, (1, 1, 1, 1, 1), one.copy())
        sizes = (1, 1, GATHERED, 256)
        value_sums(line, indices, offsets, channels, starts, one, sizes, line.copy(), line.copy())
