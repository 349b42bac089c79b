"""Scores of addition for tensors: the answers of their NumPy twins, and gains in nats from a mean loss."""

import numpy as np
import pytest
import torch

from sparsetheory import bayesian
from sparsetheory.gpu.bayesian import addition_score


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_are_those_of_arrays(dtype, device):
    rng = np.random.default_rng(0)
    grad = torch.tensor(rng.normal(size=(6, 5)) * 3, dtype=dtype, device=device)
    curvature = torch.tensor(10 ** rng.uniform(-4, 4, 5), dtype=dtype, device=device)
    curvature[0] = 0
    arrays = grad.cpu().numpy(), curvature.cpu().numpy()
    assert addition_score(grad).cpu().numpy().tolist() == bayesian.addition_score(arrays[0]).tolist()
    found = addition_score(grad, curvature, prior_std=0.4, rule="gain")
    assert found.dtype == dtype
    tolerance = 1e-13 if dtype == torch.float64 else 1e-5
    expected = bayesian.addition_score(*arrays, prior_std=0.4, rule="gain")
    np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=tolerance, atol=tolerance)


def test_gain_of_a_mean_loss_is_the_rise_of_the_bound():
    # A linear model: the loss is a mean over n samples, tempered; n over the temperature makes it nats.
    generator = torch.Generator().manual_seed(3)
    n, temperature, noise, prior_std = 40, 0.5, 0.3, 0.8
    F = torch.randn(n, 6, generator=generator, dtype=torch.float64)
    y = F[:, :2].sum(1) + noise * torch.randn(n, generator=generator, dtype=torch.float64)
    scale = n / temperature

    def mean_loss(theta):
        return ((y - F @ theta) ** 2).mean() / (2 * noise**2)

    def bound(mu, variance, active):
        curvature = (F**2).mean(0) / noise**2
        fit = scale * (mean_loss(mu) + (curvature * variance).sum() / 2)
        divergence = (variance + mu**2) / prior_std**2 - 1 - torch.log(variance / prior_std**2)
        return -fit - divergence[active].sum() / 2

    mu = torch.tensor([0.9, 0.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    variance = torch.where(mu != 0, 0.01, 0.0).double()
    grad = torch.func.grad(mean_loss)(mu)
    curvature = torch.func.hessian(mean_loss)(mu).diagonal()
    gains = addition_score(-scale * grad, scale * curvature, prior_std=prior_std, rule="gain")
    in_loss_units = addition_score(-grad, curvature, prior_std=prior_std, rule="gain")
    for j in range(1, 6):
        best = 1 / (scale * curvature[j] + prior_std**-2)
        grown_mu, grown_variance = mu.clone(), variance.clone()
        grown_mu[j], grown_variance[j] = -best * scale * grad[j], best
        rise = bound(grown_mu, grown_variance, grown_variance > 0) - bound(mu, variance, variance > 0)
        assert float(gains[j]) == pytest.approx(float(rise), rel=1e-9, abs=1e-9)
        assert abs(float(in_loss_units[j] - rise)) > 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_scored_in_single(dtype):
    grad = torch.tensor([1.0, -300.0], dtype=dtype, requires_grad=True)
    assert addition_score(grad).dtype == torch.float32
    gain = addition_score(grad, torch.ones(2, dtype=dtype), prior_std=1.0, rule="gain")
    assert gain.dtype == torch.float32
    assert not gain.requires_grad
    assert gain[1] == pytest.approx(300**2 / 4 - np.log(2) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "words"),
    [
        ((torch.ones(1),), {"rule": "snr"}, ValueError, "rule must be one of 'grad', 'gain'"),
        ((torch.ones(1),), {"rule": "gain", "prior_std": 1.0}, ValueError, "curvature must be given"),
        ((torch.ones(1), torch.ones(1)), {"rule": "gain"}, ValueError, "prior_std must be"),
        ((torch.ones(1), -torch.ones(1)), {"rule": "gain", "prior_std": 1.0}, ValueError, "curvature must not be neg"),
        ((torch.ones(2), torch.ones(3)), {"rule": "gain", "prior_std": 1.0}, ValueError, "curvature must have a shape"),
        ((torch.tensor([torch.inf]),), {}, ValueError, "grad must be finite"),
        ((None,), {}, TypeError, "grad must be a tensor"),
    ],
)
def test_errors_name_the_argument(arguments, options, kind, words):
    with pytest.raises(kind, match=words):
        addition_score(*arguments, **options)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_devices_must_agree():
    with pytest.raises(ValueError, match="must be on one device"):
        addition_score(torch.ones(2), torch.ones(2, device="cuda"), prior_std=1.0, rule="gain")
