"""Products with rows that are kept as packed numbers and their places, one byte each.

Every product is a sum over the numbers of a row, each times an entry of a short vector that its byte points to and that
stays in the first-level cache. Keys are rows of tokens, all of one length. Values are rows of channels, one for each
group of at most 256 tokens, since a sum over tokens for each channel needs no store for each number, as adding token
after token would.
"""

from typing import Any

import numpy as np

from sparsetheory.numba_kernels.inlined import entry, inlined
from sparsetheory.numba_kernels.sparse_conv.lanes import peek
from sparsetheory.typing import AnyArray, FloatArray

__all__ = ["key_scores", "value_sums", "warmup"]

# Keys of so many tokens stay in the first-level cache while the queries of a group take turns.
_BLOCK = 64


@inlined(fastmath=True)
def _dot(values: FloatArray, indices: AnyArray, start: int, stop: int, x: FloatArray, first: int) -> Any:
    """Return the sum of packed numbers times the entries of x that they belong to, from `first` on."""
    total: Any = values.dtype.type(0)
    for j in range(start, stop):
        total += peek(values, j) * peek(x, first + np.int64(peek(indices, j)))
    return total


@entry
def key_scores(
    values: FloatArray, indices: AnyArray, q: FloatArray, sizes: tuple[int, int, int, int, int], out: FloatArray
) -> None:
    """Compute products of all keys with the queries of their head.

    Parameters
    ----------
    values : ndarray of shape (heads * n_tokens * n_nonzero,)
    indices : ndarray of uint8 of shape (heads * n_tokens * n_nonzero,)
        Channels.
    q : ndarray of shape (heads * n_queries * width,)
    sizes : tuple of int
        heads, n_queries, n_tokens, width, n_nonzero.
    out : ndarray of shape (heads * n_queries * n_tokens,)
        Overwritten.
    """
    heads, n_queries, n_tokens, width, n_nonzero = sizes
    for head in range(heads):
        for block in range(0, n_tokens, _BLOCK):
            for i in range(head * n_queries, (head + 1) * n_queries):
                for t in range(block, min(block + _BLOCK, n_tokens)):
                    at = (head * n_tokens + t) * n_nonzero
                    out[i * n_tokens + t] = _dot(values, indices, at, at + n_nonzero, q, i * width)


@entry
def value_sums(
    values: FloatArray,
    indices: AnyArray,
    offsets: AnyArray,
    starts: AnyArray,
    weights: FloatArray,
    sizes: tuple[int, int, int, int],
    out: FloatArray,
) -> None:
    """Add the weighted sums of all values of a head, for each row of weights of that head.

    Parameters
    ----------
    values : ndarray
        By head, group of tokens, and channel.
    indices : ndarray of uint8, as many
        Token within the group.
    offsets : ndarray of int32 of shape (heads * (groups * width + 1),)
        Where a row begins, from the start of its head on; then the end.
    starts : ndarray of int64 of shape (heads,)
        Where the values of a head begin.
    weights : ndarray of shape (heads * n_queries * n_tokens,)
    sizes : tuple of int
        n_queries, n_tokens, width, tokens in a group.
    out : ndarray of shape (heads * n_queries * width,)
        Added to.
    """
    n_queries, n_tokens, width, group = sizes
    groups = (n_tokens + group - 1) // group
    for head in range(starts.size):
        for g in range(groups):
            row = (head * groups + g) * width + head
            for i in range(head * n_queries, (head + 1) * n_queries):
                first = i * n_tokens + g * group
                start = starts[head] + np.int64(peek(offsets, row))
                for c in range(width):
                    stop = starts[head] + np.int64(peek(offsets, row + c + 1))
                    out[i * width + c] += _dot(values, indices, start, stop, weights, first)
                    start = stop


def warmup() -> None:
    """Compile everything in this module."""
    indices, offsets, starts = np.zeros(1, np.uint8), np.array([0, 1], np.int32), np.zeros(1, np.int64)
    for kind in (np.float32, np.float64):
        one, out = np.ones(1, kind), np.ones(1, kind)
        key_scores(one, indices, one, (1, 1, 1, 1, 1), out)
        value_sums(one, indices, offsets, starts, one, (1, 1, 1, 256), out)
