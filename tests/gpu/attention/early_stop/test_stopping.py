"""Attention that stops early: what is exact, what is counted, what is refused."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from sparsetheory.gpu.attention import (
    VisitOrder,
    early_stop_attention,
    monotone_gain_bound,
    rank_history,
    visit_order,
)

_EXACT = 1e-12
_BLOCK = (5, 4)


def _parts(device, n=43, seed=0):
    rng = torch.Generator().manual_seed(seed)
    q = 2 * torch.randn(2, 4, n, 8, generator=rng, dtype=torch.float64)
    k, v = torch.randn(2, 2, 2, n, 8, generator=rng, dtype=torch.float64)
    return q.to(device), k.to(device), v.to(device)


@pytest.mark.parametrize("by", ["token", "block", "natural", "oracle"])
@pytest.mark.parametrize("causal", [True, False])
def test_without_a_rule_it_is_dense_attention(device, by, causal):
    q, k, v = _parts(device)
    order = visit_order(q, k, 12, by=by, block=_BLOCK, causal=causal)
    stop = early_stop_attention(q, k, v, order, block=_BLOCK, causal=causal)
    dense = scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
    assert (stop.out - dense).abs().max() < _EXACT
    assert (stop.density, int(stop.blocks_left.sum()), stop.dropped_bound) == (1.0, 0, None)


def test_an_order_is_a_permutation_of_the_history_and_never_of_the_future(device):
    q, k, _ = _parts(device)
    for by in ("token", "block", "natural", "oracle"):
        order = visit_order(q, k, 12, by=by, block=_BLOCK)
        assert [part.shape[-1] for part in order.keys] == [0, 12, 24, 36]
        for part in order.keys:
            assert torch.equal(part.sort(-1).values, torch.arange(part.shape[-1], device=device).expand_as(part))


def test_the_future_changes_nothing(device):
    q, k, v = _parts(device)
    later = (torch.arange(43, device=device) >= 24)[:, None]
    found = []
    for filler in (k, 50.0 + 0 * k):
        changed = torch.where(later, filler, k)
        order = visit_order(q, changed, 12, block=_BLOCK)
        stop = early_stop_attention(q, changed, torch.where(later, filler, v), order, 0.1, 0.2, _BLOCK)
        found.append((stop.out[..., :24, :], stop.dropped_bound[..., :24]))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_blocks_that_are_left_have_no_influence(device):
    q, k, v = _parts(device)
    order = visit_order(q, k, 12, block=_BLOCK)
    stop = early_stop_attention(q, k, v, order, gain_tol=0.2, block=_BLOCK)
    assert int(stop.blocks_left.sum()) > 0
    # Dense attention over the visited keys only.
    allowed = torch.zeros(2, 4, 43, 43, dtype=torch.bool, device=device)
    tiles = [(start + first, start) for start in range(0, 43, 12) for first in range(0, min(12, 43 - start), 5)]
    for number, (_, start) in enumerate(tiles):
        place = sum(1 for other in tiles[:number] if other[1] == start) * 5
        segment = start // 12
        rows = order.queries[segment][..., place : place + 5] + start
        for text in range(2):
            for head in range(4):
                count = int(stop.blocks_visited[text, head, number]) * 4
                kept = order.keys[segment][text, head, :count]
                for row in rows[text, head].tolist():
                    allowed[text, head, row, kept] = True
                    allowed[text, head, row, start : row + 1] = True
    dense = scaled_dot_product_attention(q, k, v, attn_mask=allowed, enable_gqa=True)
    assert (stop.out - dense).abs().max() < _EXACT


def test_the_certified_rule_bounds_what_was_dropped(device):
    q, k, v = _parts(device, seed=1)
    order = visit_order(q, k, 12, by="oracle", block=_BLOCK)
    counts = []
    for tol in (0.4, 0.2, 0.05):
        stop = early_stop_attention(q, k, v, order, max_dropped=tol, block=_BLOCK)
        assert float(stop.dropped_bound.max()) <= tol
        assert torch.equal(stop.dropped_bound[..., :12], torch.zeros_like(stop.dropped_bound[..., :12]))
        counts.append(stop.blocks_visited)
    assert bool((counts[0] <= counts[1]).all())
    assert bool((counts[1] <= counts[2]).all())
    assert int(counts[0].sum()) < int(counts[2].sum())


def test_a_hidden_heavy_key_defeats_the_gain_and_not_the_certificate():
    k = torch.zeros(1, 64, 4, dtype=torch.float64)
    k[0, -1, 0] = 20.0
    q, v = torch.tensor([[[1.0, 0, 0, 0]]], dtype=torch.float64), k.clone()
    order = VisitOrder(1, (torch.arange(64),))
    options = {"block": (1, 8), "causal": False, "scale": 1.0}
    stop = early_stop_attention(q, k, v, order, gain_tol=0.2, **options)
    true = 1 - 48 / (63 + torch.tensor(20.0, dtype=torch.float64).exp())
    assert int(stop.blocks_visited) == 6
    assert monotone_gain_bound(0.2, int(stop.blocks_left)) == pytest.approx(0.4 / 1.4)
    assert float(true) > 1 - 2e-7
    certain = early_stop_attention(q, k, v, order, max_dropped=0.2, **options)
    assert int(certain.blocks_left) == 0


def test_a_tile_waits_for_its_slowest_query():
    q = torch.tensor([[[30.0, 0.0], [0.0, 0.0]]])
    k = torch.zeros(1, 32, 2)
    k[0, 0, 0] = 1.0
    for rows, expected in ((1, [1, 8]), (2, [8])):
        stop = early_stop_attention(
            q, k, k, VisitOrder(2, (torch.arange(32),)), max_dropped=1e-3, block=(rows, 4), causal=False
        )
        assert stop.blocks_visited.flatten().tolist() == expected


def test_a_sequence_of_one_segment_has_no_history():
    x = torch.randn(1, 7, 4, dtype=torch.float64)
    order = visit_order(x, x, 16, block=(4, 4))
    stop = early_stop_attention(x, x, x, order, 0.5, 0.5, (4, 4))
    assert torch.allclose(stop.out, scaled_dot_product_attention(x, x, x, is_causal=True), atol=_EXACT)
    assert (stop.density, float(stop.dropped_bound.max()), stop.blocks_visited.tolist()) == (1.0, 0.0, [[0, 0]])


def test_density_counts_blocks_that_causality_allows():
    x = torch.zeros(1, 8, 4)
    # Equal keys: the second block of a history of two brings a share of less than a half.
    stop = early_stop_attention(x, x, x, visit_order(x, x, 2, block=(2, 2)), gain_tol=0.45, block=(2, 2))
    # Own blocks 4; histories of 0, 1, 2 and 3 blocks. The first of them brings half of the mass, the second a third.
    assert stop.blocks_visited.tolist() == [[0, 1, 2, 2]]
    assert stop.density == pytest.approx(9 / 10)


def test_ranking_is_by_the_mean_query_and_ties_keep_their_order(device):
    q = torch.tensor([[2.0, 0.0], [0.0, 4.0]], device=device)
    k = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.25], [1.0, 0.0]], device=device)
    assert rank_history(q, k).tolist() == [1, 0, 2, 3]
    assert rank_history(q, torch.zeros(300, 2, device=device)).tolist() == list(range(300))
    assert rank_history(q, k[:0]).shape == (0,)


def test_blocks_are_ranked_as_wholes():
    q = torch.ones(1, 2, 1)
    k = torch.tensor([0.0, 1.0, 5.0, 0.0, 3.0])[None, :, None]
    order = visit_order(q, k, 2, by="block", block=(2, 2), causal=False)
    assert order.keys[0].tolist() == [[4, 2, 3, 0, 1]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_computed_in_single(device, dtype):
    q, k, v = (part.to(dtype) for part in _parts(device))
    order = visit_order(q, k, 12, block=_BLOCK)
    out = early_stop_attention(q, k, v, order, block=_BLOCK).out
    exact = early_stop_attention(*(part.double() for part in (q, k, v)), order, block=_BLOCK).out
    assert out.dtype == dtype
    assert (out.double() - exact).abs().max() < 20 * torch.finfo(dtype).eps


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gain_tol": 1.0}, "gain_tol must be"),
        ({"gain_tol": float("nan")}, "gain_tol must be"),
        ({"max_dropped": 0.0}, "max_dropped must be"),
        ({"max_dropped": 1.0}, "max_dropped must be"),
        ({"k": torch.full((1, 8, 4), torch.nan)}, "k must hold finite numbers"),
        ({"k": torch.zeros(1, 9, 4), "v": torch.zeros(1, 9, 4)}, "as many keys as there are queries, 8"),
        ({"order": VisitOrder(4, (torch.arange(0), torch.tensor([0, 1, 1, 3])))}, "permutations of the 4 keys"),
        ({"order": VisitOrder(4, (torch.arange(0), torch.arange(3)))}, r"keys of lengths \[0, 4\]; got \[0, 3\]"),
        ({"block": (4, 0)}, "block must be"),
    ],
)
def test_errors_name_the_argument_and_what_it_was(change, message):
    x = torch.zeros(1, 8, 4)
    given = {"q": x, "k": x, "v": x, "order": visit_order(x, x, 4, block=(4, 4)), "block": (4, 4)}
    with pytest.raises(ValueError, match=message):
        early_stop_attention(**(given | change))


def test_the_bound_of_falling_masses():
    assert monotone_gain_bound(0.2, 2) == pytest.approx(0.4 / 1.4)
    assert monotone_gain_bound(torch.tensor([0.0, 0.5]), torch.tensor([9, 2])).tolist() == [0.0, 0.5]
    with pytest.raises(ValueError, match="remaining must not be negative; got -1"):
        monotone_gain_bound(0.2, -1)
