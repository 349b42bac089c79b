"""Budgets of blocks for heads against all ways to share them."""

from itertools import product

import pytest
import torch

from sparsetheory.gpu.attention import (
    BlockScores,
    block_mass,
    dropped_block_mass,
    head_budgets,
    mean_pooled_scores,
    select_blocks,
)


def draw():
    source = torch.Generator().manual_seed(0)
    spread = torch.tensor([0.5, 3.0, 8.0])[:, None, None]
    return (spread * torch.randn(2, 3, 24, 8, generator=source, dtype=torch.float64) for _ in range(2))


def loss_of(gate, mass, counts, diagonal):
    mask = select_blocks(gate, n_blocks=counts, keep_diagonal=diagonal, dense_last=0)
    return float(dropped_block_mass(mass, mask).mean((0, 2)).sum())


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_no_other_way_to_share_blocks_drops_less(causal, diagonal):
    q, k = draw()
    mass = block_mass(q, k, 4, causal)
    gate = mean_pooled_scores(q, k, 4, causal)
    for total in (3, 7, 12):
        found = head_budgets(gate, mass, total, keep_diagonal=diagonal)
        counts = [option + 1 for option in found.options]
        assert found.loss == pytest.approx(loss_of(gate, mass, counts, diagonal), abs=1e-12)
        every = (c for c in product(range(1, 7), repeat=3) if sum(c) <= total)
        assert found.loss <= min(loss_of(gate, mass, list(c), diagonal) for c in every) + 1e-12


def test_a_head_with_all_its_mass_in_one_block_gets_one():
    rows = torch.tensor([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.7, 0.2, 0.1, 0.0]])
    mass = rows[None, :, None].expand(2, 3, 4, 4)
    gate = BlockScores(mass.log(), 4, 4, 1, causal=False)
    found = head_budgets(gate, mass, 6, keep_diagonal=False)
    assert found.options == (0, 3, 0)
    assert found.loss == pytest.approx(0.3)
    assert loss_of(gate, mass, [2, 2, 2], False) == pytest.approx(0.6)


def test_padding_does_not_count():
    q, k = draw()
    key_mask = torch.ones(2, 24, dtype=torch.bool)
    key_mask[:, :8] = False
    mass = block_mass(q, k, 4, key_mask=key_mask)
    gate = mean_pooled_scores(q, k, 4, key_mask=key_mask)
    rest = [part[:, :, 8:] for part in (q, k)]
    wanted = head_budgets(mean_pooled_scores(*rest, 4), block_mass(*rest, 4), 5)
    found = head_budgets(gate, mass, 5)
    assert found.options == wanted.options
    assert found.loss == pytest.approx(wanted.loss)


def test_wrong_arguments():
    q, k = draw()
    mass, gate = block_mass(q, k, 4), mean_pooled_scores(q, k, 4)
    with pytest.raises(ValueError, match="gate and mass must have one shape"):
        head_budgets(gate, mass[0], 6)
    with pytest.raises(ValueError, match=r"budget must be at least the cost of the cheapest options, 3\.0; got 2"):
        head_budgets(gate, mass, 2)
