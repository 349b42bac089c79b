"""The exact dropped mass and its consequences, against two dense softmaxes and against exact numbers."""

import math

import pytest
import torch

from sparsetheory.gpu.attention import attention_scores, dropped_mass, log_kept_mass, truncation_error


def _problem(size=3.0, seed=0, n=6, m=25):
    source = torch.Generator().manual_seed(seed)
    scores = size * torch.randn(2, n, m, dtype=torch.float64, generator=source)
    kept = torch.rand(2, n, m, generator=source) < 0.4
    kept[..., 3] = True
    return scores, kept, torch.randn(2, m, 4, dtype=torch.float64, generator=source)


def test_mass_and_error_are_those_of_two_softmaxes(device):
    scores, kept, v = (part.to(device) for part in _problem())
    full = scores.softmax(-1)
    part = scores.masked_fill(~kept, -torch.inf).softmax(-1)
    torch.testing.assert_close(dropped_mass(scores, kept), full.masked_fill(kept, 0).sum(-1), rtol=1e-12, atol=0)
    torch.testing.assert_close(
        log_kept_mass(scores, kept).exp(), full.masked_fill(~kept, 0).sum(-1), rtol=1e-12, atol=0
    )
    torch.testing.assert_close(truncation_error(scores, kept, v), full @ v - part @ v, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("gap", [1.0, 30.0, 80.0])
def test_tiny_dropped_and_tiny_kept_masses_keep_their_digits_in_single_precision(gap):
    scores = torch.tensor([[0.0, -gap]])
    first, second = torch.tensor([True, False]), torch.tensor([False, True])
    ratio = math.exp(-gap)
    assert dropped_mass(scores, first).item() == pytest.approx(ratio / (1 + ratio), rel=1e-5)
    assert log_kept_mass(scores, first).item() == pytest.approx(-math.log1p(ratio), rel=1e-5)
    assert log_kept_mass(scores, second).item() == pytest.approx(-gap - math.log1p(ratio), rel=1e-6)


def test_log_of_the_kept_mass_has_no_threshold():
    # softplus of torch is the identity beyond 20, where this has a digit left at 1e-9.
    scores = torch.tensor([[0.0, 20.5]], dtype=torch.float64)
    found = log_kept_mass(scores, torch.tensor([True, False])).item()
    assert found == pytest.approx(-20.5 - math.log1p(math.exp(-20.5)), rel=1e-15)


def test_nothing_dropped_is_no_error():
    scores, _, v = _problem()
    kept = torch.ones(25, dtype=torch.bool)
    assert (dropped_mass(scores, kept) == 0).all()
    assert (log_kept_mass(scores, kept) == 0).all()
    assert (truncation_error(scores, kept, v) == 0).all()


def test_what_a_query_may_not_see_is_never_read():
    scores, kept, v = _problem()
    visible = torch.rand(6, 25, generator=torch.Generator().manual_seed(1)) < 0.7
    visible[:, 3] = True
    low = scores.masked_fill(~visible, -1e6)
    for garbage in (torch.nan, torch.inf, 1e300):
        spoiled = scores.masked_fill(~visible, garbage)
        torch.testing.assert_close(
            dropped_mass(spoiled, kept, visible=visible), dropped_mass(low, kept), rtol=1e-14, atol=0
        )
        torch.testing.assert_close(
            truncation_error(spoiled, kept, v, visible=visible), truncation_error(low, kept, v), rtol=1e-12, atol=1e-14
        )


def test_errors_name_the_argument():
    scores, kept, _ = _problem()
    with pytest.raises(TypeError, match="kept must be a tensor of bool"):
        dropped_mass(scores, kept.long())
    with pytest.raises(TypeError, match="visible must be a tensor of bool"):
        dropped_mass(scores, kept, visible=kept.double())
    with pytest.raises(ValueError, match="query 2 keeps none"):
        dropped_mass(scores, kept & (torch.arange(6) != 2)[:, None])
    with pytest.raises(ValueError, match="scores must be finite"):
        dropped_mass(scores.masked_fill(kept, torch.nan), kept)
    with pytest.raises(ValueError, match="scale must be"):
        attention_scores(torch.ones(1, 2), torch.ones(1, 2), scale=-1.0)
