"""Blocks from scores: counts, ties, the diagonal, the last rows, and shares of the causal triangle."""

import math

import numpy as np
import pytest
import torch

from sparsetheory.gpu.attention import BlockScores, blocks_per_row, masked_attention, select_blocks


def scores(n=32, block=4, causal=True, lead=(2, 3), seed=0):
    count = math.ceil(n / block)
    drawn = torch.randn(*lead, count, count, generator=torch.Generator().manual_seed(seed))
    return BlockScores(drawn, n, n, block, causal)


def by_sorting(logits, count, diagonal):
    """Return the kept blocks of a causal row by numpy's stable sort."""
    kept = np.zeros(logits.shape, bool)
    for row in np.ndindex(logits.shape[:-1]):
        i, values = row[-1], logits[row].astype(float).copy()
        if diagonal:
            values[i] = np.inf
        order = np.argsort(-values[: i + 1], kind="stable")[:count]
        kept[row][order] = True
    return kept


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("count", [1, 3, 8, 50])
def test_rows_keep_their_largest_scores(count, diagonal, device):
    gate = scores()
    moved = BlockScores(gate.logits.to(device), 32, 32, 4, True)
    found = select_blocks(moved, n_blocks=count, keep_diagonal=diagonal, dense_last=0)
    assert np.array_equal(found.visible.cpu().numpy(), by_sorting(gate.logits.numpy(), count, diagonal))


def test_ties_go_to_the_lowest_index():
    gate = BlockScores(torch.zeros(1, 300, 300), 300, 300, 1, causal=False)
    found = select_blocks(gate, n_blocks=5, keep_diagonal=False, dense_last=0)
    assert found.blocks[..., :5].all()
    assert not found.blocks[..., 5:].any()


def test_density_is_that_of_the_triangle():
    gate = scores(n=256, lead=())
    for density in (0.1, 0.25, 0.5, 0.9):
        found = select_blocks(gate, density=density, dense_last=0)
        share = float(found.visible.sum()) / (64 * 65 / 2)
        assert density - 2 / 64 - 1 / 260 < share <= density
    assert select_blocks(gate, density=1.0).visible.sum() == 64 * 65 / 2


@pytest.mark.parametrize(("density", "n", "wanted"), [(0.36, 10, 2), (0.75, 16, 8), (0.01, 16, 1), (1.0, 7, 7)])
def test_blocks_of_a_causal_row(density, n, wanted):
    assert blocks_per_row(density, n, causal=True) == wanted


def test_blocks_of_a_row_without_causality():
    assert [blocks_per_row(d, 10, causal=False) for d in (0.29, 0.3, 0.7, 0.01)] == [2, 3, 7, 1]


def test_a_threshold_that_no_block_exceeds_leaves_the_diagonal():
    gate = BlockScores(torch.zeros(600, 600), 600, 600, 1, causal=True)
    found = select_blocks(gate, threshold=2e-3, dense_last=0)
    # With equal scores row i has probabilities 1 / (i + 1), above the threshold in the first 499 rows.
    assert found.visible.sum(-1).tolist() == [*range(1, 500), *[1] * 101]
    with pytest.raises(ValueError, match="query block 499 keeps no key block"):
        select_blocks(gate, threshold=2e-3, keep_diagonal=False, dense_last=0)


def test_a_threshold_is_strict():
    gate = BlockScores(torch.tensor([[0.0, 0.0]]), 1, 2, 1, causal=False)
    with pytest.raises(ValueError, match="keeps no key block"):
        select_blocks(gate, threshold=0.5, keep_diagonal=False, dense_last=0)
    assert select_blocks(gate, threshold=0.4999, keep_diagonal=False, dense_last=0).blocks.all()


def test_the_last_rows_are_dense():
    found = select_blocks(scores(), n_blocks=1)
    assert found.visible.sum(-1)[0, 0].tolist() == [1, 1, 1, 1, 1, 1, 7, 8]


def test_masks_are_lower_triangular():
    for options in ({"density": 0.9}, {"threshold": 0.0}, {"n_blocks": 8}):
        assert not select_blocks(scores(), **options).visible.triu(1).any()


def test_a_short_last_block_and_queries_at_the_end():
    drawn = torch.zeros(2, 3)
    found = select_blocks(BlockScores(drawn, 5, 11, 4, causal=True), n_blocks=1, dense_last=0)
    # Queries 0 to 3 stand at positions 6 to 9, in the blocks 1 and 2 of keys; query 4 stands at 10. Of a diagonal of
    # two blocks a single one fits: the first.
    assert found.blocks.long().tolist() == [[0, 1, 0], [0, 0, 1]]


def test_one_number_for_each_head():
    found = select_blocks(scores(), n_blocks=[1, 2, 8], dense_last=0)
    assert found.visible.sum(-1)[0, :, -1].tolist() == [1, 2, 8]


def test_padding_is_never_kept_but_on_the_diagonal():
    drawn = torch.zeros(4, 4)
    drawn[:, 0] = drawn[0] = -torch.inf
    found = select_blocks(BlockScores(drawn, 8, 8, 2, causal=True), n_blocks=4, dense_last=0)
    assert found.visible.long().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]]


def test_all_blocks_kept_is_dense_attention(device):
    source = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 30, 8, generator=source).to(device) for _ in range(3))
    dense = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    gate = scores(30)
    moved = BlockScores(gate.logits.to(device), 30, 30, 4, True)
    for options in ({"density": 1.0}, {"n_blocks": 8}, {"threshold": 0.0}):
        torch.testing.assert_close(masked_attention(q, k, v, select_blocks(moved, **options)), dense)


def test_wrong_arguments():
    gate = scores()
    with pytest.raises(ValueError, match="exactly one of density, threshold and n_blocks must be given"):
        select_blocks(gate)
    with pytest.raises(ValueError, match="exactly one of density, threshold and n_blocks must be given"):
        select_blocks(gate, density=0.5, threshold=0.1)
    for density in (0.0, 1.5, math.nan):
        with pytest.raises(ValueError, match=r"density must be a number in \(0, 1\]"):
            select_blocks(gate, density=density)
    for threshold in (-0.1, math.nan, math.inf, 1.0):
        with pytest.raises(ValueError, match=r"threshold must be a number in \[0, 1\)"):
            select_blocks(gate, threshold=threshold)
    with pytest.raises(ValueError, match="n_blocks must hold a number for each of 3 heads; got 2"):
        select_blocks(gate, n_blocks=[1, 2])
    with pytest.raises(ValueError, match="n_blocks must be an integer from 1"):
        select_blocks(gate, n_blocks=0)
    with pytest.raises(ValueError, match=r"logits must have shape \(..., 8, 8\); got \(4, 4\)"):
        BlockScores(torch.zeros(4, 4), 32, 32, 4, True)
    with pytest.raises(ValueError, match="logits must not hold NaN"):
        BlockScores(torch.full((8, 8), math.nan), 32, 32, 4, True)
