"""Vector times matrix, where rows of the matrix that meet a zero are neither read nor multiplied.

The matrix lies with one row for each input. Each pass takes eight active rows, whose contributions join the sums of a
strip of outputs.

Why. The matrix is read once and is large, so its traffic is the bound: active rows only, in as few streams as the
processor can follow. A row is one stream, and a long one, which the processor fetches ahead by itself. Sums that stay
in registers would allow only a short piece of every row at a time: no load and no store of sums, but rows are then
fetched in pieces from all over memory. On matrices of 3072 x 3072, pieces of 512 to 1024 bytes took half as long again
as whole rows, eight at a time. With eight rows a pass, the load and the store of a sum are a fifth of all transfers,
and they stay in the first-level cache, where a strip of 16 KB has room.

Several tokens come one after the other, each with its own rows. To read the union of their rows once, for all of them,
was no faster: at one active input in ten, four tokens need 34 of 100 rows together and 40 one by one, and arithmetic
with the zeros of the others takes more time than the six rows.
"""

from typing import Any

import numpy as np

from sparsetheory.numba_kernels.inlined import entry, inlined
from sparsetheory.numba_kernels.sparse_conv.lanes import add_multiple, add_product, lanes, load, store, width
from sparsetheory.typing import FloatArray, Int64Array

__all__ = ["WORK", "multiply_active", "multiply_gated", "warmup"]

_STRIP_BYTES = 16384
# Numbers of four cache lines, of either precision.
WORK = 64


@inlined
def _count(x: FloatArray) -> int:
    n = 0
    for value in x:
        n += value != 0
    return n


@inlined
def _find(x: FloatArray, found: Int64Array) -> int:
    """Write the places of what is not zero, and return their number."""
    n = 0
    for j in range(x.size):
        found[n] = j
        n += x[j] != 0
    return n


@inlined
def _eight_rows(
    x: FloatArray, found: Int64Array, k: int, table: FloatArray, out: FloatArray, start: int, end: int
) -> None:
    """Add eight rows, times their inputs, to the sums from `start` to `end`."""
    like, n = lanes(out.dtype.type(0), 1), out.size
    a, b, c, d = found[k] * n, found[k + 1] * n, found[k + 2] * n, found[k + 3] * n
    e, f, g, h = found[k + 4] * n, found[k + 5] * n, found[k + 6] * n, found[k + 7] * n
    p, q, r, s = x[found[k]], x[found[k + 1]], x[found[k + 2]], x[found[k + 3]]
    t, u, v, w = x[found[k + 4]], x[found[k + 5]], x[found[k + 6]], x[found[k + 7]]
    i = start
    while i + width(like) <= end:
        total = load(out, i, like)
        total = add_multiple(total, p, load(table, a + i, like))
        total = add_multiple(total, q, load(table, b + i, like))
        total = add_multiple(total, r, load(table, c + i, like))
        total = add_multiple(total, s, load(table, d + i, like))
        total = add_multiple(total, t, load(table, e + i, like))
        total = add_multiple(total, u, load(table, f + i, like))
        total = add_multiple(total, v, load(table, g + i, like))
        total = add_multiple(total, w, load(table, h + i, like))
        store(out, i, total)
        i += width(like)
    while i < end:
        out[i] += p * table[a + i] + q * table[b + i] + r * table[c + i] + s * table[d + i]
        out[i] += t * table[e + i] + u * table[f + i] + v * table[g + i] + w * table[h + i]
        i += 1


@inlined
def _one_row(x: FloatArray, row: int, table: FloatArray, out: FloatArray, start: int, end: int) -> None:
    like, at, factor = lanes(out.dtype.type(0), 1), row * out.size, x[row]
    i = start
    while i + width(like) <= end:
        store(out, i, add_multiple(load(out, i, like), factor, load(table, at + i, like)))
        i += width(like)
    while i < end:
        out[i] += factor * table[at + i]
        i += 1


@inlined
def _add_rows(x: FloatArray, found: Int64Array, n: int, table: FloatArray, out: FloatArray) -> None:
    """Add ``sum_k x[found[k]] * table[found[k]]`` to the outputs."""
    strip = _STRIP_BYTES // out.itemsize
    for start in range(0, out.size, strip):
        end, k = min(start + strip, out.size), 0
        while k + 8 <= n:
            _eight_rows(x, found, k, table, out, start, end)
            k += 8
        while k < n:
            _one_row(x, found[k], table, out, start, end)
            k += 1


@entry
def multiply_active(
    x: FloatArray, n_tokens: int, table: FloatArray, out: FloatArray, limit: int, found: Int64Array
) -> bool:
    """Add ``x @ table`` to the outputs, unless too many inputs are active; ``2 n_active n_out`` operations.

    Parameters
    ----------
    x : ndarray of shape (n_tokens * n_in,)
        Token after token.
    n_tokens : int
        At least 1.
    table : ndarray of shape (n_in * n_out,)
        The matrix, one row for each input.
    out : ndarray of shape (n_tokens * n_out,)
        Added to.
    limit : int
        How many inputs of all tokens together may be active, which means not zero.
    found : ndarray of int64 of shape (n_in,)
        Overwritten.

    Returns
    -------
    bool
        Whether the product was formed. Otherwise the outputs are as before.
    """
    if _count(x) > limit:
        return False
    n_in, n_out = x.size // n_tokens, out.size // n_tokens
    for t in range(n_tokens):
        token = x[t * n_in : (t + 1) * n_in]
        _add_rows(token, found, _find(token, found), table, out[t * n_out : (t + 1) * n_out])
    return True


@inlined(fastmath=True)
def _sum(values: FloatArray, start: int, end: int) -> Any:
    total = values.dtype.type(0)
    for i in range(start, end):
        total += values[i]
    return total


@inlined
def _four_products(
    gates: FloatArray, found: Int64Array, k: int, table: FloatArray, x: FloatArray, work: FloatArray
) -> None:
    """Multiply four gates by the products of their rows with x; `work` takes the sums of the lanes."""
    zero = lanes(x.dtype.type(0), 1)
    n, step, i = x.size, width(zero), 0
    a, b, c, d = found[k] * n, found[k + 1] * n, found[k + 2] * n, found[k + 3] * n
    p, q, r, s = zero, zero, zero, zero
    while i + step <= n:
        y = load(x, i, zero)
        p = add_product(p, load(table, a + i, zero), y)
        q = add_product(q, load(table, b + i, zero), y)
        r = add_product(r, load(table, c + i, zero), y)
        s = add_product(s, load(table, d + i, zero), y)
        i += step
    store(work, 0, p)
    store(work, step, q)
    store(work, 2 * step, r)
    store(work, 3 * step, s)
    for m in range(4):
        total = _sum(work, m * step, (m + 1) * step)
        for j in range(i, n):
            total += table[found[k + m] * n + j] * x[j]
        gates[found[k + m]] *= total


@inlined(fastmath=True)
def _one_product(gates: FloatArray, row: int, table: FloatArray, x: FloatArray) -> None:
    total = x.dtype.type(0)
    for i in range(x.size):
        total += table[row * x.size + i] * x[i]
    gates[row] *= total


@inlined
def _multiply_found(
    gates: FloatArray, found: Int64Array, n: int, table: FloatArray, x: FloatArray, work: FloatArray
) -> None:
    """Multiply gates by the products of their rows with x."""
    k = 0
    while k + 4 <= n:
        _four_products(gates, found, k, table, x, work)
        k += 4
    while k < n:
        _one_product(gates, found[k], table, x)
        k += 1


@entry
def multiply_gated(
    gates: FloatArray,
    x: FloatArray,
    n_tokens: int,
    up: FloatArray,
    down: FloatArray,
    out: FloatArray,
    limit: int,
    found: Int64Array,
    work: FloatArray,
) -> bool:
    """Add ``(gates * (x @ up.T)) @ down`` to the outputs, unless too many gates are active.

    Rows of both matrices whose gate is zero are not read; the places of the others are found once.
    ``2 n_active (n_in + n_out)`` operations.

    Parameters
    ----------
    gates : ndarray of shape (n_tokens * hidden,)
        Overwritten with the hidden activations.
    x : ndarray of shape (n_tokens * n_in,)
    n_tokens : int
        At least 1.
    up : ndarray of shape (hidden * n_in,)
        One row for each hidden unit.
    down : ndarray of shape (hidden * n_out,)
        One row for each hidden unit.
    out : ndarray of shape (n_tokens * n_out,)
        Added to.
    limit : int
        How many gates of all tokens together may be active, which means not zero.
    found : ndarray of int64 of shape (hidden,)
        Overwritten.
    work : ndarray of shape (WORK,)
        Overwritten.

    Returns
    -------
    bool
        Whether the product was formed. Otherwise gates and outputs are as before.
    """
    if _count(gates) > limit:
        return False
    hidden, n_in, n_out = found.size, x.size // n_tokens, out.size // n_tokens
    for t in range(n_tokens):
        token = gates[t * hidden : (t + 1) * hidden]
        n = _find(token, found)
        _multiply_found(token, found, n, up, x[t * n_in : (t + 1) * n_in], work)
        _add_rows(token, found, n, down, out[t * n_out : (t + 1) * n_out])
    return True


def warmup() -> None:
    """Compile the kernels for single and double precision."""
    for dtype in (np.float32, np.float64):
        one, found = np.ones(1, dtype=dtype), np.zeros(1, dtype=np.int64)
        multiply_active(one, 1, one, one.copy(), 1, found)
        multiply_gated(one.copy(), one, 1, one, one, one.copy(), 1, found, np.empty(WORK, dtype=dtype))
