"""Round trips, sizes and products of packed keys and values."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.gpu.attention import (
    Bitmap,
    IndexColumns,
    IndexRows,
    bitmap_ratio,
    packed_scores,
    packed_sums,
    prune_tokens,
)

_PACKINGS = {
    "keys, bitmap": lambda x: Bitmap.pack(x, along="tokens"),
    "values, bitmap": lambda x: Bitmap.pack(x, along="channels"),
    "keys, index": IndexRows.pack,
    "values, index": IndexColumns.pack,
    "values, index, short groups": lambda x: IndexColumns.pack(x, group=5),
}
_DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def _drawn(shape, density, dtype, seed, device="cpu"):
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=draws, dtype=torch.float64)
    return torch.where(torch.rand(shape, generator=draws) < density, x, 0.0).to(device, dtype)


@pytest.mark.parametrize("name", _PACKINGS)
@given(
    heads=st.integers(1, 3),
    tokens=st.sampled_from([1, 63, 64, 65, 130, 300]),
    width=st.sampled_from([1, 8, 63, 64, 65, 130]),
    density=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    dtype=st.sampled_from(_DTYPES),
    seed=st.integers(0, 2**31),
)
def test_what_is_packed_comes_back(name, heads, tokens, width, density, dtype, seed):
    x = _drawn((heads, tokens, width), density, dtype, seed)
    found = _PACKINGS[name](x).unpack()
    assert found.dtype == dtype
    assert torch.equal(found, x)


@pytest.mark.parametrize("name", _PACKINGS)
def test_packing_keeps_device_and_leading_axes(name, device):
    x = _drawn((2, 3, 70, 40), 0.4, torch.float32, 0, device)
    packed = _PACKINGS[name](x)
    assert packed.values.device.type == device
    assert torch.equal(packed.unpack(), x)
    assert torch.equal(_PACKINGS[name](x[0, 0]).unpack(), x[0, 0])


@pytest.mark.parametrize("name", _PACKINGS)
def test_negative_zeros_become_zeros(name):
    found = _PACKINGS[name](torch.tensor([[-0.0, 1.0, -0.0, -2.0]])).unpack()
    assert not torch.signbit(found[found == 0]).any()


def test_the_first_entry_of_a_tile_is_the_sign_of_its_bitmap():
    x = torch.zeros(64, 64)
    x[0, 0] = x[5, 63] = 1.0
    packed = Bitmap.pack(x)
    assert packed.words[0, 0] == -(2**63)
    assert packed.words[0, 5] == 1
    assert packed.n_nonzero == 2
    full = Bitmap.pack(torch.ones(1, 64))
    assert full.words[0, 0] == -1
    assert full.n_nonzero == 64


def test_tiles_lie_in_the_published_orders():
    x = torch.zeros(128, 128)
    x[64, 3] = 1.0
    # Keys: 128 tiles of the first block of tokens come first, then the channels of the second one.
    assert torch.nonzero(Bitmap.pack(x, along="tokens").words[0]).tolist() == [[128 + 3]]
    # Values: two columns of 64 tokens for the first block, then those of the second one.
    assert torch.nonzero(Bitmap.pack(x).words[0]).tolist() == [[128]]
    x[64, 3], x[2, 70] = 0.0, 1.0
    assert torch.nonzero(Bitmap.pack(x).words[0]).tolist() == [[64 + 2]]


def test_further_blocks_of_tokens_append_at_the_end():
    x = _drawn((128, 70), 0.3, torch.float32, 1)
    for along in ("tokens", "channels"):
        whole, first = Bitmap.pack(x, along=along), Bitmap.pack(x[:64], along=along)
        tiles, values = first.words.shape[1], len(first.values)
        assert torch.equal(whole.words[:, :tiles], first.words)
        assert torch.equal(whole.offsets[:, : tiles + 1], first.offsets)
        assert torch.equal(whole.values[:values], first.values)


@pytest.mark.parametrize("itemsize", [2, 4, 8])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.7])
def test_the_expected_ratio_is_that_of_packed_noise(itemsize, sparsity):
    width, dtype = 128, {2: torch.float16, 4: torch.float32, 8: torch.float64}[itemsize]
    x = torch.randn(64 * 64, width, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    pruned = prune_tokens(x, sparsity).to(dtype)
    for along in ("tokens", "channels"):
        # The offset of the end, 4 bytes a head, is not part of a tile.
        measured = (Bitmap.pack(pruned, along=along).nbytes - 4) / (pruned.numel() * itemsize)
        expected = bitmap_ratio(sparsity, itemsize, width=width, along=along)
        # The padded count of a tile has a standard deviation below 6, the mean of 8192 tiles one below 0.07. Here are
        # four of them; a padding of 4 rather than 8 would be 2 of the 64 entries.
        assert measured == pytest.approx(expected, abs=0.28 / 64)


def test_published_ratios():
    assert bitmap_ratio(0.5, 2) == pytest.approx(0.6483, abs=5e-5)
    assert bitmap_ratio(0.7, 2) == pytest.approx(0.4490, abs=5e-5)
    assert bitmap_ratio(0.7, 2, width=128, along="channels") == pytest.approx(0.4566, abs=5e-5)
    assert bitmap_ratio(0.7, 2, width=64, along="channels") == pytest.approx(0.46875, abs=1e-12)
    assert bitmap_ratio(0.7, 2, pad=1) == pytest.approx(0.3 + 12 / 128, abs=1e-12)


@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize(
    ("heads", "queries", "tokens", "width"), [(1, 1, 64, 64), (3, 2, 130, 32), (2, 6, 300, 80), (1, 3, 1, 1)]
)
def test_products_are_those_of_dense_tensors(dtype, heads, queries, tokens, width, device):
    x = _drawn((heads, tokens, width), 0.4, dtype, tokens, device)
    wide = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
    q = _drawn((heads, queries, width), 1.0, wide, 5, device)
    a = _drawn((heads, queries, tokens), 1.0, wide, 6, device)
    rtol = 1e-13 if dtype == torch.float64 else 1e-5
    for pack in (_PACKINGS["keys, bitmap"], _PACKINGS["keys, index"]):
        found = packed_scores(pack(x), q)
        assert found.dtype == wide
        scale = q.double().abs() @ x.double().abs().mT
        assert bool(((found.double() - q.double() @ x.double().mT).abs() <= rtol * scale).all())
    for pack in (_PACKINGS["values, bitmap"], IndexColumns.pack, _PACKINGS["values, index, short groups"]):
        found = packed_sums(pack(x), a)
        scale = a.double().abs() @ x.double().abs()
        assert bool(((found.double() - a.double() @ x.double()).abs() <= rtol * scale).all())


def test_queries_that_lie_across_memory_are_fine():
    keys = Bitmap.pack(_drawn((2, 70, 8), 0.5, torch.float32, 0), along="tokens")
    q = _drawn((8, 3, 2), 1.0, torch.float32, 1).permute(2, 1, 0)
    assert torch.equal(packed_scores(keys, q), packed_scores(keys, q.contiguous()))


def test_what_does_not_fit_is_refused():
    x = torch.ones(2, 64, 8)
    with pytest.raises(ValueError, match="keys must be packed along tokens"):
        packed_scores(Bitmap.pack(x), torch.ones(2, 1, 8))
    with pytest.raises(ValueError, match="values must be packed along channels"):
        packed_sums(Bitmap.pack(x, along="tokens"), torch.ones(2, 1, 64))
    with pytest.raises(ValueError, match=r"q must have shape \(2, n_queries, 8\)"):
        packed_scores(IndexRows.pack(x), torch.ones(1, 1, 8))
    with pytest.raises(ValueError, match=r"weights must be torch.float32"):
        packed_sums(IndexColumns.pack(x), torch.ones(2, 1, 64, dtype=torch.float64))
    with pytest.raises(ValueError, match="width of at most 256"):
        IndexRows.pack(torch.ones(2, 257))
    with pytest.raises(ValueError, match="n_nonzero must be"):
        IndexRows.pack(torch.ones(2, 8), n_nonzero=7)
    with pytest.raises(ValueError, match="group must be an integer from 1 to 256"):
        IndexColumns.pack(torch.ones(2, 8), group=257)
    for pack in _PACKINGS.values():
        with pytest.raises(ValueError, match="x must be finite"):
            pack(torch.tensor([[np.inf, 1.0]]))
        with pytest.raises(ValueError, match="without an empty axis"):
            pack(torch.ones(0, 8))
        with pytest.raises(TypeError, match="floating-point"):
            pack(torch.ones(2, 8, dtype=torch.int32))
    for along in ("heads", None):
        with pytest.raises(ValueError, match="along must be one of"):
            Bitmap.pack(x, along=along)
    with pytest.raises(ValueError, match="width must be a multiple of tile"):
        bitmap_ratio(0.5, 2, along="channels")
