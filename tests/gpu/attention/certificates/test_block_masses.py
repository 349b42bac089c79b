"""Bounds of block masses against textbook formulas, true masses and each other."""

import math
from itertools import pairwise

import pytest
import torch

from sparsetheory.gpu.attention import KeyBlocks, log_mass_bounds, log_mass_lower, log_mean_exp_bound, score_range

KINDS = ("variance", "deviation", "chord", "plain")


def _draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _numbers(n=500):
    low, a, b, share = torch.rand(4, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    low, a, b = 4 * low - 2, 0.01 + 3 * a, 0.01 + 3 * b
    return low + a, low, low + a + b, share * a * b


def test_chord_and_bennett_are_those_of_the_textbook():
    mean, low, high, variance = _numbers()
    b = high - mean
    chord = ((high - mean) * low.exp() + (mean - low) * high.exp()) / (high - low)
    bennett = mean.exp() * (b**2 * torch.exp(-variance / b) + variance * b.exp()) / (b**2 + variance)
    torch.testing.assert_close(log_mean_exp_bound(mean, low, high), chord.log(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_mean_exp_bound(mean, low, high, variance), bennett.log(), rtol=1e-12, atol=1e-12)


def test_the_bound_grows_with_mean_end_and_variance_and_falls_with_the_lower_end():
    mean, low, high, variance = _numbers()
    bound = log_mean_exp_bound(mean, low, high, variance)
    step = 0.3 * (high - mean)
    for other in (
        log_mean_exp_bound(mean + step, low, high, variance),
        log_mean_exp_bound(mean, low, high + step, variance),
        log_mean_exp_bound(mean, low - step, high, variance),
        log_mean_exp_bound(mean, low, high, 1.5 * variance),
    ):
        assert (other >= bound - 1e-12).all()


def test_no_variable_of_that_mean_range_and_variance_exceeds_the_bound():
    source = torch.Generator().manual_seed(0)
    points = torch.rand(2000, 5, dtype=torch.float64, generator=source) ** 3 * 6 - 3
    weights = torch.rand(2000, 5, dtype=torch.float64, generator=source) ** 4
    weights /= weights.sum(1, keepdim=True)
    mean = (weights * points).sum(1)
    variance = (weights * (points - mean[:, None]) ** 2).sum(1)
    true = (weights * points.exp()).sum(1).log()
    for known in (variance, None):
        assert (log_mean_exp_bound(mean, points.amin(1), points.amax(1), known) >= true - 1e-12).all()


def test_degenerate_ranges_and_huge_scores_have_finite_bounds():
    ends = torch.tensor([-900.0, 0.0, 900.0], dtype=torch.float64)
    for variance in (None, torch.zeros(3, dtype=torch.float64)):
        assert torch.equal(log_mean_exp_bound(ends, ends, ends, variance), ends)
    wide = log_mean_exp_bound(ends * 0, ends * 0 - 900, ends * 0 + 900)
    torch.testing.assert_close(wide, torch.full_like(wide, 900 - math.log(2)), rtol=1e-12, atol=0)


def test_bounds_hold_in_order_on_every_device(device):
    q, k = _draw(2, 4, 30, 6).to(device) * 2, _draw(2, 4, 50, 6, seed=1).to(device)
    labels = torch.randint(0, 7, (2, 4, 50), generator=torch.Generator().manual_seed(2)).to(device)
    blocks = KeyBlocks.from_keys(k, labels)
    scores = (q @ k.mT / 6**0.5)[..., None, :].masked_fill(
        labels[..., None, None, :] != torch.arange(7, device=device)[:, None], -torch.inf
    )
    true = scores.logsumexp(-1)
    chain = [log_mass_lower(q, blocks), true, *(log_mass_bounds(q, blocks, masses=kind) for kind in KINDS)]
    for lower, upper in pairwise(chain):
        assert (lower <= upper + 1e-13 * upper.abs()).all()
    assert (true < chain[2]).all()
    gaps = [float((bound - true).mean()) for bound in chain[2:]]
    assert gaps == sorted(gaps)
    assert gaps[0] < 0.5 * gaps[-1]


def test_scores_lie_in_their_range():
    q, k = _draw(30, 6), _draw(40, 6, seed=1) + 2
    blocks = KeyBlocks.from_keys(k, 8)
    low, mean, high = score_range(q, blocks, 0.5)
    scores = 0.5 * (q @ k.mT).unflatten(-1, (5, 8))
    assert (scores.amin(-1) >= low - 1e-12).all()
    assert (scores.amax(-1) <= high + 1e-12).all()
    torch.testing.assert_close(mean, scores.mean(-1), rtol=1e-12, atol=1e-12)


def test_an_empty_block_has_no_mass():
    blocks = KeyBlocks.from_keys(_draw(3, 2), torch.tensor([0, 2, 2]))
    for kind in KINDS:
        bound = log_mass_bounds(_draw(4, 2), blocks, masses=kind)
        assert (bound[:, 1] == -torch.inf).all()
        assert torch.isfinite(bound[:, [0, 2]]).all()


def test_scale_is_one_over_the_root_of_the_dimension_by_default():
    q, blocks = _draw(4, 9), KeyBlocks.from_keys(_draw(6, 9, seed=1), 3)
    assert torch.equal(log_mass_bounds(q, blocks), log_mass_bounds(q, blocks, scale=1 / 3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_half_precision_is_computed_in_single(dtype):
    blocks = KeyBlocks.from_keys(_draw(6, 4, dtype=torch.float32).to(dtype), 3)
    assert log_mass_bounds(_draw(2, 4, dtype=torch.float32).to(dtype), blocks).dtype == torch.float32


def test_errors_name_the_argument():
    q, k = _draw(2, 3), _draw(4, 3)
    with pytest.raises(ValueError, match="masses must be one of 'plain'"):
        log_mass_bounds(q, KeyBlocks.from_keys(k, 2), masses="exact")
    with pytest.raises(ValueError, match="covariance=False"):
        log_mass_bounds(q, KeyBlocks.from_keys(k, 2, covariance=False))
    with pytest.raises(ValueError, match="scale must be"):
        log_mass_bounds(q, KeyBlocks.from_keys(k, 2), scale=0.0)
