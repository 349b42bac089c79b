"""Public directions for many users at once: signs of projections, and sums of signed directions.

The numbers are those of ``sparsetheory.privacy.device.directions``, bit for bit: Philox4x64-10 with the public seed as
its key, and the cells of a table of the half-normal law.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from sparsetheory.numba_kernels.inlined import entry, inlined
from sparsetheory.typing import Float64Array, Int64Array

__all__ = [
    "LATTICE",
    "joint_signs",
    "normal_integers",
    "product_choices",
    "public_normals",
    "sketch_signs",
    "sphere_signs",
    "sphere_sum",
    "warmup",
]

_Words = tuple[np.uint64, np.uint64, np.uint64, np.uint64]
_Key = tuple[np.uint64, np.uint64, np.uint64]
"""Lower and upper half of the public seed, and the number of the message."""
_Table = tuple[NDArray[np.unsignedinteger], NDArray[np.unsignedinteger], np.uint64]
"""Thresholds of the cells, guide and shift."""
_Users = NDArray[np.uint64]
_Signs = NDArray[np.int8]

_M0, _M1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_W0, _W1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_ONE = np.uint64(1)
LATTICE = 2.0**30
"""Directions on the unit sphere are rounded to multiples of 2^-30, so that sums of them are sums of integers."""


def _multiply(_typing_context: Any, a: types.Type, b: types.Type) -> Any:
    halves = types.UniTuple(types.uint64, 2)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        upper = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), word)
        return context.make_tuple(builder, halves, (upper, builder.trunc(product, word)))

    return halves(types.uint64, types.uint64), generate


_wide_product: Any = intrinsic(_multiply)
"""Returns the upper and the lower 64 bits of a product of two words: one instruction, which Numba does not offer."""


@inlined
def _philox(index: np.uint64, stream: np.uint64, user: np.uint64, key0: np.uint64, key1: np.uint64) -> _Words:
    """Return the four words of one block; `index` counts the blocks of a user from one."""
    a, b, c, d = index, stream, user, np.uint64(0)
    for _ in range(_ROUNDS):
        high0, low0 = _wide_product(_M0, a)
        high1, low1 = _wide_product(_M1, c)
        a, b, c, d = high1 ^ b ^ key0, low1, high0 ^ d ^ key1, low0
        key0 += _W0
        key1 += _W1
    return a, b, c, d


@inlined
def _normal(word: np.uint64, table: _Table) -> float:
    """Return the odd integer of a random word: the lowest bit is the sign, the others choose the cell.

    The guide holds the cell of the first word of every stretch of 2^shift words. Nearly always the right cell is this
    one or the next, which one comparison without a jump finds.
    """
    thresholds, guide, shift = table
    magnitude = word >> _ONE
    cell = np.int64(guide[magnitude >> shift])
    cell += np.int64(thresholds[cell] <= magnitude)
    while thresholds[cell] <= magnitude:
        cell += 1
    return float((1 - 2 * np.int64(word & _ONE)) * (2 * cell + 1))


@inlined
def _fill(key: _Key, user: np.uint64, table: _Table, words: _Users, out: Float64Array) -> None:
    """Fill a row with the normal numbers of one user: odd integers in double precision.

    All words come first: the multiplications of several blocks then overlap, which jumps between them would prevent.
    """
    key0, key1, stream = key
    for block in range((out.size + 7) // 8):
        a, b, c, d = _philox(np.uint64(block) + _ONE, stream, user, key0, key1)
        words[4 * block], words[4 * block + 1], words[4 * block + 2], words[4 * block + 3] = a, b, c, d
    for pair in range(out.size // 2):
        out[2 * pair] = _normal(words[pair] & _LOW, table)
        out[2 * pair + 1] = _normal(words[pair] >> _32, table)
    if out.size % 2:
        out[out.size - 1] = _normal(words[out.size // 2] & _LOW, table)


@entry
def product_choices(
    key: _Key, users: _Users, cross_words: np.uint64, n_second: int, n_cross: int, out: Int64Array
) -> None:
    """Write which product each user sends: one of the second moments, or behind them one of the cross moments.

    The first public word decides between the two, the second one chooses among them.
    """
    key0, key1, stream = key
    for i in range(users.size):
        block, place, _, _ = _philox(_ONE, stream, users[i], key0, key1)
        if n_second == 0 or block < cross_words:
            out[i] = n_second + np.int64(_wide_product(place, np.uint64(n_cross))[0])
        else:
            out[i] = np.int64(_wide_product(place, np.uint64(n_second))[0])


@entry
def public_normals(key: _Key, users: _Users, table: _Table, words: _Users, out: Float64Array) -> None:
    """Fill row i of `out` with the public normal numbers of user i."""
    for i in range(users.size):
        _fill(key, users[i], table, words, out[i])


@entry
def normal_integers(words: _Users, table: _Table, out: Int64Array) -> None:
    """Write the odd integers of random words."""
    for i in range(words.size):
        out[i] = np.int64(_normal(words[i], table))


@inlined(fastmath=True)
def _product(a: Float64Array, b: Float64Array) -> float:
    total = 0.0
    for j in range(a.size):
        total += a[j] * b[j]
    return total


@entry
def sphere_signs(
    V: Float64Array, key: _Key, users: _Users, table: _Table, words: _Users, row: Float64Array, signs: _Signs
) -> None:
    """Write the sign of the projection of every row on its public direction; zero counts as positive."""
    for i in range(users.size):
        _fill(key, users[i], table, words, row)
        signs[i] = -1 if _product(row, V[i]) < 0 else 1


@inlined
def _fill_products(
    features: Float64Array, response: float, weights: Float64Array, step: float, out: Float64Array
) -> None:
    """Fill a row with all products of one user, weighted and on the lattice. Not `fastmath`: every bit counts."""
    q, start = features.size, 0
    for a in range(q):
        for b in range(a, q):
            out[start + b - a] = np.rint(features[a] * features[b] * weights[start + b - a] / step) * step
        start += q - a
    for a in range(q):
        out[start + a] = np.rint(features[a] * response * weights[start + a] / step) * step


@entry
def joint_signs(
    features: Float64Array,
    responses: Float64Array,
    weights: Float64Array,
    step: float,
    key: _Key,
    users: _Users,
    table: _Table,
    words: _Users,
    row: Float64Array,
    signs: _Signs,
    squares: Float64Array,
) -> None:
    """Write what :func:`sphere_signs` writes for the vectors of all products, and the squares of their norms.

    A vector of products is much longer than its record. It is made here, so that it never leaves the first cache.
    """
    vector = row[weights.size :]
    direction = row[: weights.size]
    for i in range(users.size):
        _fill_products(features[i], responses[i], weights, step, vector)
        _fill(key, users[i], table, words, direction)
        signs[i] = -1 if _product(direction, vector) < 0 else 1
        squares[i] = _product(vector, vector)


@entry
def sphere_sum(
    signs: _Signs, key: _Key, users: _Users, table: _Table, words: _Users, row: Float64Array, out: Int64Array
) -> None:
    """Add to `out` the signed public directions on the sphere, as integers in units of 2^-30."""
    for i in range(users.size):
        _fill(key, users[i], table, words, row)
        squares = 0.0  # a sum of integers below 2^53: exact in any order
        for j in range(row.size):
            squares += row[j] * row[j]
        scale = LATTICE / math.sqrt(squares)
        sign = np.int64(signs[i])
        for j in range(row.size):
            out[j] += sign * np.int64(np.rint(row[j] * scale))


@entry(fastmath=True)
def sketch_signs(
    Z: Float64Array, key: _Key, users: _Users, table: _Table, words: _Users, row: Float64Array, signs: _Signs
) -> None:
    """Write the sign of the product of the projections of every row on its two public directions."""
    q = Z.shape[1]
    for i in range(users.size):
        _fill(key, users[i], table, words, row)
        first, second = 0.0, 0.0
        for j in range(q):
            first += row[j] * Z[i, j]
            second += row[q + j] * Z[i, j]
        signs[i] = -1 if (first < 0) != (second < 0) else 1


def warmup() -> None:
    """Compile for the types in use."""
    users, zero = np.zeros(1, dtype=np.uint64), np.uint64(0)
    key = zero, zero, zero
    table = np.array([2**31], dtype=np.uint32), np.zeros(2, dtype=np.uint16), np.uint64(30)
    words, row, signs = np.empty(4, dtype=np.uint64), np.empty(2), np.empty(1, dtype=np.int8)
    product_choices(key, users, zero, 1, 1, np.empty(1, dtype=np.int64))
    public_normals(key, users, table, words, np.empty((1, 2)))
    sphere_signs(np.zeros((1, 2)), key, users, table, words, row, signs)
    one, two = np.zeros(1), np.zeros(2)
    joint_signs(one[None], one, two, 1.0, key, users, table, words, np.empty(4), signs, one.copy())
    sphere_sum(signs, key, users, table, words, row, np.zeros(2, dtype=np.int64))
    sketch_signs(np.zeros((1, 1)), key, users, table, words, row, signs)
    wide = np.array([2**63], dtype=np.uint64), np.zeros(2, dtype=np.uint32), np.uint64(62)
    normal_integers(words, wide, np.empty(4, dtype=np.int64))
