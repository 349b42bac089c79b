import numpy as np
import pytest
import torch
from kernels.layerwise_cases import energy, problem, refit, start, swapped, swaps

from sparsetheory.gpu.core import PerRow
from sparsetheory.gpu.weights import move_prices


def _flipped(mask, j):
    other = np.asarray(mask).copy()
    other[j] = not other[j]
    return other


@pytest.mark.parametrize("condition", [1e3, 1e9])
def test_every_price_is_the_change_of_the_objective_under_a_refit(condition):
    W, H = problem(1, 12, seed=1, condition=condition)
    w, mask = W[0], start(W, H, PerRow(5))[0]
    prices, now = move_prices(w, H, mask), refit(w, H, mask)[1]
    tol = 1e-9 * energy(W, H)
    for j in range(12):
        change = refit(w, H, _flipped(mask, j))[1] - now
        found = float(prices.drop[j]) if mask[j] else -float(prices.add[j])
        assert abs(found - change) < tol
    for j, i in swaps(mask, 12):
        assert abs(float(prices.swap[j, i]) - (now - refit(w, H, swapped(mask, j, i))[1])) < tol


def test_what_is_no_move_is_infinite():
    W, H = problem(1, 6)
    mask = torch.tensor([True, True, False, False, True, False])
    prices = move_prices(W[0], H, mask)
    assert torch.equal(prices.drop.isinf(), ~mask)
    assert torch.equal(prices.add.isinf(), mask)
    assert torch.equal(prices.swap.isfinite(), mask[:, None] & ~mask)


@pytest.mark.parametrize("kept", [0, 6])
def test_empty_and_full_masks_have_prices(kept):
    W, H = problem(1, 6)
    mask = torch.arange(6) < kept
    prices = move_prices(W[0], H, mask)
    exact = (W[0] @ H).square() / H.diagonal() if kept == 0 else W[0].square() / torch.linalg.inv(H).diagonal()
    np.testing.assert_allclose(prices.add if kept == 0 else prices.drop, exact, rtol=1e-9)


def test_a_column_that_the_kept_ones_determine_gains_nothing():
    X = torch.from_numpy(np.random.default_rng(0).standard_normal((20, 3)))
    X = torch.cat([X, X[:, :1] + X[:, 1:2]], 1)
    prices = move_prices(torch.ones(4, dtype=torch.float64), X.T @ X, torch.tensor([True, True, False, False]))
    assert prices.add[3] == -torch.inf
    assert prices.swap[0, 3] > -torch.inf


def test_bad_arguments_are_named():
    W, H = problem(1, 4)
    with pytest.raises(ValueError, match="w and mask must be vectors of one length"):
        move_prices(W[0], H, torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="H must be positive definite on the mask"):
        move_prices(W[0], torch.ones(4, 4, dtype=torch.float64), torch.ones(4, dtype=torch.bool))
