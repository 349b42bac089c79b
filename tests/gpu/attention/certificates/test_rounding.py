"""Certificates hold for computed numbers: nearly equal keys, and scores near 100, are the hard case."""

import pytest
import torch

from sparsetheory.gpu.attention import (
    KeyBlocks,
    attention_scores,
    dropped_mass,
    dropped_mass_bound,
    dropped_mass_lower,
    log_mass_bounds,
    log_mass_lower,
)
from sparsetheory.gpu.attention.certificates.rounding import kept_error, lengths, score_error, unit_roundoff

KINDS = ("variance", "deviation", "chord", "plain")


def _equal_keys(dtype, offset, seed=0):
    source = torch.Generator().manual_seed(seed)
    center = torch.randn(400, 1, 8, dtype=torch.float64, generator=source) * offset
    q = torch.randn(400, 1, 8, dtype=torch.float64, generator=source)
    q = q * 100 * 8**0.5 / (q * center).sum(-1, keepdim=True).abs()
    k = center * (1 + 1e-6 * torch.randn(400, 30, 8, dtype=torch.float64, generator=source))
    return q.to(dtype), k.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("offset", [3.0, 30.0, 300.0])
def test_bounds_hold_where_keys_are_nearly_equal(dtype, offset, device):
    q, k = (part.to(device) for part in _equal_keys(dtype, offset))
    blocks = KeyBlocks.from_keys(k, 10)
    wide = blocks.mean.dtype
    log_kept = attention_scores(q.to(wide), k[:, :10].to(wide)).logsumexp(-1)
    true = dropped_mass(attention_scores(q.double(), k.double()), torch.arange(30, device=device) < 10)
    dropped = torch.tensor([False, True, True], device=device)
    for kind in KINDS:
        bound = dropped_mass_bound(q, blocks, log_kept, dropped=dropped, masses=kind)
        assert bound.dtype == wide
        assert (bound.double() >= true).all()
    assert (dropped_mass_lower(q, blocks, log_kept, dropped=dropped).double() <= true).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_bounds_of_one_block_hold_by_themselves(dtype, device):
    q, k = (part.to(device) for part in _equal_keys(dtype, 30.0))
    blocks = KeyBlocks.from_keys(k, 30)
    true = attention_scores(q.double(), k.double()).logsumexp(-1, keepdim=True)
    for kind in KINDS:
        assert (log_mass_bounds(q, blocks, masses=kind).double() >= true).all()
    assert (log_mass_lower(q, blocks).double() <= true).all()


def test_score_error_covers_single_precision():
    q, k = _equal_keys(torch.float32, 30.0)
    error = (attention_scores(q, k).double() - attention_scores(q.double(), k.double())).abs()
    bound = score_error(q, k.norm(dim=-1), 8**-0.5)
    assert (error <= bound).all()
    assert (error > 0.02 * bound).any()  # not a bound of another order


def test_kept_error_covers_an_online_softmax_that_rescales_for_every_key():
    source = torch.Generator().manual_seed(0)
    q, k = torch.randn(50, 4, generator=source) * 3, torch.randn(300, 4, generator=source) * 3
    scores = attention_scores(q, k)
    m, total = torch.full((50,), -1e30), torch.zeros(50)
    for j in range(300):
        new = torch.maximum(m, scores[:, j])
        total = total * (m - new).exp() + (scores[:, j] - new).exp()
        m = new
    found = (m + total.log()).double()
    error = (found - attention_scores(q.double(), k.double()).logsumexp(-1)).abs()
    assert (error <= kept_error(q, k.norm(dim=-1).amax(), 0.5, 300, 300)).all()


def test_products_that_may_run_in_fewer_bits_are_counted_as_such():
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert unit_roundoff(torch.float32) == 2.0**-8
        assert unit_roundoff(torch.float64) == 2.0**-53
        torch.set_float32_matmul_precision("highest")
        assert unit_roundoff(torch.float32) == 2.0**-24
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_sum_kept_in_half_precision_is_refused():
    blocks = KeyBlocks.from_keys(torch.randn(4, 2), 2)
    with pytest.raises(ValueError, match="log_kept must be of float32"):
        dropped_mass_bound(torch.randn(1, 2), blocks, torch.zeros(1, dtype=torch.bfloat16))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_a_share_below_the_range_of_the_dtype_is_not_zero(kind, dtype):
    """exp(-800) is no number of float64, and 1 / (1 + exp(89)) is zero in float32; but something was dropped."""
    k = torch.tensor([[0.0], [-1.0]], dtype=dtype)
    for score in (89.0, 100.0, 800.0):
        q = torch.tensor([[score]], dtype=dtype)
        dropped = torch.tensor([False, True])
        bound = dropped_mass_bound(
            q, KeyBlocks.from_keys(k, 1), torch.zeros(1, dtype=dtype), dropped=dropped, masses=kind, scale=1.0
        )
        assert bound > 0
        assert bound <= 2 * max(torch.finfo(dtype).tiny, torch.tensor(-score, dtype=torch.float64).exp())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "small"), [(torch.float32, 1e-25), (torch.float32, 1e-32), (torch.float64, 1e-180)])
def test_squares_outside_the_range_of_the_dtype_do_not_lose_a_score(kind, dtype, small):
    q, k = _equal_keys(torch.float64, 3.0)
    k = k + 0.1 * torch.randn(k.shape, dtype=k.dtype, generator=torch.Generator().manual_seed(5))
    usual = log_mass_bounds(q[:40].to(dtype), KeyBlocks.from_keys(k[:40].to(dtype), 10), masses=kind)
    for factor in (small, 1 / small):
        few, many = (q[:40] * factor).to(dtype), (k[:40] / factor).to(dtype)
        true = attention_scores(few.double(), many.double()).unflatten(-1, (3, 10)).logsumexp(-1)
        bound = log_mass_bounds(few, KeyBlocks.from_keys(many, 10), masses=kind)
        assert (bound.double() >= true).all()
        torch.testing.assert_close(bound, usual, rtol=1e-3, atol=0.0)


def test_scores_that_overflow_are_bounded_by_nothing():
    q, k = torch.full((1, 4), 1e30), torch.full((6, 4), 1e30)
    k[3:] *= -1
    blocks, log_kept = KeyBlocks.from_keys(k, 3), torch.zeros(1)
    for kind in KINDS:
        bound = log_mass_bounds(q, blocks, masses=kind)
        assert not bound.isnan().any()
        assert (dropped_mass_bound(q, blocks, log_kept, masses=kind) == 1).all()
    assert (log_mass_lower(q, blocks) == -torch.inf).all()
    assert (dropped_mass_lower(q, blocks, log_kept) == 0).all()


def test_lengths_are_norms_of_any_size():
    vectors = torch.tensor([[3.0, 4.0], [3e-30, 4e-30], [3e30, -4e30], [0.0, 0.0]])
    torch.testing.assert_close(lengths(vectors), torch.tensor([5.0, 5e-30, 5e30, 0.0]), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("kind", ["variance", "chord"])
def test_one_far_key_among_many_equal_ones_is_bounded(kind):
    """Both bounds are exact for two scores, and the probability of the far one is a small difference of large numbers.

    So a mean that is not enlarged by its rounding is seen, whatever the bound is enlarged by at the end.
    """
    source = torch.Generator().manual_seed(0)
    q, center = (torch.randn(30, 1, 8, dtype=torch.float64, generator=source) for _ in range(2))
    k = (center * 100).repeat(1, 1000, 1)
    k[:, :1] += q * 20 * 8**0.5 / q.square().sum(-1, keepdim=True)  # its score is larger by 20
    q, k = q.float(), k.float()
    true = attention_scores(q.double(), k.double()).logsumexp(-1, keepdim=True)
    assert (log_mass_bounds(q, KeyBlocks.from_keys(k, 1000), masses=kind).double() >= true).all()
