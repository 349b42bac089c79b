"""Certified bounds of the dropped mass and of the output, where blocks are dropped in part and keys hide."""

from itertools import product

import pytest
import torch

from sparsetheory.gpu.attention import (
    KeyBlocks,
    attention_scores,
    dropped_mass,
    dropped_mass_bound,
    dropped_mass_lower,
    output_error_bound,
)

KINDS = ("variance", "deviation", "chord", "plain")


def _draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_the_true_mass_lies_between_both_bounds(kind, device):
    q, k = _draw(3, 20, 6).to(device), _draw(3, 48, 6, seed=1).to(device)
    blocks, dropped = KeyBlocks.from_keys(k, 8), _draw(3, 20, 6, seed=2).to(device) > 0
    dropped[..., 0] = False
    scores = attention_scores(q, k)
    kept = ~dropped.repeat_interleave(8, dim=-1)
    log_kept = scores.masked_fill(~kept, -torch.inf).logsumexp(-1)
    true = dropped_mass(scores, kept)
    assert (dropped_mass_bound(q, blocks, log_kept, dropped=dropped, masses=kind) >= true).all()
    assert (dropped_mass_lower(q, blocks, log_kept, dropped=dropped) <= true).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_boundary_of_causality_inside_a_dropped_block_keeps_the_bound(kind):
    """The future of a block only makes the bound larger; and what is before the boundary may be the heaviest key."""
    q, k = _draw(32, 4), _draw(32, 4, seed=1)
    k[::8] *= 4  # the first key of each block
    visible = torch.ones(32, 32, dtype=torch.bool).tril()
    block_of = torch.arange(32) // 8
    kept = visible & ((block_of == 0) | (block_of[:, None] - block_of == 1))
    kept[:8] = visible[:8]
    scores = attention_scores(q, k)
    log_kept = scores.masked_fill(~kept, -torch.inf).logsumexp(-1)
    dropped = (visible & ~kept).unflatten(-1, (4, 8)).any(-1)
    bound = dropped_mass_bound(q, KeyBlocks.from_keys(k, 8), log_kept, dropped=dropped, masses=kind)
    assert (bound >= dropped_mass(scores, kept, visible=visible)).all()


def test_a_hidden_heavy_key_is_bounded():
    k = torch.zeros(64, 4, dtype=torch.float64)
    k[-1, 0] = 20.0
    q = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)
    kept = torch.arange(64) < 48
    log_kept = torch.tensor([48.0], dtype=torch.float64).log()
    for kind in KINDS:
        bound = dropped_mass_bound(
            q, KeyBlocks.from_keys(k, 8), log_kept, dropped=torch.arange(8) >= 6, masses=kind, scale=1.0
        )
        assert bound >= dropped_mass(q @ k.mT, kept) > 1 - 2e-7


def test_keys_of_no_block_enlarge_the_rounding():
    q, k = _draw(1, 4).float(), _draw(16, 4, seed=1).float()
    log_kept, blocks = torch.zeros(1), KeyBlocks.from_keys(k, 8)
    plain = dropped_mass_bound(q, blocks, log_kept)
    far = dropped_mass_bound(q, blocks, log_kept, own_keys=torch.full((2, 4), 1e4))
    none = dropped_mass_bound(q, blocks, log_kept, own_keys=torch.empty(0, 4))
    assert plain == none
    assert far > plain


def test_nothing_dropped_is_the_bound_zero():
    blocks = KeyBlocks.from_keys(_draw(16, 4), 8)
    none = torch.zeros(5, 2, dtype=torch.bool)
    assert (dropped_mass_bound(_draw(5, 4), blocks, torch.zeros(5, dtype=torch.float64), dropped=none) == 0).all()


def test_the_output_bound_is_the_maximum_over_all_masses():
    """Linear over linear in each mass: the largest value is at a corner of the box of masses."""
    ratios, far = _draw(40, 5).exp() * 2, _draw(40, 5, seed=1).abs()
    corners = torch.tensor(list(product([0.0, 1.0], repeat=5)), dtype=torch.float64)
    masses = ratios[:, None] * corners
    best = ((masses * far[:, None]).sum(-1) / (1 + masses.sum(-1))).amax(-1)
    torch.testing.assert_close(output_error_bound(ratios.log(), far), best, rtol=1e-12, atol=1e-14)


def test_the_output_bound_does_not_overflow():
    far = torch.tensor([1.0, 2.0, 0.5])
    torch.testing.assert_close(output_error_bound(torch.tensor([500.0, 500.0, 600.0]), far), torch.tensor(2.0))
    assert output_error_bound(torch.full((3,), -torch.inf), far) == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_output_bound_holds_where_a_near_block_is_much_heavier_than_a_far_one(dtype):
    far = torch.tensor([1.0, 9.0, 0.5], dtype=dtype)
    for ratios in ([1300.0, 500.0, -torch.inf], [1300.0, -torch.inf, 0.0], [torch.inf, 800.0, 0.0]):
        log_ratios = torch.tensor(ratios, dtype=dtype)
        # All of the block with the largest distance among those of very large mass, and nothing of the others.
        best = far[log_ratios > 100].max()
        assert best <= output_error_bound(log_ratios, far) * (1 + 1e-6) <= 9 * (1 + 1e-6)
        if torch.isfinite(log_ratios[:2]).all():
            torch.testing.assert_close(output_error_bound(log_ratios, far), best, rtol=1e-4, atol=0.0)
