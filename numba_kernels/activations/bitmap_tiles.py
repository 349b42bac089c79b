"""Products with tiles of 64 numbers that are kept as a bitmap and the numbers that are not zero.

A tile costs the traffic of its bitmap, its place and its packed numbers. With AVX-512 it is put back in registers, by
one instruction for 16 numbers, and then multiplied as if it were dense, so that memory is the bound. Elsewhere a loop
goes over the bits that are set, some five times as slow. Sums stay in registers: tiles of keys hold 64 tokens of one
channel and add to 64 scores, tiles of values hold 64 channels of one token and add to 64 outputs. Four queries of one
head share a tile that is in registers.
"""

import numpy as np

from sparsetheory.numba_kernels.activations.expand import expand, first_bit, reverse_bits, tile_of
from sparsetheory.numba_kernels.activations.prefetch import prefetch
from sparsetheory.numba_kernels.inlined import entry, inlined
from sparsetheory.numba_kernels.sparse_conv.lanes import (
    add_multiple,
    has_wide_registers,
    load,
    peek,
    spread,
    store,
    store_first,
)
from sparsetheory.typing import AnyArray, FloatArray

__all__ = ["key_scores", "value_sums", "warmup"]

_TILE = 64
# Numbers, in single precision 4 KB.
_AHEAD = 1024
_TILES_AHEAD = 64
_WIDE = has_wide_registers()


@entry
def key_scores(
    words: AnyArray,
    offsets: AnyArray,
    values: FloatArray,
    starts: AnyArray,
    q: FloatArray,
    sizes: tuple[int, int, int],
    out: FloatArray,
) -> None:
    """Compute products of all keys with the queries of their head.

    Parameters
    ----------
    words : ndarray of uint64 of shape (heads * blocks * width,)
        Bitmaps, by head, block of 64 tokens and channel. Bit 63 - i belongs to token i of the block.
    offsets : ndarray of int32 of shape (heads * (blocks * width + 1),)
        Where the values of a tile begin, from the start of the head on, in units of two values; then their end.
    values : ndarray
    starts : ndarray of int64 of shape (heads,)
        Where the values of a head begin.
    q : ndarray of shape (heads * n_queries * width,)
        Of the type of the values.
    sizes : tuple of int
        n_queries, n_tokens, width; bits of tokens beyond are 0.
    out : ndarray of shape (heads * n_queries * n_tokens,)
        Overwritten.
    """
    n_queries, n_tokens, width = sizes
    blocks = (n_tokens + _TILE - 1) // _TILE
    for head in range(starts.size):
        for block in range(blocks):
            tile = (head * blocks + block) * width
            place, left = tile + head, min(_TILE, n_tokens - _TILE * block)
            i, end = head * n_queries, (head + 1) * n_queries
            while _WIDE and i + 4 <= end:
                to = i * n_tokens + _TILE * block
                _four_scores(
                    words, offsets, values, starts[head], tile, place, q, i * width, width, out, to, n_tokens, left
                )
                i += 4
            while i < end:
                to = i * n_tokens + _TILE * block
                if _WIDE:
                    _scores(words, offsets, values, starts[head], tile, place, q, i * width, width, out, to, left)
                else:
                    out[to : to + left] = 0
                    for c in range(width):
                        at = starts[head] + 2 * np.int64(peek(offsets, place + c))
                        _scan(peek(words, tile + c), values, at, peek(q, i * width + c), out, to)
                i += 1


@inlined
def _ask(words: AnyArray, tile: int, values: FloatArray, at: int) -> None:
    """Ask for the bitmap of a later tile, and for 32 values; fuller tiles are hardly faster than dense."""
    prefetch(words, tile + _TILES_AHEAD)
    prefetch(values, at + _AHEAD)
    prefetch(values, at + _AHEAD + _TILE // 4)


@inlined
def _scores(
    words: AnyArray,
    offsets: AnyArray,
    values: FloatArray,
    start: int,
    tile: int,
    place: int,
    q: FloatArray,
    first: int,
    width: int,
    out: FloatArray,
    to: int,
    left: int,
) -> None:
    """Compute the scores of a block of tokens for one query."""
    total = spread(values.dtype.type(0), tile_of(values))
    for c in range(width):
        at = start + 2 * np.int64(peek(offsets, place + c))
        _ask(words, tile + c, values, at)
        keys = expand(values, at, reverse_bits(peek(words, tile + c)), total)
        total = add_multiple(total, peek(q, first + c), keys)
    store_first(out, to, total, left)


@inlined
def _four_scores(
    words: AnyArray,
    offsets: AnyArray,
    values: FloatArray,
    start: int,
    tile: int,
    place: int,
    q: FloatArray,
    first: int,
    width: int,
    out: FloatArray,
    to: int,
    step: int,
    left: int,
) -> None:
    """Compute the scores of a block of tokens for four queries, whose scores lie `step` apart; tiles are read once."""
    like = tile_of(values)
    zero = spread(values.dtype.type(0), like)
    one, two, three, four = zero, zero, zero, zero
    for c in range(width):
        at = start + 2 * np.int64(peek(offsets, place + c))
        _ask(words, tile + c, values, at)
        keys = expand(values, at, reverse_bits(peek(words, tile + c)), like)
        one = add_multiple(one, peek(q, first + c), keys)
        two = add_multiple(two, peek(q, first + width + c), keys)
        three = add_multiple(three, peek(q, first + 2 * width + c), keys)
        four = add_multiple(four, peek(q, first + 3 * width + c), keys)
    store_first(out, to, one, left)
    store_first(out, to + step, two, left)
    store_first(out, to + 2 * step, three, left)
    store_first(out, to + 3 * step, four, left)


@inlined
def _scan(word: np.uint64, values: FloatArray, at: int, factor: float, out: FloatArray, to: int) -> None:
    """Add a multiple of a tile, bit by bit."""
    while word != 0:
        i = first_bit(word)
        out[to + i] += factor * peek(values, at)
        at += 1
        word ^= np.uint64(1) << np.uint64(_TILE - 1 - i)


@entry
def value_sums(
    words: AnyArray,
    offsets: AnyArray,
    values: FloatArray,
    starts: AnyArray,
    weights: FloatArray,
    sizes: tuple[int, int, int],
    out: FloatArray,
) -> None:
    """Add the weighted sums of all values of a head, for each row of weights of that head.

    Parameters
    ----------
    words : ndarray of uint64 of shape (heads * blocks * columns * 64,)
        Bitmaps, by head, block of 64 tokens, column of 64 channels and token. Bit 63 - i belongs to channel i of the
        column.
    offsets, values, starts
        As in :func:`key_scores`.
    weights : ndarray of shape (heads * n_queries * n_tokens,)
    sizes : tuple of int
        n_queries, n_tokens, width.
    out : ndarray of shape (heads * n_queries * columns * 64,)
        Added to.
    """
    n_queries, n_tokens, width = sizes
    columns = (width + _TILE - 1) // _TILE
    blocks = (n_tokens + _TILE - 1) // _TILE
    for head in range(starts.size):
        for block in range(blocks):
            for column in range(columns):
                tile = ((head * blocks + block) * columns + column) * _TILE
                place, left = tile + head, min(_TILE, n_tokens - _TILE * block)
                i, end = head * n_queries, (head + 1) * n_queries
                while _WIDE and i + 4 <= end:
                    to, step = (i * columns + column) * _TILE, columns * _TILE
                    first = i * n_tokens + _TILE * block
                    _four_sums(
                        words, offsets, values, starts[head], tile, place, weights, first, n_tokens, left, out, to, step
                    )
                    i += 4
                while i < end:
                    to = (i * columns + column) * _TILE
                    first = i * n_tokens + _TILE * block
                    if _WIDE:
                        _sums(words, offsets, values, starts[head], tile, place, weights, first, left, out, to)
                    else:
                        for t in range(left):
                            at = starts[head] + 2 * np.int64(peek(offsets, place + t))
                            _scan(peek(words, tile + t), values, at, peek(weights, first + t), out, to)
                    i += 1


@inlined
def _sums(
    words: AnyArray,
    offsets: AnyArray,
    values: FloatArray,
    start: int,
    tile: int,
    place: int,
    weights: FloatArray,
    first: int,
    left: int,
    out: FloatArray,
    to: int,
) -> None:
    """Add a block of tokens to the sums of 64 channels."""
    total = load(out, to, tile_of(values))
    for t in range(left):
        at = start + 2 * np.int64(peek(offsets, place + t))
        _ask(words, tile + t, values, at)
        row = expand(values, at, reverse_bits(peek(words, tile + t)), total)
        total = add_multiple(total, peek(weights, first + t), row)
    store_first(out, to, total, _TILE)


@inlined
def _four_sums(
    words: AnyArray,
    offsets: AnyArray,
    values: FloatArray,
    start: int,
    tile: int,
    place: int,
    weights: FloatArray,
    first: int,
    n_tokens: int,
    left: int,
    out: FloatArray,
    to: int,
    step: int,
) -> None:
    """Add a block of tokens to the sums of 64 channels of four queries, `step` apart; tiles are read once."""
    like = tile_of(values)
    one, two = load(out, to, like), load(out, to + step, like)
    three, four = load(out, to + 2 * step, like), load(out, to + 3 * step, like)
    for t in range(left):
        at = start + 2 * np.int64(peek(offsets, place + t))
        _ask(words, tile + t, values, at)
        row = expand(values, at, reverse_bits(peek(words, tile + t)), like)
        one = add_multiple(one, peek(weights, first + t), row)
        two = add_multiple(two, peek(weights, first + n_tokens + t), row)
        three = add_multiple(three, peek(weights, first + 2 * n_tokens + t), row)
        four = add_multiple(four, peek(weights, first + 3 * n_tokens + t), row)
    store(out, to, one)
    store(out, to + step, two)
    store(out, to + 2 * step, three)
    store(out, to + 3 * step, four)


def warmup() -> None:
    """Compile everything in this module."""
    words, offsets, starts = np.zeros(_TILE, np.uint64), np.zeros(_TILE + 1, np.int32), np.zeros(1, np.int64)
    for kind in (np.float32, np.float64):
        one, tile = np.ones(1, kind), np.zeros(_TILE, kind)
        key_scores(words[:1], offsets[:2], one, starts, one, (1, 1, 1), one.copy())
        value_sums(words, offsets, one, starts, one, (1, 1, 1), tile)
