"""Masks of blocks against masks of pairs that are made one pair at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.gpu.attention import BlockMask, masked_attention

_TRUE = torch.ones(3, 3, dtype=torch.bool)


def _brute(blocks, n, m, block, causal, rows, columns):
    """Every pair by the definition, for one head."""
    kept = np.zeros((n, m), dtype=bool)
    place_q, place_k = np.argsort(rows), np.argsort(columns)
    for i in range(n):
        for j in range(m):
            seen = blocks[place_q[i] // block[0], place_k[j] // block[1]]
            kept[i, j] = seen and not (causal and j > i + m - n)
    return kept


@given(st.integers(1, 9), st.integers(0, 5), st.integers(1, 4), st.integers(1, 4), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_pairs_counts_and_visible_blocks_are_those_of_the_definition(n, more, rows, columns, causal, seed):
    rng, m = np.random.default_rng(seed), n + more
    blocks = rng.random((2, -(-n // rows), -(-m // columns))) < 0.5
    orders = [np.stack([rng.permutation(length) for _ in range(2)]) for length in (n, m)]
    mask = BlockMask(
        torch.from_numpy(blocks), n, m, (rows, columns), causal, *map(torch.from_numpy, orders), keep_diagonal=True
    )
    brute = np.stack(
        [
            _brute(mask.blocks[head].numpy(), n, m, (rows, columns), causal, orders[0][head], orders[1][head])
            for head in range(2)
        ]
    )
    assert np.array_equal(mask.element_mask().numpy(), brute)
    allowed = np.tril(np.ones((n, m)), m - n) if causal else np.ones((n, m))
    assert mask.density() == pytest.approx(brute.sum() / allowed.sum() / 2, rel=1e-12)
    # A block is visible if and only if it holds a kept pair.
    for head in range(2):
        sums = brute[head][orders[0][head]][:, orders[1][head]]
        for a, b in np.ndindex(*blocks.shape[1:]):
            part = sums[a * rows : (a + 1) * rows, b * columns : (b + 1) * columns]
            assert bool(mask.visible[head, a, b]) == part.any()


def test_density_of_a_long_sequence_needs_no_mask_of_its_pairs():
    n, size = 2**15, 2**10
    mask = BlockMask(torch.ones(n // size, n // size, dtype=torch.bool).tril(), n, n, (size, size), causal=True)
    assert mask.density() == 1.0
    assert BlockMask(mask.blocks, n, n, (size, size)).density() == pytest.approx(0.5 + size / n / 2)


def test_the_diagonal_is_that_of_positions_and_not_of_places():
    order = torch.tensor([3, 2, 1, 0])
    mask = BlockMask(torch.zeros(2, 2, dtype=torch.bool), 4, 4, (2, 2), True, perm_q=order, keep_diagonal=True)
    assert mask.blocks.tolist() == [[False, True], [True, False]]
    longer = BlockMask(torch.zeros(1, 3, dtype=torch.bool), 2, 6, (2, 2), True, keep_diagonal=True)
    assert longer.blocks.tolist() == [[False, False, True]]


def test_a_block_of_the_future_alone_keeps_no_key():
    blocks = torch.tensor([[True, True], [False, True]])
    BlockMask(blocks, 4, 4, (2, 2), causal=True)
    with pytest.raises(ValueError, match="query block 1 keeps no key block"):
        BlockMask(blocks & torch.tensor([[True], [False]]), 4, 4, (2, 2))
    with pytest.raises(ValueError, match="query block 0 keeps no key block"):
        BlockMask(torch.tensor([[False, True], [True, True]]), 4, 4, (2, 2), causal=True)
    # The second query of a block may see a key of the next block of keys, the first one does not.
    with pytest.raises(ValueError, match="query block 0 keeps no key block"):
        BlockMask(torch.tensor([[False, True, False, False], [True] * 4]), 4, 4, (2, 1), causal=True)


def test_a_key_mask_that_empties_a_query_is_refused_before_the_call():
    mask, x = BlockMask(torch.eye(3, dtype=torch.bool), 6, 6, (2, 2)), torch.randn(2, 1, 6, 4)
    key_mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    with pytest.raises(ValueError, match="query block 2 keeps no key block"):
        masked_attention(x, x, x, mask, backend="gather", key_mask=key_mask)
    causal = BlockMask(torch.eye(3, dtype=torch.bool), 6, 6, (2, 2), causal=True)
    with pytest.raises(ValueError, match="query block 0 keeps no key block"):
        masked_attention(x, x, x, causal, key_mask=torch.tensor([False] + [True] * 5))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"blocks": _TRUE.float()}, TypeError, "blocks must be a tensor of bool; got torch.float32"),
        ({"blocks": _TRUE[:2]}, ValueError, r"blocks must have shape \(..., 3, 3\); got \(2, 3\)"),
        ({"block": (2, 0)}, ValueError, "block must be an integer"),
        ({"block": 2}, ValueError, "block must be two numbers"),
        ({"n_keys": 5, "causal": True, "n_queries": 6}, ValueError, "n_keys must be at least n_queries=6"),
        ({"perm_q": torch.zeros(6, dtype=torch.int64)}, ValueError, "perm_q must hold every position from 0 to 5 once"),
        ({"perm_k": torch.arange(5)}, ValueError, "perm_k must be a tensor of int64"),
        ({"causal": 1}, ValueError, "causal must be"),
    ],
)
def test_errors_name_the_argument_and_what_it_was(change, error, message):
    with pytest.raises(error, match=message):
        BlockMask(**({"blocks": _TRUE, "n_queries": 6, "n_keys": 6, "block": (2, 2)} | change))


def test_a_mask_moves_with_its_orders(device):
    mask = BlockMask(_TRUE, 6, 6, (2, 2), True, torch.arange(6), torch.arange(6).flip(0)).to(device)
    assert {mask.blocks.device.type, mask.perm_q.device.type, mask.perm_k.device.type} == {device}
    assert mask.element_mask().device.type == device
    assert mask.density() == 1.0
