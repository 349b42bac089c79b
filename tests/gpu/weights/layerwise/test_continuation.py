"""The fixed schedule: what it computes, rows that do not depend on each other, and how good its masks are."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.core import NM, BlockNM, PerRow, PerTensor, RowBlock
from sparsetheory.gpu.weights import continuation_mask, magnitude, refit, sparsegpt, wanda

PATTERNS = [NM(2, 4), NM(1, 4), PerRow(16), PerTensor(0.5), RowBlock(2, 0.5), BlockNM(4, 2, 4)]


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_masks_are_those_of_plain_alternating_directions(pattern, make_problem):
    W, gram = make_problem(16, 32, seed=31)
    w, H = W.cpu().numpy(), gram.cpu().numpy()
    d = np.sqrt(H.diagonal())
    A, B0 = H / np.outer(d, d), w * d

    def project(values):
        # The nearest point of the pattern: what it keeps has the most energy.
        return values * pattern.mask(torch.from_numpy(values**2)).numpy()

    D, V = project(B0), 0.0 * B0
    for t in range(100):
        rho = 0.03 * (1 / 0.03) ** ((t - t % 4) / 99)
        B = np.linalg.solve(A + rho * np.eye(32), (B0 @ A - V + rho * D).T).T
        D = project(B + V / rho)
        V = V + rho * (B - D)
    assert np.array_equal(continuation_mask(W, gram, pattern).cpu().numpy(), project(B) != 0)


@pytest.mark.parametrize("pattern", PATTERNS[:3], ids=str)
def test_rows_do_not_depend_on_each_other(pattern, make_problem):
    W, gram = make_problem(24, 32, seed=32)
    whole = continuation_mask(W, gram, pattern)
    parts = [continuation_mask(part, gram, pattern) for part in (W[:12], W[12:13], W[13:])]
    assert torch.equal(whole, torch.cat(parts))


@pytest.mark.parametrize("pattern", PATTERNS[:3], ids=str)
def test_refitted_masks_are_better_than_those_of_scores_and_compensation(pattern, make_problem):
    W, gram = make_problem(24, 32, seed=33)

    def error(mask):
        rest = W - refit(W, gram, mask)
        return float((rest @ gram * rest).sum())

    found = error(continuation_mask(W, gram, pattern))
    for other in (magnitude(W, pattern), wanda(W, gram, pattern), sparsegpt(W, gram, pattern)):
        assert found < 0.85 * error(other.mask)


def test_counts_are_exact_for_zero_rows_dead_inputs_few_steps_and_counts_per_row(make_problem):
    W, gram = make_problem(4, 16, dead=(3,))
    W[0], W[1] = 0.0, 1.0
    for n_steps in (1, 2, 10):
        assert continuation_mask(W, gram, PerRow((0, 16, 5, 1)), n_steps=n_steps).sum(1).tolist() == [0, 16, 5, 1]
        found = continuation_mask(W.float(), gram, NM(2, 4), n_steps=n_steps)
        assert bool((found.reshape(4, 4, 4).sum(2) == 2).all())
        assert not found[2:, 3].any()


def test_indefinite_matrices_are_refused():
    with pytest.raises(ValueError, match="H must be positive semidefinite"):
        continuation_mask(torch.ones(1, 2), torch.tensor([[1.0, 2.0], [2.0, 1.0]]), NM(1, 2))
