"""Claims about what is kept of a cache of keys and values, and how it is stored."""

from typing import Any

import numpy as np

from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.sparse_attention.cache.instances import Tokens, tokens
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import AnyArray

_PAPER = "Joo, Hosseini, Hadidi, Asgari (2025)"


def _by_rule(t: Tokens) -> AnyArray:
    """Return pruned tokens by the rule in plain Python: by falling magnitude, the lower index first."""
    kept = np.zeros_like(t.x)
    for place in np.ndindex(t.x.shape[:-1]):
        token = t.x[place]
        order = sorted(range(t.width), key=lambda j: (-abs(token[j]), j))[: t.kept]
        kept[place][order] = token[order]
    return kept


def _survivors(t: Tokens, official: bool = False) -> Measurement:
    """Count the entries that differ from the rule."""
    found = array(attention.prune_tokens(tensor(t.x), t.sparsity, official))
    return Measurement(float((found != _by_rule(t)).sum()), 0.0, scale=1.0)


cache_survivors = Claim(
    name="sparse_attention.cache_survivors",
    summary="Of every token the same number of entries survives, the largest; of equal ones those in front.",
    statement=r"|\{c : \tilde x_{tc}\ \text{kept}\}| = D - \lfloor sD \rfloor, \quad \text{ties to the lowest index}",
    source=Source(_PAPER, "pruning of each token by magnitude, with an exact count", "2505.22913"),
    verdict=Always(rtol=0.0),
    instances=tokens,
    evaluate=_survivors,
    near_miss=lambda t: _survivors(t, official=True),
)


def _pruned(t: Tokens) -> Any:
    return attention.prune_tokens(tensor(t.x), t.sparsity)


def _packings(x: Any) -> list[Any]:
    return [
        attention.Bitmap.pack(x, along="tokens"),
        attention.Bitmap.pack(x, along="channels"),
        attention.IndexRows.pack(x),
        attention.IndexColumns.pack(x),
    ]


def _bits(x: AnyArray) -> AnyArray:
    return x.view(np.int32 if x.itemsize == 4 else np.int64)


def _round_trip(t: Tokens) -> Measurement:
    """Count the entries that do not come back bit by bit, negative zeros as zeros, and the bits that are too many."""
    x = _pruned(t)
    expected = array(x) + 0.0
    packed = _packings(x)
    wrong = sum(int((_bits(array(part.unpack())) != _bits(expected)).sum()) for part in packed)
    surplus = sum(abs(part.n_nonzero - np.count_nonzero(expected)) for part in packed[:2])
    return Measurement(float(wrong + surplus), 0.0, scale=1.0)


def _without_the_sign(t: Tokens) -> Measurement:
    """Take the bitmap for a number of 63 bits: tiles that begin with a nonzero lose it."""
    packed = attention.Bitmap.pack(_pruned(t), along="tokens")
    seen = sum(int(word).bit_count() for word in (array(packed.words).ravel() & (2**63 - 1)))
    return Measurement(float(abs(seen - np.count_nonzero(array(packed.values)))), 0.0, scale=1.0)


cache_round_trip = Claim(
    name="sparse_attention.cache_round_trip",
    summary="What was packed comes back bit by bit, but for the sign of zeros, and bits are as many as nonzeros.",
    statement=r"\text{unpack}(\text{pack}(x)) = x + 0, \quad \textstyle\sum \text{popcount} = \text{nnz}(x)",
    source=Source(
        _PAPER, "bitmaps of 64 entries in 64 bits, whose first one is the sign", "2505.22913", "authors' code"
    ),
    verdict=Always(rtol=0.0),
    instances=tokens,
    evaluate=_round_trip,
    near_miss=_without_the_sign,
)


def _counts(x: AnyArray, along: str) -> list[int]:
    """Return the nonzeros of every tile, one slice after the other."""
    heads, n, width = x.shape
    steps = (64, 1) if along == "tokens" else (1, 64)
    return [
        int(np.count_nonzero(x[h, t : t + steps[0], c : c + steps[1]]))
        for h in range(heads)
        for t in range(0, n, steps[0])
        for c in range(0, width, steps[1])
    ]


def _size(t: Tokens, pad: int = 8) -> Measurement:
    """Compare the bytes of both orders of tiles with the formula, tile by tile."""
    x = _pruned(t)
    dense, missing = array(x), 0
    for along in ("tokens", "channels"):
        packed = attention.Bitmap.pack(x, along=along)
        counts = _counts(dense, along)
        # In blocks of 64 tokens, tokens that are missing in the last one have an empty tile each.
        columns = -(-t.width // 64)
        empty = 0 if along == "tokens" else (-dense.shape[1] % 64) * columns * len(dense)
        formula = 12 * (len(counts) + empty) + 4 * len(dense)
        formula += dense.itemsize * sum(-(-count // pad) * pad for count in counts)
        missing += abs(packed.nbytes - formula)
    return Measurement(float(missing), 0.0, scale=1.0)


cache_size = Claim(
    name="sparse_attention.cache_size",
    summary="A tile takes 12 bytes and its nonzeros, filled up to a multiple of eight; each head 4 bytes more.",
    statement=r"\text{bytes} = 4 \cdot \text{heads} + \sum_{\text{tiles}} \big(8 + 4 + B \cdot 8 \lceil \text{nnz}/8"
    r" \rceil\big)",
    source=Source(_PAPER, "bitmap, offset and padded values of each tile", "2505.22913", "authors' code"),
    verdict=Always(rtol=0.0),
    instances=tokens,
    evaluate=_size,
    near_miss=lambda t: _size(t, pad=1),
)


def _products(t: Tokens, masked: bool = True) -> Measurement:
    """Compare products of packed tokens with dense ones in extended precision.

    A sum of n products errs by at most ``(n + 1) u`` times the sum of their magnitudes, in any order; u is half the
    spacing of numbers at 1.
    """
    x = _pruned(t)
    heads, n, width = x.shape
    rng = np.random.default_rng(n * width)
    q, a = rng.standard_normal((heads, 3, width)).astype(t.x.dtype), rng.random((heads, 3, n)).astype(t.x.dtype)
    dense = (array(x) if masked else t.x).astype(np.longdouble)
    scores, sums = q @ dense.swapaxes(1, 2), a @ dense
    unit = np.finfo(t.x.dtype).eps / 2
    keys, rows = attention.Bitmap.pack(x, along="tokens"), attention.IndexRows.pack(x)
    values, columns = attention.Bitmap.pack(x), attention.IndexColumns.pack(x)
    excess, room = [], []
    for found in (attention.packed_scores(keys, tensor(q)), attention.packed_scores(rows, tensor(q))):
        excess.append(np.abs(array(found) - scores).ravel())
        room.append((unit * (width + 1) * (np.abs(q) @ np.abs(dense).swapaxes(1, 2))).ravel())
    for found in (attention.packed_sums(values, tensor(a)), attention.packed_sums(columns, tensor(a))):
        excess.append(np.abs(array(found) - sums).ravel())
        room.append((unit * (n + 1) * (a @ np.abs(dense))).ravel())
    return Measurement.worst(np.concatenate(excess), np.concatenate(room))


cache_products = Claim(
    name="sparse_attention.cache_products",
    summary="Products with packed keys and values are those with pruned dense ones, up to rounding.",
    statement=r"|\text{packed}(q, \tilde K) - q \tilde K^\top| \le (D + 1) u\, |q| |\tilde K|^\top, \quad"
    r" |\text{packed}(a, \tilde V) - a \tilde V| \le (m + 1) u\, |a| |\tilde V|",
    source=Source.ours("kernels on packed tokens against products in extended precision"),
    verdict=Always(rtol=0.0),
    instances=tokens,
    evaluate=_products,
    near_miss=lambda t: _products(t, masked=False),
)
