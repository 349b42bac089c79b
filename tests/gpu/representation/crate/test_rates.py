"""Coding rates against eigenvalues, by hand and by automatic differentiation; their errors and their masks."""

import math

import pytest
import torch

from sparsetheory.gpu.representation import (
    coding_rate,
    compressed_rate,
    compressed_rate_grad,
    official_coding_rate,
)


def _random(*shape, seed=0, dtype=torch.float64, device="cpu"):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(device, dtype)


def _by_eigenvalues(X, constant):
    return float(torch.linalg.eigvalsh(X.mT @ X).clamp(min=0).mul(constant).log1p().sum() / 2)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (1, 4), (4, 1)])
def test_rate_is_the_sum_over_eigenvalues_on_either_side(shape, device):
    Z = _random(*shape, device=device)
    n, d = shape
    assert float(coding_rate(Z, 0.5)) == pytest.approx(_by_eigenvalues(Z, d / (n * 0.25)), rel=1e-12)
    assert float(coding_rate(Z, 0.5, dim=3)) == pytest.approx(_by_eigenvalues(Z, 3 / (n * 0.25)), rel=1e-12)


def test_rate_by_hand():
    # One token (3, 4): the only eigenvalue is 25, the constant 2 / 1.
    assert float(coding_rate(torch.tensor([[3.0, 4.0]]), 1.0)) == pytest.approx(math.log(51) / 2)
    # In the two axes: 1 + 9 and 1 + 16, with the constant 1.
    axes = torch.eye(2).unsqueeze(-1)
    assert float(compressed_rate(torch.tensor([[3.0, 4.0]]), axes, 1.0)) == pytest.approx(math.log(10 * 17) / 2)


def test_rates_of_many_samples_are_those_of_each(device):
    Z, U = _random(3, 2, 7, 6, device=device), _random(2, 6, 3, seed=1, device=device)
    rates, compressed, gradient = coding_rate(Z, 0.3), compressed_rate(Z, U, 0.3), compressed_rate_grad(Z, U, 0.3)
    assert rates.shape == compressed.shape == (3, 2)
    for i in range(3):
        for j in range(2):
            assert torch.allclose(rates[i, j], coding_rate(Z[i, j], 0.3), rtol=1e-12)
            assert torch.allclose(compressed[i, j], compressed_rate(Z[i, j], U, 0.3), rtol=1e-12)
            assert torch.allclose(gradient[i, j], compressed_rate_grad(Z[i, j], U, 0.3), rtol=1e-10)


def test_compressed_rate_is_a_sum_of_rates_of_projections():
    Z, U = _random(7, 6), _random(2, 6, 3, seed=1)
    expected = sum(_by_eigenvalues(Z @ basis, 3 / (7 * 0.3**2)) for basis in U)
    assert float(compressed_rate(Z, U, 0.3)) == pytest.approx(expected, rel=1e-12)


def test_gradient_is_that_of_automatic_differentiation(device):
    Z, U = _random(2, 7, 6, device=device).requires_grad_(), _random(2, 6, 3, seed=1, device=device)
    mask = torch.ones(2, 7, dtype=torch.bool, device=device)
    mask[1, 5:] = False
    for kept in (None, mask):
        (expected,) = torch.autograd.grad(compressed_rate(Z, U, 0.3, mask=kept).sum(), Z)
        assert torch.allclose(compressed_rate_grad(Z.detach(), U, 0.3, mask=kept), expected, rtol=1e-10, atol=1e-13)


def test_gradient_passes_gradients_on():
    Z, U = _random(4, 5), _random(2, 5, 2, seed=1)
    assert torch.autograd.gradcheck(
        lambda z, u: compressed_rate_grad(z, u, 0.7), (Z.requires_grad_(), U.requires_grad_())
    )


def test_tokens_off_the_mask_count_neither_in_the_sum_nor_in_the_number():
    Z, U = _random(2, 6, 5), _random(2, 5, 2, seed=1)
    mask = torch.tensor([[True] * 4 + [False] * 2, [False, True] * 3])
    for i in range(2):
        kept = Z[i][mask[i]]
        assert torch.allclose(coding_rate(Z, 0.5, mask=mask)[i], coding_rate(kept, 0.5), rtol=1e-12)
        assert torch.allclose(compressed_rate(Z, U, 0.5, mask=mask)[i], compressed_rate(kept, U, 0.5), rtol=1e-12)
        gradient = compressed_rate_grad(Z, U, 0.5, mask=mask)[i]
        assert torch.allclose(gradient[mask[i]], compressed_rate_grad(kept, U, 0.5), rtol=1e-10)
        assert not gradient[~mask[i]].any()
    # Padding with zeros in place of a mask counts them in N: another rate.
    padded = torch.where(mask.unsqueeze(-1), Z, 0.0)
    assert not torch.allclose(coding_rate(padded, 0.5), coding_rate(Z, 0.5, mask=mask), rtol=0.05)


def test_tiny_distortion_keeps_small_singular_values(device):
    # Singular values 1 and 1e-7 at eps 1e-8: a Cholesky factor of the smaller side loses the second one.
    turned = torch.linalg.qr(_random(6, 2))[0] * torch.tensor([1.0, 1e-7])
    Z = (turned @ torch.linalg.qr(_random(2, 2, seed=1))[0]).to(device)
    constant = 2 / (6 * 1e-16)
    expected = (math.log1p(constant) + math.log1p(constant * 1e-14)) / 2
    assert float(coding_rate(Z, 1e-8)) == pytest.approx(expected, rel=1e-6)
    # A mask makes the constant a tensor, one for each sample.
    both, mask = torch.stack([Z, Z / 2]), torch.ones(2, 6, dtype=torch.bool, device=Z.device)
    torch.testing.assert_close(coding_rate(both, 1e-8, mask=mask), coding_rate(both, 1e-8))
    U = torch.eye(2, dtype=Z.dtype, device=Z.device)[None].expand(3, -1, -1)
    torch.testing.assert_close(compressed_rate(both, U, 1e-8, mask=mask), compressed_rate(both, U, 1e-8))


def test_tiny_distortion_keeps_small_singular_values_in_the_gradient(device):
    left, right = torch.linalg.qr(_random(6, 2))[0], torch.linalg.qr(_random(2, 2, seed=1))[0]
    values = torch.tensor([1.0, 1e-7], dtype=torch.float64)
    Z, a = left * values @ right.mT, 2 / (6 * 1e-14)
    expected = left * (a * values / (1 + a * values**2)) @ right.mT
    U = torch.eye(2, dtype=torch.float64)[None]
    found = compressed_rate_grad(Z.to(device), U.to(device), 1e-7).cpu()
    assert float((found - expected).norm()) < 1e-6 * float(expected.norm())
    mask = torch.ones(6, dtype=torch.bool)
    assert torch.allclose(compressed_rate_grad(Z, U, 1e-7, mask=mask), compressed_rate_grad(Z, U, 1e-7))


def test_rates_of_single_precision_are_computed_in_double():
    Z = _random(8, 8, dtype=torch.float32)
    assert coding_rate(Z, 1e-4).dtype == torch.float64
    assert float(coding_rate(Z, 1e-4)) == pytest.approx(float(coding_rate(Z.double(), 1e-4)), rel=1e-12)
    for dtype in (torch.bfloat16, torch.float32):
        assert compressed_rate_grad(Z.to(dtype), _random(2, 8, 3).to(dtype), 0.1).dtype == dtype


def test_official_rate_is_that_of_a_loop():
    W = _random(3, 2, 5, 4)
    expected = []
    for sample in W:
        total = 0.0
        for head in sample:
            rows = [row / math.sqrt(sum(float(v) ** 2 for v in row)) for row in head]
            gram = torch.tensor([[float(a @ b) for b in rows] for a in rows], dtype=torch.float64)
            total += float(torch.linalg.slogdet(torch.eye(5, dtype=torch.float64) + 4 / (5 * 0.01) * gram)[1]) / 2
        expected.append(total)
    found = official_coding_rate(W)
    assert found.rates.tolist() == pytest.approx(expected, rel=1e-10)
    assert found.mean == pytest.approx(sum(expected) / 3)
    assert found.std == pytest.approx(math.sqrt(sum((e - found.mean) ** 2 for e in expected) / 2))
    # The scale of a token does not matter, and eps enters with its first power.
    assert official_coding_rate(7 * W).mean == pytest.approx(found.mean)
    assert official_coding_rate(W, eps=0.1).mean < found.mean


def test_official_rate_refuses_a_token_without_direction():
    W = _random(2, 2, 3, 4)
    W[1, 0, 2] = 0.0
    with pytest.raises(ValueError, match="token 2 of head 0 of sample 1"):
        official_coding_rate(W)
    assert math.isnan(official_coding_rate(_random(1, 2, 3, 4)).std)
    with pytest.raises(ValueError, match="W must have shape"):
        official_coding_rate(W[0])


@pytest.mark.parametrize("eps", [0.0, -1.0, math.nan])
def test_distortion_must_be_positive(eps):
    Z, U = _random(3, 2), _random(1, 2, 1)
    calls = (lambda: coding_rate(Z, eps), lambda: compressed_rate(Z, U, eps), lambda: compressed_rate_grad(Z, U, eps))
    for call in (*calls, lambda: official_coding_rate(Z[None, None], eps)):
        with pytest.raises(ValueError, match="eps must be a finite positive number"):
            call()


def test_errors_name_the_argument():
    Z, U = _random(3, 2), _random(1, 2, 1)
    with pytest.raises(ValueError, match="Z must have at least one token"):
        coding_rate(Z[:0], 1.0)
    with pytest.raises(ValueError, match="keep at least one token"):
        coding_rate(Z, 1.0, mask=torch.zeros(3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"mask must have shape \(3,\)"):
        coding_rate(Z, 1.0, mask=torch.ones(2, dtype=torch.bool))
    with pytest.raises(TypeError, match="mask must be a tensor of bool"):
        coding_rate(Z, 1.0, mask=torch.ones(3))
    with pytest.raises(ValueError, match="dim must be"):
        coding_rate(Z, 1.0, dim=0)
    with pytest.raises(ValueError, match="Z must be finite"):
        coding_rate(Z / 0, 1.0)
    with pytest.raises(TypeError, match="Z must be a tensor of real"):
        coding_rate(Z.long(), 1.0)
    with pytest.raises(ValueError, match="U must have shape"):
        compressed_rate(Z, U[0], 1.0)
    with pytest.raises(ValueError, match=r"U must have shape \(n_subspaces, 2, n_components\)"):
        compressed_rate(Z, _random(1, 3, 1), 1.0)
