"""Exact counts and ties, the published threshold, and whole channels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.gpu.attention import prune_channels, prune_tokens


@given(
    width=st.integers(1, 40),
    sparsity=st.floats(0.0, 0.99),
    levels=st.integers(1, 5),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    seed=st.integers(0, 2**31),
)
def test_each_token_keeps_its_largest_entries_and_of_equal_ones_the_first(width, sparsity, levels, dtype, seed):
    drawn = np.random.default_rng(seed).choice([-1.0, 1.0], (3, 2, width)) * np.random.default_rng(seed + 1).integers(
        1, levels + 1, (3, 2, width)
    )
    x = torch.from_numpy(drawn).to(dtype)
    pruned = prune_tokens(x, sparsity)
    kept = width - int(np.floor(sparsity * width))
    order = np.argsort(-np.abs(drawn), axis=-1, kind="stable")[..., :kept]
    expected = np.zeros_like(drawn)
    np.put_along_axis(expected, order, np.take_along_axis(drawn, order, -1), -1)
    assert pruned.dtype == dtype
    assert torch.equal(pruned.double(), torch.from_numpy(expected))


@pytest.mark.parametrize(("sparsity", "ours", "official"), [(0.5, 64, 65), (0.7, 39, 40), (0.0, 128, 128)])
def test_the_published_threshold_keeps_one_entry_more(sparsity, ours, official):
    x = torch.randn(50, 128, generator=torch.Generator().manual_seed(0))
    assert (prune_tokens(x, sparsity) != 0).sum(-1).unique().tolist() == [ours]
    assert (prune_tokens(x, sparsity, official=True) != 0).sum(-1).unique().tolist() == [official]


def test_the_published_threshold_keeps_all_that_tie():
    assert int((prune_tokens(torch.ones(1, 300), 0.5, official=True) != 0).sum()) == 300
    kept = prune_tokens(torch.ones(1, 300), 0.5)
    assert kept[0, :150].all()
    assert not kept[0, 150:].any()


def test_a_weight_decides_for_what_a_query_is_large_on(device):
    x = torch.randn(2, 7, 16, device=device)
    weight = torch.rand(2, 1, 16, device=device)
    expected = prune_tokens(x * weight, 0.5) != 0
    assert torch.equal(prune_tokens(x, 0.5, weight=weight) != 0, expected)


def test_whole_channels_of_each_head_go_and_padding_does_not_count(device):
    x = torch.tensor([[[3.0, 1.0, 2.0], [0.0, 2.0, 1.0], [9.0, 90.0, 9.0]]] * 2, device=device)
    mask = torch.tensor([[True, True, False]] * 2, device=device)
    kept = prune_channels(x, 0.4, key_mask=mask)
    # Norms without the last token: 3, sqrt(5), sqrt(5); the first of equal ones stays.
    assert torch.equal(
        kept != 0, torch.tensor([[[1, 1, 0], [0, 1, 0], [1, 1, 0]]] * 2, device=device, dtype=torch.bool)
    )
    weighted = prune_channels(x, 0.4, key_mask=mask, weight=torch.tensor([1.0, 0.1, 1.0], device=device))
    assert not weighted[..., 1].any()


@pytest.mark.parametrize("prune", [prune_tokens, prune_channels])
@pytest.mark.parametrize("sparsity", [-0.1, 1.0, float("nan"), "half"])
def test_a_sparsity_out_of_range_is_refused(prune, sparsity):
    with pytest.raises(ValueError, match="sparsity must be a number in"):
        prune(torch.ones(2, 4), sparsity)


@pytest.mark.parametrize("prune", [prune_tokens, prune_channels])
def test_what_cannot_be_ordered_is_refused(prune):
    with pytest.raises(ValueError, match="must not hold NaN"):
        prune(torch.tensor([[1.0, float("nan")]]), 0.5)
    with pytest.raises(TypeError, match="floating-point"):
        prune(torch.ones(2, 4, dtype=torch.int64), 0.5)
