"""The gate of SeerAttention by loops over texts, heads, blocks and features; slow, and written for these tests."""

import math

import numpy as np

REDUCE = {"avg": np.mean, "max": np.max, "min": np.min}


def pooled(x, block, pools, real):
    """Pool the tokens of one head, (n, d); a block without real tokens gives zeros."""
    rows = []
    for first in range(0, len(x), block):
        kept = [x[i] for i in range(first, min(first + block, len(x))) if real[i]]
        parts = [REDUCE[pool](kept, axis=0) if kept else np.zeros(x.shape[1]) for pool in pools]
        rows.append(np.concatenate(parts))
    return np.array(rows)


def turned(x, position, width, base):
    """Turn feature i and feature i + width / 2 of a vector by the angle of a position."""
    out = x.copy()
    for i in range(width // 2):
        angle = position * base ** (-2 * i / width)
        a, b = x[i], x[i + width // 2]
        out[i] = a * math.cos(angle) - b * math.sin(angle)
        out[i + width // 2] = b * math.cos(angle) + a * math.sin(angle)
    return out


def plain_scores(gate, q, k, real=None, positions=None, base=10_000.0):
    """Return the scores of a gate for arrays q (batch, heads, n, d) and k (batch, key heads, n, d)."""
    batch, heads, n, _ = q.shape
    group = heads // k.shape[1]
    real = np.ones((batch, n), bool) if real is None else real
    k_map = gate.k_map.detach().double().numpy()
    q_map = None if gate.q_map is None else gate.q_map.detach().double().numpy()
    count = math.ceil(n / gate.block)
    out = np.full((batch, heads, count, count), -np.inf)
    for text in range(batch):
        some = [real[text, first : first + gate.block].any() for first in range(0, n, gate.block)]
        for head in range(heads):
            queries = pooled(q[text, head], gate.block, gate.q_pool, real[text])
            keys = pooled(k[text, head // group], gate.block, gate.k_pool, real[text])
            if q_map is None:
                keys = keys @ k_map[head]
            else:
                queries, keys = queries @ q_map[head], keys @ k_map[head // group]
            if positions is not None:
                first = positions[text][:: gate.block]
                queries = [turned(x, p, gate.gate_dim, base) for x, p in zip(queries, first, strict=True)]
                keys = [turned(x, p, gate.gate_dim, base) for x, p in zip(keys, first, strict=True)]
            for i in range(count):
                for j in range(i + 1 if gate.causal else count):
                    if some[i] and some[j]:
                        out[text, head, i, j] = queries[i] @ keys[j] / math.sqrt(gate.gate_dim)
    return out
