"""Steps of attention against loops over tokens, and what they do to the compressed rate."""

import math

import pytest
import torch

from sparsetheory.gpu.representation import (
    compressed_rate,
    compressed_rate_grad,
    descent_step_size,
    mssa_step,
)

MODES = ("exact", "paper_step", "paper_unscaled", "code", "negative")


def _random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _orthonormal(n_subspaces, dim, n_components, seed=0):
    Q = torch.linalg.qr(_random(dim, n_subspaces * n_components, seed=seed))[0]
    return Q.reshape(dim, n_subspaces, n_components).transpose(0, 1).contiguous()


def _attention_by_loop(Z, U, scale):
    """Return sum_k U_k W softmax(scale W^T W) with columns of tokens, weight by weight."""
    total = torch.zeros_like(Z.T)
    for basis in U:
        W = basis.T @ Z.T
        mixed = torch.zeros_like(W)
        for query in range(W.shape[1]):
            weights = [math.exp(scale * float(W[:, key] @ W[:, query])) for key in range(W.shape[1])]
            for key, weight in enumerate(weights):
                mixed[:, query] += weight / sum(weights) * W[:, key]
        total += basis @ mixed
    return total.T


@pytest.mark.parametrize("mode", MODES)
def test_steps_are_those_of_a_loop_over_tokens(mode):
    Z, U, eps, kappa = _random(5, 6), _random(2, 6, 3, seed=1) / 2, 0.8, 0.3
    a = 3 / (5 * eps**2)
    mixed = _attention_by_loop(Z, U, 3**-0.5 if mode == "code" else 1.0)
    expected = {
        "exact": Z - kappa * compressed_rate_grad(Z, U, eps),
        "paper_step": (1 - kappa * a) * Z + kappa * a * (a * mixed),
        "paper_unscaled": (1 - kappa * a) * Z + kappa * a * mixed,
        "code": Z + kappa * mixed,
        "negative": Z - kappa * mixed,
    }
    found = mssa_step(Z, U, eps, kappa, mode)
    assert torch.allclose(found, expected[mode], rtol=1e-12, atol=1e-14)
    # The softmax along the other axis, or the other power of a, would be another step.
    for other in set(MODES) - {mode}:
        assert not torch.allclose(found, expected[other], rtol=1e-3)


@pytest.mark.parametrize("mode", MODES)
def test_default_steps(mode):
    Z, U, eps = _random(5, 6), _random(2, 6, 3, seed=1), 0.8
    kappa = 1.0 if mode in ("code", "negative") else descent_step_size(U, eps, 5)
    assert torch.allclose(mssa_step(Z, U, eps, mode=mode), mssa_step(Z, U, eps, kappa, mode), rtol=1e-12)
    assert torch.equal(mssa_step(Z, U, eps, 0.0, mode), Z)


def test_default_mode_is_the_exact_step():
    Z, U = _random(5, 6), _random(2, 6, 3, seed=1)
    assert torch.equal(mssa_step(Z, U, 0.8), mssa_step(Z, U, 0.8, mode="exact"))


@pytest.mark.parametrize("mode", MODES)
def test_many_samples_and_masks(mode, device):
    Z, U = _random(2, 6, 5).to(device), _random(2, 5, 2, seed=1).to(device)
    mask = torch.tensor([[True] * 4 + [False] * 2, [False, True] * 3], device=device)
    found = mssa_step(Z, U, 0.5, mode=mode, mask=mask)
    for i in range(2):
        expected = mssa_step(Z[i][mask[i]], U, 0.5, mode=mode)
        assert torch.allclose(found[i][mask[i]], expected, rtol=1e-10, atol=1e-12)
        assert torch.equal(found[i][~mask[i]], Z[i][~mask[i]])
    # What stands in a token off the mask changes nothing.
    other = torch.where(mask.unsqueeze(-1), Z, 100.0)
    assert torch.equal(mssa_step(other, U, 0.5, mode=mode, mask=mask)[mask], found[mask])


@pytest.mark.parametrize("mode", MODES)
def test_steps_keep_dtype_and_pass_gradients_on(mode):
    Z, U = _random(4, 5).requires_grad_(), (_random(2, 5, 2, seed=1) / 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda z, u: mssa_step(z, u, 0.7, 0.2, mode), (Z, U))
    for dtype in (torch.float32, torch.bfloat16):
        assert mssa_step(Z.detach().to(dtype), U.detach().to(dtype), 0.7, mode=mode).dtype == dtype


@pytest.mark.parametrize("mode", MODES)
def test_bases_of_zeros_leave_tokens_where_they_are(mode):
    Z = _random(5, 6)
    U = torch.zeros(2, 6, 3, dtype=Z.dtype, requires_grad=True)
    found = mssa_step(Z, U, 0.5, mode=mode)
    assert torch.equal(found, Z)
    found.sum().backward()
    assert bool(torch.isfinite(U.grad).all())


@pytest.mark.parametrize("mode", MODES)
def test_tokens_decide_the_dtype(mode):
    Z, U = _random(5, 6), _random(2, 6, 3, seed=1) / 2
    mixed = mssa_step(Z.float(), U, 0.8, mode=mode)
    assert mixed.dtype == torch.float32
    assert torch.allclose(mixed.double(), mssa_step(Z, U, 0.8, mode=mode), atol=1e-5)


@pytest.mark.parametrize("eps", [0.5, 1e-4])
def test_tokens_that_do_not_fill_a_subspace_have_finite_gradients(eps):
    # Equal singular values, at a small distortion where the matrix of the rate is large.
    Z = _random(1, 6).expand(5, 6).clone().requires_grad_()
    U = _random(2, 6, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda z, u: mssa_step(z, u, eps, 0.1 * eps**2), (Z, U), eps=1e-7, atol=1e-5)


def test_a_step_of_twice_the_proved_size_is_the_longest_one():
    # For small tokens the rate is a/2 times the squared norm: a step of c times the proved one multiplies by 1 - c.
    Z, U = 1e-4 * _random(6, 8), _orthonormal(2, 8, 4)
    kappa, before = descent_step_size(U, 1.0, 6), float(compressed_rate(Z, U, 1.0))
    after = {c: float(compressed_rate(mssa_step(Z, U, 1.0, c * kappa), U, 1.0)) / before for c in (0.5, 1.0, 1.9, 2.5)}
    assert after[0.5] == pytest.approx(0.25, rel=1e-3)
    assert after[1.0] < 1e-4
    assert after[1.9] == pytest.approx(0.81, rel=1e-3)
    assert after[2.5] == pytest.approx(2.25, rel=1e-3)


def test_bases_that_are_not_orthonormal_need_the_shorter_step():
    # Four copies of one direction: without the norm of all bases side by side the step would be four times too long.
    U = torch.eye(3, dtype=torch.float64)[None, :, :1].repeat(4, 1, 1)
    Z = 1e-3 * _random(5, 3)
    kappa, before = descent_step_size(U, 1.0, 5), float(compressed_rate(Z, U, 1.0))
    assert kappa == pytest.approx(5 / 4)
    assert float(compressed_rate(mssa_step(Z, U, 1.0), U, 1.0)) < 1e-3 * before
    assert float(compressed_rate(mssa_step(Z, U, 1.0, 4 * kappa), U, 1.0)) > 8 * before


def test_in_a_line_an_outlier_draws_all_tokens_and_the_rate_rises():
    Z, U = torch.tensor([[10.0]] + [[1.0]] * 7, dtype=torch.float64), torch.ones(1, 1, 1, dtype=torch.float64)
    before = float(compressed_rate(Z, U, 1.0))
    after = {mode: float(compressed_rate(mssa_step(Z, U, 1.0, mode=mode), U, 1.0)) for mode in MODES}
    assert after["exact"] < before - 0.05
    assert after["paper_unscaled"] > before + 0.5
    assert after["code"] > before + 0.5
    assert after["negative"] > before


# Half-integer tokens in four dimensions, found by descent on the change of the rate and then rounded.
_FALLING = [
    [13, 7, -27, 4],
    [15, 0, -24, 4],
    [-19, 5, 19, -5],
    [5, 12, -24, 1],
    [1, -19, 23, 2],
    [7, -4, -1, 3],
    [7, -4, -1, 3],
    [7, -4, -1, 3],
    [-21, -6, 38, -7],
    [1, -19, 23, 2],
    [-3, 4, 0, -3],
    [-3, 4, 0, -3],
]


def test_in_four_dimensions_the_whole_layer_can_lower_the_rate():
    Z, U = torch.tensor(_FALLING, dtype=torch.float64) / 2, torch.eye(4, dtype=torch.float64)[None]
    eps = math.sqrt(4 / (12 * 100.0))
    before, after = (float(compressed_rate(tokens, U, eps)) for tokens in (Z, mssa_step(Z, U, eps, mode="code")))
    assert after < before - 0.1


def test_published_step_raises_the_rate_in_240_draws():
    # Random, unit-norm and union-of-subspace tokens; orthonormal and Gaussian bases.
    raised = lowered = 0
    for draw in range(240):
        U = _orthonormal(4, 24, 6, seed=draw) if draw % 2 else _random(4, 24, 6, seed=draw) / 24**0.5
        Z = _random(40, 24, seed=1000 + draw)
        if draw % 3 == 1:
            Z = Z / Z.norm(dim=1, keepdim=True)
        if draw % 3 == 2:
            Z = torch.einsum("np,ndp->nd", Z[:, :6], U[torch.arange(40) % 4])
        eps, kappa = (0.3, 1.0)[draw // 6 % 2], (0.01, 0.1, 0.5, 1.0)[draw // 12 % 4]
        before = compressed_rate(Z, U, eps)
        raised += bool(compressed_rate(mssa_step(Z, U, eps, kappa, "code"), U, eps) > before)
        lowered += bool(compressed_rate(mssa_step(Z, U, eps), U, eps) < before)
    assert raised == lowered == 240


def test_errors_name_the_argument():
    Z, U = _random(3, 2), _random(1, 2, 1)
    with pytest.raises(ValueError, match="mode must be one of 'exact'"):
        mssa_step(Z, U, 1.0, mode="paper")
    with pytest.raises(ValueError, match="step_size must be None or a finite non-negative number"):
        mssa_step(Z, U, 1.0, -1.0)
    with pytest.raises(ValueError, match="eps must be"):
        mssa_step(Z, U, 0.0, mode="code")
    with pytest.raises(ValueError, match="n_tokens must be"):
        descent_step_size(U, 1.0, 0)
    with pytest.raises(ValueError, match="U must have shape"):
        descent_step_size(U[0], 1.0, 3)
    assert descent_step_size(torch.zeros(1, 2, 1), 1.0, 3) == math.inf
