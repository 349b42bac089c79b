"""Scores without training, and what they drop."""

import pytest
import torch

from sparsetheory.gpu.attention import (
    block_mass,
    dropped_block_mass,
    mean_pooled_scores,
    oracle_scores,
    random_scores,
    select_blocks,
    sink_window_scores,
)


def draw(n=27, heads=4, key_heads=2):
    source = torch.Generator().manual_seed(0)
    return (2.0 * torch.randn(2, h, n, 8, generator=source, dtype=torch.float64) for h in (heads, key_heads))


def test_mean_pooling_gives_the_mean_score_of_a_block():
    q, k = draw(28)
    found = mean_pooled_scores(q, k, 4, causal=False).logits
    pairs = q @ k.repeat_interleave(2, 1).mT / 8**0.5
    wanted = pairs.unflatten(-1, (-1, 4)).unflatten(-3, (-1, 4)).mean((-1, -3))
    torch.testing.assert_close(found, wanted)


def test_padding_has_no_part_in_means():
    q, k = draw(12)
    key_mask = torch.ones(2, 12, dtype=torch.bool)
    key_mask[:, :5] = False
    before = mean_pooled_scores(q, k, 4, key_mask=key_mask).logits
    assert (before[..., 0] == -torch.inf).all()
    k[:, :, :5], q[:, :, :5] = 1e5, 1e5
    assert torch.equal(before, mean_pooled_scores(q, k, 4, key_mask=key_mask).logits)


@pytest.mark.parametrize("causal", [True, False])
def test_the_oracle_drops_least(causal):
    q, k = draw()
    mass = block_mass(q, k, 4, causal)
    best = oracle_scores(q, k, 4, causal)
    for n_blocks in (1, 2, 4):
        kept = {"n_blocks": n_blocks, "keep_diagonal": False, "dense_last": 0}
        least = dropped_block_mass(mass, select_blocks(best, **kept))
        for other in (mean_pooled_scores(q, k, 4, causal), random_scores(best, 1)):
            assert (least <= dropped_block_mass(mass, select_blocks(other, **kept)) + 1e-12).all()


def test_dropped_mass_of_blocks_is_the_mean_over_their_queries():
    q, k = draw()
    mask = select_blocks(random_scores(oracle_scores(q, k, 4), 0), n_blocks=2)
    found = dropped_block_mass(block_mass(q, k, 4), mask)
    seen = torch.ones(27, 27, dtype=torch.bool).tril()
    scores = (q @ k.repeat_interleave(2, 1).mT / 8**0.5).masked_fill(~seen, -torch.inf)
    exact = (torch.softmax(scores, -1) * ~mask.element_mask()).sum(-1)
    for i in range(7):
        torch.testing.assert_close(found[..., i], exact[..., 4 * i : 4 * i + 4].mean(-1), rtol=1e-10, atol=1e-14)


def test_tiny_dropped_masses_keep_their_digits():
    mask = select_blocks(sink_window_scores(2, 4, 2, causal=False), n_blocks=1, keep_diagonal=False, dense_last=0)
    found = dropped_block_mass(torch.tensor([[2.0, 1e-12]]), mask)
    torch.testing.assert_close(found, torch.tensor([5e-13]), rtol=1e-6, atol=0.0)


def test_sinks_come_first_and_then_the_nearest():
    mask = select_blocks(sink_window_scores(12, 12, 2), n_blocks=3, dense_last=0).visible
    assert mask[5].long().tolist() == [1, 0, 0, 0, 1, 1]
    assert mask[1].long().tolist() == [1, 1, 0, 0, 0, 0]
    both = select_blocks(sink_window_scores(12, 12, 2, False), n_blocks=4, keep_diagonal=False, dense_last=0).blocks
    assert both[3].long().tolist() == [1, 0, 1, 1, 1, 0]
    none = select_blocks(sink_window_scores(12, 12, 2, n_sinks=0), n_blocks=2, dense_last=0).visible
    assert none[5].long().tolist() == [0, 0, 0, 0, 1, 1]


def test_random_choices_are_drawn_from_all_visible_blocks():
    like = oracle_scores(*draw(), 4)
    assert torch.equal(random_scores(like, 3).logits, random_scores(like, 3).logits)
    assert not torch.equal(random_scores(like, 3).logits, random_scores(like, 4).logits)
    many = torch.stack([select_blocks(random_scores(like, s), n_blocks=2, dense_last=0).visible for s in range(200)])
    last = many[..., -1, :].double().mean((0, 1, 2))
    # The diagonal always, and one of six others: 1600 draws, five standard deviations of a share of one in six.
    assert last[-1] == 1
    assert (last[:-1] - 1 / 6).abs().max() < 5 * (5 / 36 / 1600) ** 0.5


def test_wrong_arguments():
    with pytest.raises(ValueError, match="n_sinks must be an integer from 0"):
        sink_window_scores(4, 4, 2, n_sinks=-1)
    mask = select_blocks(sink_window_scores(4, 4, 2), n_blocks=1)
    with pytest.raises(ValueError, match="mass must have blocks"):
        dropped_block_mass(torch.ones(3, 3), mask)
