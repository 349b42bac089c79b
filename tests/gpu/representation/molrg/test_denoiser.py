"""The denoiser is the posterior mean, keeps its bases orthonormal, and says what it cannot take."""

import copy
import math

import numpy as np
import pytest
import torch

from sparsetheory.gpu.representation import MoLRGDenoiser, molrg_loss, sample_molrg


def _mixture(widths=(2, 3), n_features=9, orthogonal=False, dtype=torch.float64):
    return sample_molrg(n_features, widths, len(widths), 12, generator=3, orthogonal=orthogonal, dtype=dtype).bases


def _by_conditioning(bases, weights, x, noise, scale):
    """Return posterior mean, weights and log density of one point from dense joint covariances."""
    n, means, logs = len(x), [], []
    for basis, weight in zip(bases, weights, strict=True):
        prior = basis @ basis.T
        covariance = scale**2 * prior + noise**2 * np.eye(n)
        means.append(scale * prior @ np.linalg.solve(covariance, x))
        _, logdet = np.linalg.slogdet(2 * np.pi * covariance)
        logs.append(np.log(weight) - 0.5 * (logdet + x @ np.linalg.solve(covariance, x)))
    logs = np.array(logs)
    shares = np.exp(logs - logs.max())
    shares /= shares.sum()
    return sum(s * m for s, m in zip(shares, means, strict=True)), shares, np.logaddexp.reduce(logs)


@pytest.mark.parametrize("widths", [(2, 2), (1, 4, 2), (3,)])
@pytest.mark.parametrize(("noise", "scale"), [(0.3, 1.0), (1.5, 0.4), (0.05, 2.0)])
def test_posterior_is_that_of_gaussian_conditioning(device, widths, noise, scale):
    bases = _mixture(widths)
    weights = torch.arange(1.0, len(widths) + 1, dtype=torch.float64)
    denoiser = MoLRGDenoiser([b.to(device) for b in bases], weights.to(device))
    x = torch.randn(5, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, share = denoiser(x.to(device), noise, scale), denoiser.posterior_weights(x.to(device), noise, scale)
    density = denoiser.log_density(x.to(device), noise, scale)
    for i, row in enumerate(x.numpy()):
        expected = _by_conditioning([b.numpy() for b in bases], (weights / weights.sum()).numpy(), row, noise, scale)
        for found, wanted in zip((mean[i], share[i], density[i]), expected, strict=True):
            np.testing.assert_allclose(found.detach().cpu(), wanted, rtol=1e-9, atol=1e-11)


def test_levels_may_differ_from_point_to_point():
    denoiser = MoLRGDenoiser(_mixture())
    x = torch.randn(4, 9, dtype=torch.float64)
    noise, scale = torch.tensor([0.1, 0.5, 1.0, 2.0]).double(), torch.tensor([1.0, 0.9, 0.5, 0.1]).double()
    each = [denoiser(row, float(g), float(s)) for row, g, s in zip(x, noise, scale, strict=True)]
    torch.testing.assert_close(denoiser(x, noise, scale), torch.stack(each))
    torch.testing.assert_close(
        denoiser(x.view(2, 2, 9), noise.view(2, 2), scale.view(2, 2)).view(4, 9), torch.stack(each)
    )


def test_weights_are_one_hot_and_gradients_finite_for_vanishing_noise():
    denoiser = MoLRGDenoiser(_mixture((2, 2, 3), dtype=torch.float32))
    x = torch.randn(6, 9)
    for noise in (1e-3, 1e-20, 1e-38):
        weights = denoiser.posterior_weights(x, noise)
        torch.testing.assert_close(weights, torch.nn.functional.one_hot(denoiser.assign(x), 3).float())
        denoiser.zero_grad()
        denoiser(x, noise).square().sum().backward()
        assert torch.isfinite(next(denoiser.parameters()).grad).all()


def test_hard_assignment_takes_the_largest_projection_and_no_noise():
    bases = _mixture((2, 3))
    denoiser = MoLRGDenoiser(bases, torch.tensor([0.99, 0.01]), assignment="hard")
    x = torch.randn(20, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    held = torch.stack([(x @ b).square().sum(1) for b in bases], dim=1)
    projected = torch.stack([x @ b @ b.mT for b in bases])[held.argmax(1), torch.arange(20)]
    torch.testing.assert_close(denoiser(x, 0.0, 2.0).detach(), projected / 2)
    other = denoiser(x, 0.5, labels=1 - held.argmax(1)).detach()
    torch.testing.assert_close(
        other, torch.stack([x @ b @ b.mT for b in bases])[held.argmin(1), torch.arange(20)] / 1.25
    )


@pytest.mark.parametrize("widths", [(2, 2), (1, 3)])
def test_any_optimiser_keeps_the_bases_orthonormal(widths):
    denoiser = MoLRGDenoiser(_mixture(widths, dtype=torch.float32))
    X = torch.randn(30, 9)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=0.3)
    before = [basis.clone() for basis in denoiser.bases]
    for _ in range(20):
        optimizer.zero_grad()
        molrg_loss(denoiser, X, 0.5, generator=0).backward()
        optimizer.step()
    for basis, old in zip(denoiser.bases, before, strict=True):
        torch.testing.assert_close(basis.mT @ basis, torch.eye(basis.shape[1]), atol=1e-5, rtol=0)
        assert (basis - old).abs().max() > 0.1


def test_a_state_dictionary_holds_bases_and_weights(tmp_path):
    denoiser = MoLRGDenoiser(_mixture(), torch.tensor([0.3, 0.7]))
    other = MoLRGDenoiser(_mixture((2, 3))[::-1][::-1], None)
    torch.save(denoiser.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    x = torch.randn(3, 9, dtype=torch.float64)
    assert torch.equal(denoiser(x, 0.5), other(x, 0.5))


def test_half_precision_stays(device):
    bases = [basis.to(device) for basis in _mixture(dtype=torch.bfloat16)]
    denoiser = MoLRGDenoiser(bases)
    x = torch.randn(50, 9, generator=torch.Generator().manual_seed(0)).to(device)
    found = denoiser(x.bfloat16(), 0.5)
    assert found.dtype == torch.bfloat16
    exact = MoLRGDenoiser([torch.linalg.qr(basis.float()).Q for basis in bases])(x, 0.5)
    assert (found.float() - exact).norm() < 0.05 * exact.norm()


def test_conversions_keep_columns_orthonormal():
    denoiser = MoLRGDenoiser(_mixture(dtype=torch.float32), torch.tensor([0.3, 0.7]))
    x = torch.randn(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = denoiser(x.float(), 0.5)
    for dtype, least in ((torch.float64, 1e-14), (torch.bfloat16, 0.02)):
        converted = copy.deepcopy(denoiser).to(dtype)
        for basis in converted.bases:
            assert basis.dtype == dtype
            assert (basis.double().mT @ basis.double() - torch.eye(basis.shape[1])).abs().max() < least
        assert (converted(x.to(dtype), 0.5).float() - before).norm() < 0.05 * before.norm()
        # Bases that were read are fit to make another denoiser.
        assert MoLRGDenoiser(converted.bases).widths == (2, 3)


@pytest.mark.parametrize("widths", [(2, 2), (1, 3)])
def test_orthonormal_bases_are_left_as_they_are(widths):
    """A QR factorisation alone may turn columns round."""
    bases = [sign * basis for sign, basis in zip((1, -1), _mixture(widths), strict=True)]
    for found, given in zip(MoLRGDenoiser(bases).bases, bases, strict=True):
        torch.testing.assert_close(found, given, rtol=0, atol=1e-14)


def test_what_was_given_is_not_changed():
    bases = _mixture()
    before = [basis.clone() for basis in bases]
    denoiser = MoLRGDenoiser(bases)
    torch.optim.SGD(denoiser.parameters(), lr=1.0).zero_grad()
    with torch.no_grad():
        denoiser.parametrizations["basis"].original += 1.0
    assert all(torch.equal(a, b) for a, b in zip(bases, before, strict=True))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda b: MoLRGDenoiser([]), "bases must be at least one"),
        (lambda b: MoLRGDenoiser(b[0]), r"bases must be a sequence of matrices, or have 3 axes; got shape \(9, 2\)"),
        (lambda b: MoLRGDenoiser([b[0][None]]), r"bases must be at least one matrix; got \[\(1, 9, 2\)\]"),
        (lambda b: MoLRGDenoiser(b)(torch.ones(2, 9).double(), 1.0, labels=torch.tensor([0, 2])), "from 0 to 1"),
        (lambda b: MoLRGDenoiser(b)(torch.ones(2, 9).double(), 1.0, labels=torch.tensor([0, -1])), "from 0 to 1"),
        (lambda b: MoLRGDenoiser(b)(torch.ones(2, 9).double(), 1.0, labels=torch.zeros(2)), "labels must be a tensor"),
        (lambda b: MoLRGDenoiser(b)(torch.ones(2, 9).double(), 1.0, labels=torch.tensor([0])), "labels must be a"),
        (lambda b: MoLRGDenoiser([2 * b[0]]), "bases must have orthonormal columns"),
        (lambda b: MoLRGDenoiser([b[0], b[1].float()]), "bases must have equally many rows"),
        (lambda b: MoLRGDenoiser(b, torch.tensor([1.0, -1.0])), "weights must be 2 numbers"),
        (lambda b: MoLRGDenoiser(b, torch.zeros(2)), "weights must be 2 numbers"),
        (lambda b: MoLRGDenoiser(b, assignment="firm"), "assignment"),
        (lambda b: MoLRGDenoiser(b)(torch.ones(8, dtype=torch.float64), 1.0), "x must be"),
        (lambda b: MoLRGDenoiser(b)(torch.ones(9, dtype=torch.float64), 0.0), "noise_std must be"),
        (lambda b: MoLRGDenoiser(b)(torch.ones(2, 9).double(), torch.tensor([1.0, 0.0])), "noise_std must be"),
        (lambda b: MoLRGDenoiser(b)(torch.ones(2, 9).double(), torch.ones(3)), "noise_std must be"),
        (lambda b: MoLRGDenoiser(b)(torch.ones(9).double(), 1.0, 0.0), "scale must be"),
        (lambda b: MoLRGDenoiser(b)(torch.ones(9).double(), math.nan), "noise_std must be"),
    ],
)
def test_bad_arguments_are_named(make, match):
    with pytest.raises((ValueError, TypeError, RuntimeError), match=match):
        make(_mixture())
