"""Decoding with pruned keys and values: products of one query with a long cache, one thread, all ways take turns.

Run ``python benchmarks/cache_decode.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, ``--json FILE``
also writes one JSON line per row. Keys and values are Gaussian, in single precision: 32768 tokens of width 128. "Dense"
is the faster one of torch and NumPy. Ours are calls from Python, with their checks; scipy's matrices hold the same
entries. A cache of 8 heads is decoded as a whole in the last part, softmax and recent tokens with it, beside the dense
attention of torch. Products of bitmaps are slow where the processor has no AVX-512.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from _timing import Row, best_of_each, run_parts
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from sparsetheory.gpu.attention import (
    Bitmap,
    IndexColumns,
    IndexRows,
    SparseKVCache,
    packed_scores,
    packed_sums,
    prune_tokens,
)

_WIDTH = 128
_SPARSITIES = (0.3, 0.5, 0.7, 0.9)


def _drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def _timed(ways: dict[str, Callable[[], Tensor]], expected: Tensor, quick: bool) -> dict[str, float]:
    """Return microseconds of each way, all checked against the dense product with zeros."""
    for name, way in ways.items():
        if not name.startswith("dense") and not torch.allclose(way().flatten(), expected, rtol=1e-3, atol=1e-2):
            raise RuntimeError(f"{name} and the dense product disagree")
    seconds = best_of_each(*ways.values(), repeats=3 if quick else 30)
    times = {name: 1e6 * s for name, s in zip(ways, seconds, strict=True)}
    return {"dense": min(times.pop("dense, torch"), times.pop("dense, NumPy")), **times}


def _compared(task: str, times: dict[str, float], sparsity: float) -> list[Row]:
    target = 1.5 if sparsity == 0.7 else None
    pairs = [("index", "dense", target), ("bitmap", "dense", None), ("bitmap", "index", None)]
    pairs += [("index", "scipy CSR", None), ("bitmap", "scipy CSR", None)]
    return [Row(f"{task}, {ours}", peer, times[ours], times[peer], goal, unit="us") for ours, peer, goal in pairs]


def _key_ways(k: Tensor, pruned: Tensor, q: Tensor) -> dict[str, Callable[[], Tensor]]:
    bitmap, index = Bitmap.pack(pruned, along="tokens"), IndexRows.pack(pruned)
    in_scipy, dense, vector = sparse.csr_matrix(pruned.numpy()), k.numpy(), q.numpy()
    return {
        "bitmap": lambda: packed_scores(bitmap, q[None, None]),
        "index": lambda: packed_scores(index, q[None, None]),
        "scipy CSR": lambda: torch.from_numpy(in_scipy @ vector),
        "dense, torch": lambda: torch.mv(k, q),
        "dense, NumPy": lambda: torch.from_numpy(dense @ vector),
    }


def _value_ways(v: Tensor, pruned: Tensor, a: Tensor) -> dict[str, Callable[[], Tensor]]:
    bitmap, index = Bitmap.pack(pruned), IndexColumns.pack(pruned)
    in_scipy, dense, vector = sparse.csr_matrix(pruned.numpy()).T, v.numpy(), a.numpy()
    return {
        "bitmap": lambda: packed_sums(bitmap, a[None, None]),
        "index": lambda: packed_sums(index, a[None, None]),
        "scipy CSR": lambda: torch.from_numpy(in_scipy @ vector),
        "dense, torch": lambda: a @ v,
        "dense, NumPy": lambda: torch.from_numpy(vector @ dense),
    }


def bench_keys(quick: bool) -> list[Row]:
    """Compare products of all keys with one query."""
    rows: list[Row] = []
    k, q = _drawn(4096 if quick else 32768, _WIDTH), _drawn(_WIDTH)
    for sparsity in _SPARSITIES[1::2] if quick else _SPARSITIES:
        pruned = prune_tokens(k, sparsity)
        times = _timed(_key_ways(k, pruned, q), pruned @ q, quick)
        rows += _compared(f"keys, sparsity {sparsity}", times, sparsity)
    return rows


def bench_values(quick: bool) -> list[Row]:
    """Compare sums of all values with the weights of one query."""
    rows: list[Row] = []
    v = _drawn(4096 if quick else 32768, _WIDTH)
    a = _drawn(len(v)).softmax(0)
    for sparsity in _SPARSITIES[1::2] if quick else _SPARSITIES:
        pruned = prune_tokens(v, sparsity)
        times = _timed(_value_ways(v, pruned, a), a @ pruned, quick)
        rows += _compared(f"values, sparsity {sparsity}", times, sparsity)
    return rows


def _decoded(cache: SparseKVCache, k: Tensor, v: Tensor, shared: int, quick: bool) -> tuple[float, float]:
    """Return microseconds of ours and of dense attention, for some queries a head of keys."""
    q = _drawn(1, k.shape[1] * shared, 1, _WIDTH)
    ours, dense = best_of_each(
        lambda: cache.attend(q),
        lambda: functional.scaled_dot_product_attention(q, k, v, enable_gqa=shared > 1),
        repeats=3 if quick else 15,
    )
    return 1e6 * ours, 1e6 * dense


def bench_cache(quick: bool) -> list[Row]:
    """Decode one token with a whole cache, 8 heads of keys for 8 or 32 heads of queries, and count its bytes."""
    rows: list[Row] = []
    tokens, key_heads = (1024, 2) if quick else (8192, 8)
    k, v = _drawn(1, key_heads, tokens, _WIDTH), _drawn(1, key_heads, tokens, _WIDTH)
    for layout in ("bitmap", "index"):
        for sparsity in (0.5, 0.7):
            cache = SparseKVCache(k_sparsity=sparsity, v_sparsity=sparsity, layout=layout)
            for first, last in pairwise([*range(0, tokens, 4096), tokens]):
                cache.append(k[:, :, first:last], v[:, :, first:last])
            memory = cache.memory()
            task = f"cache, sparsity {sparsity}, {layout}"
            held = memory.packed + memory.dense + memory.norms
            rows.append(Row(f"{task}, memory", "dense", 1e-6 * held, 1e-6 * memory.reference, unit="MB"))
            for shared in (1, 4):
                times = _decoded(cache, k, v, shared, quick)
                rows.append(Row(f"{task}, {shared} queries a head", "torch attention", *times, unit="us"))
    return rows


_PARTS: dict[str, Callable[[bool], list[Row]]] = {"keys": bench_keys, "values": bench_values, "cache": bench_cache}


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_parts("Decoding with a pruned cache", __doc__, _PARTS)
