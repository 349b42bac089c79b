"""Values on a mask against numpy's least squares, and exact prices of single removals."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.core import NM, PerRow, PerTensor
from sparsetheory.gpu.weights import magnitude, refit, sparsegpt, wanda


def _error(W, S, gram):
    return ((W - S) @ gram * (W - S)).sum(1)


def _reference(W, gram, mask):
    """Fit every row on the columns that it keeps; the rows of `factor` are inputs with that Gram matrix."""
    values, vectors = np.linalg.eigh(gram.cpu().numpy())
    factor = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    fitted = np.zeros(W.shape)
    for w, row, kept in zip(W.cpu().numpy(), fitted, mask.cpu().numpy(), strict=True):
        row[kept] = np.linalg.lstsq(factor[:, kept], factor @ w, rcond=None)[0]
    return torch.from_numpy(fitted).to(W)


@pytest.mark.parametrize("pattern", [NM(2, 4), PerRow((0, 24, 1, 7, 23, 12, 3, 2)), PerTensor(0.4)], ids=str)
@pytest.mark.parametrize("memory", [1, 20_000, 10**8])
def test_values_are_those_of_least_squares_whatever_the_memory(pattern, memory, make_problem, monkeypatch):
    W, gram = make_problem(8, 24, seed=11)
    mask = magnitude(W, pattern).mask
    monkeypatch.setattr("sparsetheory.gpu.solvers.arguments._CPU_BYTES", memory)
    torch.testing.assert_close(refit(W, gram, mask), _reference(W, gram, mask), rtol=1e-6, atol=1e-8)


def test_refit_never_raises_the_error_of_any_method(make_problem):
    W, gram = make_problem(20, 32, seed=12)
    for found in (
        magnitude(W, NM(2, 4)),
        wanda(W, gram, NM(2, 4)),
        sparsegpt(W, gram, NM(2, 4)),
        magnitude(W, PerRow(9)),
    ):
        before, after = _error(W, found.weight, gram), _error(W, refit(W, gram, found.mask), gram)
        assert bool((after <= before * (1 + 1e-9)).all())


def test_to_remove_one_entry_costs_its_square_over_the_diagonal_of_the_inverse(make_problem):
    W, gram = make_problem(1, 10, seed=13)
    masks = ~torch.eye(10, dtype=torch.bool, device=W.device)
    costs = _error(W, refit(W.expand(10, 10), gram, masks), gram)
    torch.testing.assert_close(costs, W[0] ** 2 / torch.linalg.inv(gram).diagonal())


def test_pivots_price_removals_for_which_only_later_inputs_make_up(make_problem):
    _, gram = make_problem(1, 10, seed=14)
    factor = torch.linalg.cholesky(torch.linalg.inv(gram), upper=True)
    for j in range(10):
        w = torch.zeros(1, 10 - j, dtype=gram.dtype, device=gram.device)
        w[0, 0] = 1.0
        cost = _error(w, refit(w, gram[j:, j:], w == 0), gram[j:, j:])
        torch.testing.assert_close(cost[0], factor[j, j] ** -2)


def test_inputs_that_are_always_zero_get_no_weight_and_dense_rows_stay(make_problem):
    W, gram = make_problem(5, 12, dead=(0, 7))
    mask = magnitude(W, PerRow(9)).mask
    mask[0] = True
    found = refit(W, gram, mask)
    assert not found[:, [0, 7]].any()
    alive = gram.diagonal() > 0
    torch.testing.assert_close(found[0, alive], W[0, alive])
    torch.testing.assert_close(_error(W, found, gram), _error(W, _reference(W, gram, mask), gram))
    assert not refit(W, torch.zeros(12, 12), mask).any()


def test_singular_blocks_are_fitted_and_stay_near_the_weights(device):
    generator = torch.Generator().manual_seed(5)
    half = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    # Every input occurs twice, once with a factor of a million.
    X = torch.cat([half, 1e6 * half], 1)
    gram = (X.T @ X).to(device)
    W = torch.randn(6, 12, generator=generator, dtype=torch.float64).to(device)
    mask = torch.ones(6, 12, dtype=torch.bool, device=device)
    mask[:3, :2] = False
    mask[3, 6:8] = False
    found = refit(W, gram, mask)
    scale = _error(W, torch.zeros_like(W), gram)
    # All that is pruned has a twin that is kept.
    assert bool((_error(W, found, gram) < 1e-9 * scale).all())
    torch.testing.assert_close(found[4:], W[4:])
    assert bool((found.abs() < 1e7).all())


def test_precision_of_the_weights_is_kept(make_problem):
    W, gram = make_problem(4, 8)
    mask = magnitude(W, NM(2, 4)).mask
    assert refit(W.to(torch.bfloat16), gram, mask).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="H must have 8 rows"):
        refit(W, gram[:4, :4], mask)
