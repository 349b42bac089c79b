"""Stopping by the certified rule: the bound in a loop, and where single queries stop."""

from itertools import pairwise

import pytest
import torch

from sparsetheory.gpu.attention import (
    KeyBlocks,
    attention_scores,
    certified_stop,
    cluster_keys,
    dropped_mass,
    log_mass_bounds,
    remaining_mass,
)
from sparsetheory.gpu.attention.early_stop.certified import suffix_log_sums

KINDS = ("exact", "variance", "deviation", "chord", "plain")


def _problem(dtype=torch.float32, n=40, m=96, d=8, peak=2.0):
    source = torch.Generator().manual_seed(0)
    centers = peak * torch.randn(2, 8, d, generator=source)
    k = centers.repeat_interleave(m // 8, dim=1) + 0.3 * torch.randn(2, m, d, generator=source)
    k = k[:, torch.randperm(m, generator=source)]
    return (2 * torch.randn(2, n, d, generator=source)).to(dtype), k.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_in_a_loop_the_bound_holds_after_every_block(dtype, device):
    q, k = (part.to(device) for part in _problem(dtype))
    own, history = k[:, :16], k[:, 16:]
    rest = remaining_mass(q, KeyBlocks.from_keys(history, 16), own_keys=own)
    wide = torch.promote_types(dtype, torch.float32)
    scores, true = attention_scores(q.to(wide), k.to(wide)), attention_scores(q.double(), k.double())
    for visited in range(6):
        end = 16 + 16 * visited
        bound = rest.dropped(visited, scores[..., :end].logsumexp(-1))
        assert (bound.double() >= dropped_mass(true, torch.arange(96, device=device) < end)).all()
    assert (bound == 0).all()


def test_suffix_sums_are_those_of_a_loop_and_not_smaller():
    masses = 80 * torch.randn(6, 300, generator=torch.Generator().manual_seed(0))
    masses[0, 100:] = -torch.inf
    found = suffix_log_sums(masses)
    loop = torch.stack([masses[:, b:].double().logsumexp(-1) for b in range(300)], dim=-1)
    assert (found[:, -1] == -torch.inf).all()
    assert (found[:, :-1].double() >= loop).all()
    there = torch.isfinite(loop)
    torch.testing.assert_close(found[:, :-1].double()[there], loop[there], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("masses", KINDS)
@pytest.mark.parametrize("causal", [False, True])
def test_no_query_drops_more_than_allowed(masses, causal, device):
    q, k = (part.to(device) for part in _problem(n=96))
    labels = cluster_keys(k, 8)
    visible = torch.ones(96, 96, dtype=torch.bool, device=device).tril() if causal else None
    blocks = KeyBlocks.from_keys(k, labels)
    for max_dropped in (0.3, 0.05, 1e-3):
        stop = certified_stop(q, k, blocks, max_dropped=max_dropped, masses=masses, visible=visible)
        true = dropped_mass(attention_scores(q.double(), k.double()), stop.kept, visible=visible)
        assert (true <= stop.dropped_bound.double()).all()
        assert (stop.dropped_bound <= max_dropped).all()
        assert 0 < stop.density <= 1


def test_sharper_bounds_and_larger_masses_stop_no_later():
    q, k = _problem()
    blocks = KeyBlocks.from_keys(k, cluster_keys(k, 8))

    def visited(masses, max_dropped):
        return certified_stop(q, k, blocks, max_dropped=max_dropped, masses=masses).n_visited

    for sharp, wide in pairwise(KINDS):
        assert (visited(sharp, 0.05) <= visited(wide, 0.05)).all()
    for loose, tight in ((0.5, 0.1), (0.1, 0.01), (0.01, 1e-4)):
        assert (visited("variance", loose) <= visited("variance", tight)).all()
    assert visited("exact", 0.05).sum() < visited("plain", 0.05).sum()


def test_kept_pairs_are_those_of_the_first_blocks_in_order():
    q, k = _problem(n=5)
    labels = cluster_keys(k, 8)
    blocks = KeyBlocks.from_keys(k, labels)
    stop = certified_stop(q, k, blocks, max_dropped=0.1)
    order = log_mass_bounds(q, blocks).argsort(dim=-1, descending=True, stable=True)
    assert torch.equal(stop.order, order)
    for head in range(2):
        for i in range(5):
            chosen = order[head, i, : stop.n_visited[head, i]]
            assert torch.equal(stop.kept[head, i], torch.isin(labels[head], chosen))
    assert stop.density == pytest.approx(float(stop.kept.double().mean()))


def test_the_future_of_a_query_changes_nothing_but_bounds():
    """Keys after the last query that may see them: no query may keep them, and bounds stay valid."""
    q, k = _problem(n=48)
    visible = torch.ones(48, 96, dtype=torch.bool).tril()
    for factor in (1.0, 30.0):
        changed = torch.cat([k[:, :48], factor * k[:, 48:]], dim=1)
        stop = certified_stop(q, changed, KeyBlocks.from_keys(changed, 8), max_dropped=0.2, visible=visible)
        assert not (stop.kept & ~visible).any()
        true = dropped_mass(attention_scores(q.double(), changed.double()), stop.kept, visible=visible)
        assert (true <= stop.dropped_bound.double()).all()


def test_keys_of_no_block_are_never_kept():
    q, k = _problem(n=4)
    labels = torch.arange(96) // 12
    labels[90:] = -1
    exists = torch.arange(96) < 90
    stop = certified_stop(q, k, KeyBlocks.from_keys(k, labels), max_dropped=0.1, visible=exists.expand(4, 96))
    assert not stop.kept[..., 90:].any()


@pytest.mark.parametrize("max_dropped", [0.0, 1.0, -0.1, float("nan"), True])
def test_max_dropped_is_a_fraction(max_dropped):
    q, k = _problem(n=2)
    with pytest.raises(ValueError, match="max_dropped must be a number in"):
        certified_stop(q, k, KeyBlocks.from_keys(k, 8), max_dropped=max_dropped)


def test_the_bound_of_a_stop_covers_the_rounding_of_the_kept_scores():
    """Equal keys with large scores: the share of what is dropped is known to be its share of the keys."""
    draws = torch.Generator().manual_seed(0)
    q, key = torch.randn(200, 1, 8, generator=draws), 300 * torch.randn(200, 1, 8, generator=draws)
    k = key.repeat(1, 8, 1)
    for masses in ("variance", "exact"):
        stop = certified_stop(q, k, KeyBlocks.from_keys(k, 2), max_dropped=0.9, masses=masses)
        rest = 1 - stop.kept.double().mean(-1)
        assert (stop.dropped_bound.double() >= rest).all()
        assert (rest > 0).any()
