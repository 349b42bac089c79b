import math

import numpy as np
import pytest
import torch

from sparsetheory.gpu.bayesian import unit_gain, unit_price

PRIOR = 0.7


def bound(x, y, mu, sigma, mask, kappa):
    """Evidence bound of a linear layer with squared errors, term by term; constants left out."""
    mean, variance = np.where(mask, mu, 0.0), np.where(mask, sigma**2, 0.0)
    expected = ((y - x @ mean.T) ** 2).sum() + (x**2 @ variance.T).sum()
    kl = np.log(PRIOR / sigma) + (sigma**2 + mu**2) / (2 * PRIOR**2) - 0.5
    return -0.5 * kappa * expected - kl[mask].sum()


def fitted(seed, mask, kappa=3.0):
    """Best factors on a mask: exact means of each output, and one over curvature as variance."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(20, mask.shape[1])) + 0.7, rng.normal(size=(20, mask.shape[0]))
    mu, sigma = np.zeros(mask.shape), np.ones(mask.shape)
    gram = kappa * x.T @ x
    for row, kept in enumerate(mask):
        a = np.flatnonzero(kept)
        mu[row, a] = np.linalg.solve(gram[np.ix_(a, a)] + np.eye(len(a)) / PRIOR**2, kappa * x[:, a].T @ y[:, row])
        sigma[row, a] = (np.diag(gram)[a] + PRIOR**-2) ** -0.5
    return x, y, mu, sigma, gram, kappa


def rows_full():
    return np.array([[1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=bool)


def test_price_of_a_column_is_the_sum_of_its_prices(device):
    mask = np.array([[1, 0, 1, 1], [1, 1, 1, 0], [1, 0, 1, 1]], dtype=bool)
    x, y, mu, sigma, _, kappa = fitted(0, mask)
    there = [torch.tensor(part).to(device) for part in (mu, sigma)]
    found = unit_price(*there, prior_std=PRIOR, units="columns").flatten()
    for column in (0, 2):
        without = mask.copy()
        without[:, column] = False
        fall = bound(x, y, mu, sigma, mask, kappa) - bound(x, y, mu, sigma, without, kappa)
        assert float(found[column]) == pytest.approx(fall, rel=1e-9)


def test_price_of_a_row_needs_the_curvature_that_its_weights_share(device):
    mask = rows_full()
    x, y, mu, sigma, gram, kappa = fitted(1, mask)
    there = [torch.tensor(part).to(device) for part in (mu, sigma, gram)]
    exact = unit_price(*there[:2], prior_std=PRIOR, curvature=there[2]).flatten()
    each = unit_price(*there[:2], prior_std=PRIOR, curvature=there[2].expand(3, 4, 4)).flatten()
    summed = unit_price(*there[:2], prior_std=PRIOR).flatten()
    torch.testing.assert_close(each, exact)
    for row in (0, 2):
        without = mask.copy()
        without[row] = False
        fall = bound(x, y, mu, sigma, mask, kappa) - bound(x, y, mu, sigma, without, kappa)
        assert float(exact[row]) == pytest.approx(fall, rel=1e-9)
        assert abs(float(summed[row]) - fall) > 0.01 * abs(fall)


def test_gain_of_a_column_is_what_its_best_factors_add(device):
    mask = np.array([[1, 0, 1, 1], [1, 0, 1, 1], [1, 0, 0, 1]], dtype=bool)
    x, y, mu, sigma, gram, kappa = fitted(2, mask)
    gradient = -kappa * (y - x @ np.where(mask, mu, 0.0).T).T @ x
    curvature = np.broadcast_to(np.diag(gram), mask.shape).copy()
    found = unit_gain(
        torch.tensor(gradient).to(device), torch.tensor(curvature).to(device), prior_std=PRIOR, units="columns"
    ).flatten()
    joined, more, width = mask.copy(), mu.copy(), sigma.copy()
    joined[:, 1] = True
    width[:, 1] = (curvature[:, 1] + PRIOR**-2) ** -0.5
    more[:, 1] = -gradient[:, 1] * width[:, 1] ** 2
    rise = bound(x, y, more, width, joined, kappa) - bound(x, y, mu, sigma, mask, kappa)
    assert float(found[1]) == pytest.approx(rise, rel=1e-9)


def test_units_of_the_mean_loss_are_not_nats():
    gradient, curvature = torch.tensor([[0.3, 0.1]]), torch.tensor([[0.2, 0.1]])
    n = 1000.0
    assert float(unit_gain(n * gradient, n * curvature, prior_std=1.0)) == pytest.approx(
        sum((n * g) ** 2 / (2 * (n * h + 1)) - math.log1p(n * h) / 2 for g, h in ((0.3, 0.2), (0.1, 0.1))), rel=1e-5
    )
    assert float(unit_gain(gradient, curvature, prior_std=1.0)) < 0


def test_filters_and_kernels_add_up():
    mu, sigma = torch.randn(3, 2, 3, 3, dtype=torch.float64), torch.rand(3, 2, 3, 3, dtype=torch.float64) + 0.1
    kernels = unit_price(mu, sigma, prior_std=1.0, units="kernels")
    assert kernels.shape == (3, 2, 1, 1)
    torch.testing.assert_close(kernels.sum(1, keepdim=True), unit_price(mu, sigma, prior_std=1.0))


def test_errors():
    mu = torch.ones(2, 3)
    with pytest.raises(ValueError, match="prior_std must be"):
        unit_price(mu, mu, prior_std=0.0)
    with pytest.raises(ValueError, match=r"curvature must be of shape \(in, in\)"):
        unit_price(mu, mu, prior_std=1.0, curvature=torch.ones(2, 2))
    with pytest.raises(ValueError, match="units of rows"):
        unit_price(mu, mu, prior_std=1.0, units="columns", curvature=torch.ones(3, 3))
    with pytest.raises(ValueError, match="mu must have a multiple of 2"):
        unit_price(mu, mu, prior_std=1.0, units=(1, 2))


def test_prices_are_numbers_that_no_gradient_goes_through():
    mu, sigma = torch.ones(2, 2, requires_grad=True), torch.full((2, 2), 0.5, requires_grad=True)
    for curvature in (None, torch.ones(2, 2, requires_grad=True)):
        found = unit_price(mu, sigma, prior_std=1.0, curvature=curvature)
        assert not found.requires_grad
