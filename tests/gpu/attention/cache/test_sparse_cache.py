"""A cache is attention to pruned old and dense recent tokens, however the tokens came in."""

import pytest
import torch
from torch.nn import functional

from sparsetheory.gpu.attention import SparseKVCache, head_rotation, prune_tokens

_RTOL = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def _drawn(seed, *shape, dtype=torch.float32, device="cpu"):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.to(device, dtype)


def _expected(q, k, v, window, sparsities, official=False):
    old = k.shape[2] - window
    k, v = (
        torch.cat([prune_tokens(x[:, :, :old], sparsity, official), x[:, :, old:]], dim=2)
        for x, sparsity in zip((k, v), sparsities, strict=True)
    )
    return functional.scaled_dot_product_attention(q.double(), k.double(), v.double(), enable_gqa=True)


@pytest.mark.parametrize("layout", ["bitmap", "index"])
@pytest.mark.parametrize("dtype", list(_RTOL))
def test_attention_is_that_of_pruned_and_recent_tokens(layout, dtype, device):
    k, v = _drawn(0, 2, 2, 333, 40, dtype=dtype, device=device), _drawn(1, 2, 2, 333, 24, dtype=dtype, device=device)
    q = _drawn(2, 2, 6, 3, 40, dtype=dtype, device=device)
    cache = SparseKVCache(20, 0.5, 0.7, layout=layout)
    cache.append(k, v)
    out = cache.attend(q)
    assert out.dtype == dtype
    expected = _expected(q, k, v, 20, (0.5, 0.7))
    assert out.shape == expected.shape
    assert bool(((out.double() - expected).abs() <= _RTOL[dtype] * (1 + v.double().abs().max())).all())


@pytest.mark.parametrize("layout", ["bitmap", "index"])
@pytest.mark.parametrize("window", [0, 5, 32])
def test_tokens_may_come_one_by_one_or_together(layout, window):
    k, v, q = _drawn(0, 1, 2, 200, 16), _drawn(1, 1, 2, 200, 16), _drawn(2, 1, 2, 1, 16)
    step, whole = (SparseKVCache(window, 0.5, 0.5, layout=layout) for _ in range(2))
    whole.append(k, v)
    step.append(k[:, :, :0], v[:, :, :0])
    for t in range(200):
        step.append(k[:, :, t : t + 1], v[:, :, t : t + 1])
        if t in (0, 3, 63, 64, 130):
            found = step.attend(q)
            expected = _expected(q, k[:, :, : t + 1], v[:, :, : t + 1], min(window, t + 1), (0.5, 0.5))
            assert torch.allclose(found.double(), expected, atol=1e-5)
    assert len(step) == len(whole) == 200
    assert torch.allclose(step.attend(q), whole.attend(q), atol=1e-6)


def test_a_window_longer_than_the_cache_is_dense_attention():
    k, v, q = _drawn(0, 1, 2, 30, 16), _drawn(1, 1, 2, 30, 16), _drawn(2, 1, 4, 2, 16)
    cache = SparseKVCache(32, 0.9, 0.9)
    cache.append(k, v)
    expected = functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    assert torch.allclose(cache.attend(q), expected, atol=1e-6)
    assert float(cache.error_bound(q).output_change.max()) == 0.0
    assert cache.memory().packed == 0


def test_parts_merge_and_long_prompts_are_cut(monkeypatch):
    from sparsetheory.gpu.attention.cache import packed_tokens

    monkeypatch.setattr(packed_tokens, "_LONGEST", 256)
    k, v, q = _drawn(0, 1, 1, 1000, 8), _drawn(1, 1, 1, 1000, 8), _drawn(2, 1, 1, 1, 8)
    cache = SparseKVCache(10, 0.5, 0.5)
    cache.append(k[:, :, :600], v[:, :, :600])
    for first in range(600, 1000, 40):
        cache.append(k[:, :, first : first + 40], v[:, :, first : first + 40])
    lengths = [part.shape[-2] for part, _ in cache._packed._parts]
    assert max(lengths) == 256
    assert len(lengths) <= 5
    assert torch.allclose(cache.attend(q).double(), _expected(q, k, v, 10, (0.5, 0.5)), atol=1e-5)


def test_the_published_threshold_reaches_the_cache():
    k, v, q = _drawn(0, 1, 1, 128, 16), _drawn(1, 1, 1, 128, 16), _drawn(2, 1, 1, 1, 16)
    cache = SparseKVCache(0, 0.5, 0.5, layout="index", official=True)
    cache.append(k, v)
    assert torch.allclose(cache.attend(q).double(), _expected(q, k, v, 0, (0.5, 0.5), official=True), atol=1e-5)


def test_recent_queries_decide_which_entries_of_keys_stay():
    k, v = _drawn(0, 1, 2, 64, 16), _drawn(1, 1, 2, 64, 16)
    seen = _drawn(2, 1, 4, 40, 16)
    cache = SparseKVCache(8, 0.5, 0.0, output_aware=True)
    cache.append(k[:, :, :8], v[:, :, :8], seen)
    cache.append(k[:, :, 8:], v[:, :, 8:])
    # Of the last 8 queries, over the two heads that share a head of keys.
    weight = seen[:, :, -8:].abs().unflatten(1, (2, 2)).sum((2, 3)).unsqueeze(2)
    old = prune_tokens(k[:, :, :56], 0.5, weight=weight)
    q = _drawn(3, 1, 4, 1, 16)
    expected = functional.scaled_dot_product_attention(q, torch.cat([old, k[:, :, 56:]], 2), v, enable_gqa=True)
    assert torch.allclose(cache.attend(q), expected, atol=1e-6)


def test_rotations_change_what_is_pruned_and_nothing_else():
    k, v, q = _drawn(0, 1, 2, 100, 16), _drawn(1, 1, 2, 100, 16), _drawn(2, 1, 4, 1, 16)
    k_rotation, v_rotation = head_rotation(k), head_rotation(v)
    dense = SparseKVCache(8, 0.0, 0.0, k_rotation=k_rotation, v_rotation=v_rotation)
    dense.append(k, v)
    expected = functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    assert torch.allclose(dense.attend(q), expected, atol=1e-5)
    pruned = SparseKVCache(8, 0.5, 0.5, k_rotation=k_rotation, v_rotation=v_rotation)
    pruned.append(k, v)
    turned = [
        torch.cat([prune_tokens((x @ r)[:, :, :92], 0.5) @ r.mT, x[:, :, 92:]], 2)
        for x, r in ((k, k_rotation), (v, v_rotation))
    ]
    expected = functional.scaled_dot_product_attention(q, *turned, enable_gqa=True)
    assert torch.allclose(pruned.attend(q), expected, atol=1e-5)


@pytest.mark.parametrize("layout", ["bitmap", "index"])
def test_bytes_are_counted_and_a_state_continues(layout, tmp_path):
    k, v, q = _drawn(0, 1, 2, 300, 64), _drawn(1, 1, 2, 300, 64), _drawn(2, 1, 2, 1, 64)
    cache = SparseKVCache(16, 0.7, 0.7, layout=layout)
    cache.append(k, v)
    memory = cache.memory()
    # 284 old tokens: 256 packed, 28 that wait; 2 heads, keys and values of 64 numbers of 4 bytes.
    assert memory.reference == 300 * 2 * 2 * 64 * 4
    assert memory.dense == (16 + 28) * 2 * 2 * 64 * 4
    assert memory.norms == 284 * 2 * 4 + 2 * 8
    kept = 64 - 44
    assert 256 * 2 * 2 * kept * 4 < memory.packed < 256 * 2 * 2 * (kept * 4 + 29)
    torch.save(cache.state_dict(), tmp_path / "cache.pt")
    again = SparseKVCache(16, 0.7, 0.7, layout=layout)
    again.load_state_dict(torch.load(tmp_path / "cache.pt", weights_only=True))
    assert torch.equal(again.attend(q), cache.attend(q))
    for each in (cache, again):
        each.append(k[:, :, :80], v[:, :, :80])
    assert torch.equal(again.attend(q), cache.attend(q))
    assert torch.equal(again.error_bound(q).output_change, cache.error_bound(q).output_change)


def test_an_empty_cache_says_so():
    cache = SparseKVCache()
    assert len(cache) == 0
    assert cache.memory().ratio == 1.0
    for ask in (cache.attend, cache.error_bound):
        with pytest.raises(ValueError, match="cache must hold tokens"):
            ask(torch.ones(1, 1, 1, 8))
    cache.append(torch.ones(1, 1, 0, 8), torch.ones(1, 1, 0, 8))
    with pytest.raises(ValueError, match="cache must hold tokens"):
        cache.attend(torch.ones(1, 1, 1, 8))


def test_arguments_are_checked():
    for name, value in (("window", -1), ("k_sparsity", 1.0), ("v_sparsity", -0.1), ("layout", "csr"), ("official", 1)):
        with pytest.raises(ValueError, match=f"{name} must be"):
            SparseKVCache(**{name: value})
    cache, x = SparseKVCache(), torch.ones(1, 2, 3, 8)
    with pytest.raises(TypeError, match="k must be a tensor of floating-point"):
        cache.append(x.long(), x)
    with pytest.raises(ValueError, match=r"v must have shape \(batch, key heads, n, width\)"):
        cache.append(x, x[0])
    with pytest.raises(ValueError, match="v must have the batch, heads, tokens and type of k"):
        cache.append(x, x[:, :, :2])
    with pytest.raises(ValueError, match="k must be finite"):
        cache.append(x * float("nan"), x)
    cache.append(x, x)
    with pytest.raises(ValueError, match="k must fit to the tokens that are there"):
        cache.append(x[..., :4], x)
    with pytest.raises(ValueError, match=r"q must have shape \(1, a multiple of 2, n_queries, 8\)"):
        cache.attend(torch.ones(1, 3, 1, 8))
    with pytest.raises(ValueError, match=r"q must be torch\.float32"):
        cache.attend(torch.ones(1, 2, 1, 8, dtype=torch.float64))
    with pytest.raises(ValueError, match="q must be finite"):
        cache.attend(torch.full((1, 2, 1, 8), float("inf")))
    with pytest.raises(ValueError, match="rotation must have shape"):
        SparseKVCache(k_rotation=torch.eye(4)).append(x, x)
