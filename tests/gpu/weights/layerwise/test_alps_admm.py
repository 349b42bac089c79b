"""ALPS against a plain reference: explicit solves, sorted magnitudes, conjugate gradients row by row."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.core import NM, PerRow, PerTensor
from sparsetheory.gpu.weights import alps, magnitude, refit, wanda


def _top(values, pattern):
    """Set all but the largest magnitudes to zero, by sorting; no ties are expected."""
    if isinstance(pattern, NM):
        groups = np.abs(values).reshape(len(values), -1, pattern.m)
        cut = np.sort(groups, axis=2)[:, :, -pattern.n][:, :, None]
        return values * (groups >= cut).reshape(values.shape)
    if isinstance(pattern, PerRow):
        return values * (np.abs(values) >= np.sort(np.abs(values), axis=1)[:, -pattern.n_nonzero][:, None])
    return values * (np.abs(values) >= np.sort(np.abs(values), axis=None)[-pattern.n_nonzero])


def _jacobi_gradients(w, H, start, steps):
    """Conjugate gradients with the diagonal as preconditioner, for ``H x = H w`` on the support of a start."""
    support = start != 0
    A, right, x = H[np.ix_(support, support)], (H @ w)[support], start[support]
    r = right - A @ x
    z = r / A.diagonal()
    p = z
    for _ in range(steps):
        a = (r @ z) / (p @ A @ p)
        x, before = x + a * p, r @ z
        r = r - a * A @ p
        z = r / A.diagonal()
        p = z + (r @ z) / before * p
    full = np.zeros_like(w)
    full[support] = x
    return full


def _reference(W, gram, pattern, damp=0.01):
    W, H = W.cpu().numpy(), gram.cpu().numpy()
    identity = np.eye(len(H))
    H = H + damp * H.diagonal().mean() * identity
    d = np.sqrt(H.diagonal()) + 1e-8
    A, B0 = H / np.outer(d, d), W * d
    D, V, rho, started = _top(B0, pattern), np.zeros_like(W), 0.1, False
    zero, kept, log = D == 0, (_top(B0, pattern) != 0).sum(), []
    for t in range(1, 301):
        B = np.linalg.solve(A + rho * identity, (B0 @ A - V + rho * D).T).T
        D = _top(B + V / rho, pattern)
        V = V + rho * (B - D)
        if t % 3:
            continue
        c = ((D == 0) != zero).sum()
        zero = D == 0
        if c / kept > 0.1:
            rho, started = 1.3 * rho, True
        elif c / kept > 0.005:
            rho, started = 1.2 * rho, True
        elif started and c == 0:
            break
        elif started:
            rho = 1.1 * rho
        else:
            rho = rho / 5
            if c:
                B, D, V = B0, _top(B0, pattern), np.zeros_like(W)
                log.append("restart")
        rho = min(rho, 1e6)
        if t > 30 and c / kept < 3e-4:
            log.append("few")
            break
    start = _top(B, pattern) / d
    # Outside the support of a row the solution has zeros.
    return np.array([_jacobi_gradients(w, H, s, 10) for w, s in zip(W, start, strict=True)]), [*log, t]


@pytest.mark.parametrize("pattern", [NM(2, 4), NM(1, 4), PerRow(24), PerRow(14), PerTensor(n_nonzero=900)], ids=str)
def test_alps_is_the_plain_algorithm(pattern, make_problem):
    W, gram = make_problem(20, 48, seed=7)
    found = alps(W, gram, pattern)
    expected, _ = _reference(W, gram, pattern)
    assert np.array_equal(found.mask.cpu().numpy(), expected != 0)
    np.testing.assert_allclose(found.weight.cpu().numpy(), expected, rtol=1e-6, atol=1e-8)
    assert found.mask.sum() == pattern.count(W.shape)


@pytest.mark.parametrize(
    ("third", "small", "course"),
    [(0.3, 0.05, [21]), (0.5, 0.05, ["restart", 21]), (0.5, 0.1, ["restart"] * 2 + [15]), (0.5, 0.01, "few")],
)
def test_the_weight_falls_and_grows_as_in_the_plain_algorithm(third, small, course, device):
    # One group with a close call among many clear ones: few entries change, none at first for the first case.
    generator = torch.Generator().manual_seed(1)
    W, noise = torch.randn(2, 40, 40, generator=generator, dtype=torch.float64).to(device)
    W = torch.where(NM(2, 4).mask(W.abs()), W.sign() + W, small * W)
    W[0, :4] = torch.tensor([1.0, 1.0, third, third / 2])
    gram = torch.eye(40, dtype=torch.float64, device=device) + 0.01 * (noise + noise.T)
    expected, log = _reference(W, gram, NM(2, 4))
    assert log == course or course in log
    found = alps(W, gram, NM(2, 4))
    assert np.array_equal(found.mask.cpu().numpy(), expected != 0)
    np.testing.assert_allclose(found.weight.cpu().numpy(), expected, rtol=1e-6, atol=1e-8)


def test_errors_lie_below_those_of_refitted_scores_and_above_the_fit_on_the_mask(make_problem):
    W, gram = make_problem(30, 64, seed=3)
    damped = gram + 0.01 * float(gram.diagonal().mean()) * torch.eye(64, dtype=torch.float64, device=gram.device)

    def error(S):
        return float(((W - S) @ damped * (W - S)).sum())

    found = alps(W, gram, NM(2, 4))
    fitted = error(refit(W, damped, found.mask))
    assert fitted <= error(found.weight) <= 1.01 * fitted
    assert error(found.weight) < 0.9 * error(refit(W, damped, wanda(W, gram, NM(2, 4)).mask))
    assert error(found.weight) < 0.9 * error(refit(W, damped, magnitude(W, NM(2, 4)).mask))


def test_weights_that_fit_already_stay(make_problem):
    W, gram = make_problem(12, 16)
    W = NM(2, 4).project(W)
    found = alps(W, gram, NM(2, 4))
    assert torch.equal(found.mask, W != 0)
    torch.testing.assert_close(found.weight, W)
    torch.testing.assert_close(alps(W, gram, PerRow(16)).weight, W)
    assert not alps(W, gram, PerTensor(0.0)).weight.any()


def test_counts_are_exact_for_zero_rows_dead_inputs_and_single_precision(make_problem):
    W, gram = make_problem(8, 16, dead=(3,))
    W[2], W[3] = 0.0, 1.0
    found = alps(W.float(), gram.float(), NM(2, 4))
    assert found.weight.dtype == torch.float32
    assert bool((found.mask.reshape(8, 4, 4).sum(2) == 2).all())
    assert bool(found.weight.isfinite().all())
    assert not found.weight[2].any()
