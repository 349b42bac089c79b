"""The ADMM update against a plain reference, and the limit of many iterations."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.core import NM, PerRow, PerTensor
from sparsetheory.gpu.weights import admm_refit, magnitude, refit, wanda


def _gradual(score, pattern, t):
    """The mask of iteration t, by sorting."""
    if isinstance(pattern, PerRow):
        zeros = score.shape[1] - pattern.n_nonzero
        return np.argsort(np.argsort(score, axis=1), axis=1) >= _zeros(zeros, t)
    protected = np.zeros(score.shape, bool)
    if isinstance(pattern, NM):
        ranks = np.argsort(np.argsort(score.reshape(-1, pattern.m), axis=1), axis=1)
        protected = (ranks >= pattern.m - pattern.n).reshape(score.shape)
    order = np.argsort(np.where(protected, np.inf, score), axis=None, kind="stable")
    kept = np.ones(score.size, bool)
    kept[order[: _zeros(score.size - pattern.count(score.shape), t)]] = False
    return kept.reshape(score.shape)


def _zeros(last, t):
    return int(last * (1 - (1 - min(t, 15) / 15) ** 3) + 1e-9)


def _reference(W, gram, pattern=None, mask=None, n_iter=20):
    W, H = W.cpu().numpy(), gram.cpu().numpy()
    d = np.sqrt(H.diagonal()) + 1e-8
    H = H / np.outer(d, d)
    H = H + 0.1 * H.diagonal().mean() * np.eye(len(H))
    B = B0 = W * d
    U = np.zeros_like(B)
    for t in range(1, n_iter + 1):
        if pattern is not None and t <= 15:
            mask = _gradual(np.abs(B + U), pattern, t)
        Z = (B + U) * mask
        U = U + B - Z
        B = np.linalg.solve(H + np.eye(len(H)), (B0 @ H + Z - U).T).T
    return (B + U) * mask / d, mask


@pytest.mark.parametrize("pattern", [NM(2, 4), NM(1, 3), PerRow(17), PerTensor(n_nonzero=300)], ids=str)
def test_pruning_is_the_plain_algorithm(pattern, make_problem):
    W, gram = make_problem(15, 48, seed=6)
    found = admm_refit(W, gram, pattern)
    weight, mask = _reference(W, gram, pattern)
    assert np.array_equal(found.mask.cpu().numpy(), mask)
    np.testing.assert_allclose(found.weight.cpu().numpy(), weight, rtol=1e-8, atol=1e-10)
    assert torch.equal(pattern.mask(found.mask.double()), found.mask)


def test_on_a_given_mask_values_tend_to_least_squares(make_problem):
    W, gram = make_problem(10, 24, seed=8)
    mask = wanda(W, gram, NM(2, 4)).mask
    found = admm_refit(W, gram, mask=mask)
    weight, _ = _reference(W, gram, mask=mask.cpu().numpy())
    np.testing.assert_allclose(found.weight.cpu().numpy(), weight, rtol=1e-8, atol=1e-10)
    exact = refit(W, gram + 0.1 * gram.diagonal().diag(), mask)
    paths = [admm_refit(W, gram, mask=mask, max_iter=count).weight for count in (5, 20, 80, 2000)]
    distances = [float((values - exact).norm()) for values in paths]
    assert distances == sorted(distances, reverse=True)
    torch.testing.assert_close(paths[-1], exact, rtol=1e-5, atol=1e-6)


def test_counts_are_exact_for_zero_rows_dead_inputs_and_no_gradual_phase(make_problem):
    W, gram = make_problem(8, 16, dead=(3,))
    W[2], W[3] = 0.0, 1.0
    counts = (0, 16, 3, 4, 5, 6, 7, 8)
    assert admm_refit(W, gram, PerRow(counts)).mask.sum(1).tolist() == list(counts)
    for n_gradual in (0, 1, 20):
        found = admm_refit(W.float(), gram, NM(2, 4), n_gradual=n_gradual)
        assert found.weight.dtype == torch.float32
        assert bool((found.mask.reshape(8, 4, 4).sum(2) == 2).all())
        assert bool(found.weight.isfinite().all())
        assert not found.weight[:, 3].any()
    scaled = magnitude(W * gram.diagonal().sqrt(), NM(2, 4)).mask
    assert torch.equal(admm_refit(W, gram, NM(2, 4), n_gradual=0).mask[4:], scaled[4:])


def test_bad_arguments_are_named(make_problem):
    W, gram = make_problem(2, 4)
    with pytest.raises(ValueError, match="pattern must be NM or PerRow or PerTensor"):
        admm_refit(W, gram)
    with pytest.raises(ValueError, match=r"mask must have shape \(2, 4\); got \(4,\)"):
        admm_refit(W, gram, mask=torch.ones(4))
    with pytest.raises(ValueError, match="n_gradual must be an integer from 0 to 10; got 15"):
        admm_refit(W, gram, NM(2, 4), max_iter=10)
