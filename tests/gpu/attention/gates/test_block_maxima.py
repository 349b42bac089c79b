"""Block maxima and block masses against the dense softmax."""

import pytest
import torch
from torch.nn import functional

from sparsetheory.gpu.attention import block_mass, block_max_attention
from sparsetheory.gpu.attention.gates import block_maxima


def draw(n, m, heads=4, key_heads=2, d=8, spread=3.0, dtype=torch.float64):
    source = torch.Generator().manual_seed(n + m)
    shapes = ((2, heads, n, d), (2, key_heads, m, d))
    return tuple((spread * torch.randn(shape, generator=source, dtype=torch.float64)).to(dtype) for shape in shapes)


def softmax(q, k, causal, scale=None, key_mask=None):
    n, m = q.shape[-2], k.shape[-2]
    k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    seen = torch.ones(n, m, dtype=torch.bool, device=q.device)
    if causal:
        seen = seen.tril(m - n)
    if key_mask is not None:
        seen = seen & key_mask[:, None, None, :]
    p = torch.softmax(scores.masked_fill(~seen, -torch.inf), -1).nan_to_num(0.0)
    return p if key_mask is None else p * key_mask[:, None, m - n :, None]


def blocked(p, block, reduce):
    pad = (0, -p.shape[-1] % block, 0, -p.shape[-2] % block)
    cut = functional.pad(p, pad).unflatten(-1, (-1, block)).unflatten(-3, (-1, block)).transpose(-2, -3)
    return cut.flatten(-2).amax(-1) if reduce == "max" else cut.sum((-1, -2))


def expected(p, block):
    largest = blocked(p, block, "max")
    return largest / largest.sum(-1, keepdim=True)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(block_maxima, "_ROWS", 8)
    monkeypatch.setattr(block_maxima, "_CHUNK", 12)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("n", "m", "block"), [(24, 24, 4), (23, 23, 4), (7, 23, 5), (5, 5, 64), (1, 9, 2)])
def test_streaming_is_pooling_of_the_dense_softmax(n, m, block, causal, device):
    q, k = (part.to(device) for part in draw(n, m))
    p = softmax(q, k, causal)
    torch.testing.assert_close(block_max_attention(q, k, block, causal), expected(p, block), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(block_mass(q, k, block, causal), blocked(p, block, "sum"), rtol=1e-12, atol=1e-14)


def test_padding_counts_nothing():
    q, k = draw(23, 23)
    key_mask = torch.ones(2, 23, dtype=torch.bool)
    key_mask[1, :9] = False
    for causal in (True, False):
        found = block_max_attention(q, k, 4, causal, key_mask=key_mask)
        wanted = expected(softmax(q, k, causal, key_mask=key_mask), 4).nan_to_num(0.0)
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)
        assert (found[1, :, :2] == 0).all()
        q[1, :, :9], k[1, :, :9] = 7.0, -7.0
        assert torch.equal(found, block_max_attention(q, k, 4, causal, key_mask=key_mask))
        mass = block_mass(q, k, 4, causal, key_mask=key_mask)
        torch.testing.assert_close(mass[1, :, :, :].sum(-1)[:, :3], torch.tensor([0.0, 0, 3]).double().expand(4, 3))


def test_scores_beyond_the_range_of_the_exponential():
    q, k = draw(24, 24, spread=60.0)
    assert float((q @ k.repeat_interleave(2, 1).mT).abs().max()) / 8**0.5 > 2000
    p = softmax(q, k, True)
    torch.testing.assert_close(block_max_attention(q, k, 4, True), expected(p, 4), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_is_that_of_its_inputs_in_single_precision(dtype):
    q, k = draw(24, 24, dtype=dtype)
    found = block_max_attention(q, k, 4, True)
    assert found.dtype == dtype
    torch.testing.assert_close(found, block_max_attention(q.float(), k.float(), 4, True).to(dtype), rtol=0, atol=0)


def test_scale_replaces_the_usual_factor():
    q, k = draw(12, 12)
    torch.testing.assert_close(block_mass(q, k, 4, True, scale=0.1), blocked(softmax(q, k, True, 0.1), 4, "sum"))


def test_the_matrix_of_all_pairs_is_never_made(monkeypatch):
    sizes = []
    original = torch.Tensor.masked_fill
    monkeypatch.setattr(torch.Tensor, "masked_fill", lambda x, *rest: sizes.append(x.numel()) or original(x, *rest))
    q, k = draw(64, 64)
    block_max_attention(q, k, 4, True)
    assert max(sizes) == 2 * 4 * 8 * 12  # texts, heads, a strip of queries, a chunk of keys


def test_wrong_arguments():
    q, k = draw(12, 12)
    with pytest.raises(ValueError, match="q must hold finite numbers"):
        block_max_attention(q / 0.0, k, 4)
    with pytest.raises(ValueError, match="the heads of q a multiple"):
        block_mass(q, k[:, :1].expand(2, 3, 12, 8), 4)
    with pytest.raises(ValueError, match="at most as many tokens as k for causal=True; got 12, 6"):
        block_mass(q, k[:, :, :6], 4)
    with pytest.raises(ValueError, match="block must be an integer from 1"):
        block_mass(q, k, 0)
