"""Scores of removal for tensors: the answers of their NumPy twins, and masks."""

import numpy as np
import pytest
import torch

from sparsetheory import bayesian
from sparsetheory.gpu.bayesian import BayesLinear, folded_normal_moments, removal_score
from sparsetheory.gpu.core import rewire

CRITERIA = ("mean", "snr", "mean_abs", "snr_abs", "exp_abs", "snr_exp_abs", "savage_dickey")


def laws(dtype, device="cpu"):
    rng = np.random.default_rng(0)
    sigma = 10 ** rng.uniform(-6, 2, 300)
    mu = sigma * 10 ** rng.uniform(-4, 4, 300) * rng.choice([-1, 1], 300)
    mu[:3], sigma[1:4] = 0.0, 0.0
    return (torch.tensor(values, dtype=dtype, device=device).reshape(20, 15) for values in (mu, sigma))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_scores_are_those_of_arrays(criterion, dtype, device):
    mu, sigma = laws(dtype, device)
    found = removal_score(mu, sigma, criterion, rate=0.5, prior_std=0.3)
    expected = bayesian.removal_score(mu.cpu().numpy(), sigma.cpu().numpy(), criterion, rate=0.5, prior_std=0.3)
    assert found.device.type == device
    assert found.dtype == (torch.float64 if "exp" in criterion else dtype)
    tolerance = 1e-12 if found.dtype == torch.float64 else 1e-5
    np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_are_those_of_arrays(dtype, device):
    mu, sigma = laws(dtype, device)
    found, expected = (
        folded_normal_moments(mu, sigma),
        bayesian.folded_normal_moments(mu.cpu().numpy(), sigma.cpu().numpy()),
    )
    for name in ("mean", "variance"):
        tensor = getattr(found, name)
        assert tensor.dtype == dtype
        np.testing.assert_allclose(
            tensor.cpu().numpy(), getattr(expected, name), rtol=1e-12 if dtype == torch.float64 else 5e-6
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_low_precision_is_scored_in_single_or_double(criterion, dtype):
    mu, sigma = torch.tensor([0.01, -300.0, 0.0], dtype=dtype), torch.tensor([1e-4, 0.5, 60.0], dtype=dtype)
    found = removal_score(mu, sigma, criterion, prior_std=1.0)
    assert torch.equal(found, removal_score(mu.float(), sigma.float(), criterion, prior_std=1.0))
    assert found.dtype in (torch.float32, torch.float64)
    assert folded_normal_moments(mu, sigma).mean.dtype == torch.float32


def test_scores_carry_no_gradients_and_leave_their_arguments():
    mu, sigma = torch.tensor([-1.0, 2.0], requires_grad=True), torch.tensor([0.5, 1.0], requires_grad=True)
    for criterion in CRITERIA:
        score = removal_score(mu, sigma, criterion, prior_std=1.0)
        assert not score.requires_grad
        score.fill_(9.0)
    assert mu.tolist() == [-1.0, 2.0]


def test_single_precision_at_the_published_start_is_finite_where_the_published_form_is_not():
    generator = torch.Generator().manual_seed(5)
    mu = 0.01 * torch.randn(20_000, generator=generator)
    sigma = (6e-4 + 5e-4 * torch.randn(20_000, generator=generator)).abs()
    normal = torch.distributions.Normal(0.0, 1.0)

    def moment(rate):
        half = rate**2 * sigma**2 / 2
        above = (half + rate * mu).exp() * normal.cdf(mu / sigma + rate * sigma)
        return above + (half - rate * mu).exp() * normal.cdf(-mu / sigma + rate * sigma)

    published = moment(1) / (moment(2) - moment(1) ** 2).sqrt()
    assert published.isnan().float().mean() > 0.005
    stable = removal_score(mu, sigma, "snr_exp_abs")
    assert stable.isfinite().all()
    # The published form is right where it has digits left.
    wide = sigma > 1.2e-3
    good = wide & published.isfinite() & (published > 0)
    error = (published[good].double().log() - stable[good]).abs()
    assert good[wide].float().mean() > 0.9
    assert error.median() < 0.1


@pytest.mark.parametrize("criterion", ["mean", "snr", "snr_abs", "savage_dickey"])
def test_an_active_mean_of_zero_is_compared_with_active_entries_only(criterion):
    layer = BayesLinear(4, 1, bias=False)
    with torch.no_grad():
        layer.mask.copy_(torch.tensor([[False, True, False, True]]))
        layer.weight.copy_(torch.tensor([[9.0, 2.0, 0.0, 0.0]]))
    score = removal_score(layer.mean, layer.sigma, criterion, prior_std=1.0)
    # Among all entries the active zero ties with those off the mask, which a plain topk might keep in its place.
    if criterion != "savage_dickey":
        assert (score == score[0, 3]).sum() == 3
    kept = rewire(layer.mask, score, torch.zeros_like(score), 0)
    assert torch.equal(kept.mask, layer.mask)
    moved = rewire(layer.mask, score, torch.tensor([[1.0, 0.0, 0.0, 0.0]]), 1)
    assert moved.dropped.tolist() == [[False, False, False, True]]
    assert moved.grown.tolist() == [[True, False, False, False]]


def test_shapes_broadcast_and_layouts_do_not_matter():
    mu, sigma = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.tensor(0.5)
    score = removal_score(mu.T, sigma)
    assert score.shape == (4, 3)
    assert torch.equal(score, removal_score(mu.T.contiguous(), sigma.expand(4, 3)))
    assert removal_score(torch.empty(0), torch.empty(0), "snr_exp_abs").shape == (0,)


@pytest.mark.parametrize(
    ("mu", "sigma", "kind", "words"),
    [
        ([1.0], torch.ones(1), TypeError, "mu must be a tensor of real floating-point numbers; got list"),
        (torch.ones(1, dtype=torch.int64), torch.ones(1), TypeError, "mu must be a tensor"),
        (torch.tensor([torch.nan]), torch.ones(1), ValueError, "mu must be finite"),
        (torch.ones(1), torch.tensor([torch.inf]), ValueError, "sigma must be finite"),
        (torch.ones(1), torch.tensor([-1.0]), ValueError, "sigma must not be negative; got -1"),
        (torch.ones(2), torch.ones(3), ValueError, r"broadcasts against mu, \(2,\); got \(3,\)"),
    ],
)
def test_errors_name_the_argument(mu, sigma, kind, words):
    with pytest.raises(kind, match=words):
        removal_score(mu, sigma)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_devices_must_agree():
    with pytest.raises(ValueError, match="must be on one device"):
        removal_score(torch.ones(2), torch.ones(2, device="cuda"))
