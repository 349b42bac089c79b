import math

import numpy as np
import pytest
import torch

from sparsetheory.gpu.activations import cett, cett_threshold, neuron_norms


@pytest.fixture
def layer(device):
    generator = torch.Generator().manual_seed(1)
    h = torch.randn(30, 64, generator=generator, dtype=torch.float64).relu()
    return h.to(device), torch.randn(16, 64, generator=generator, dtype=torch.float64).to(device)


def mean(h, w_out, eps):
    return float(cett(h, w_out, eps).nanmean())


@pytest.mark.parametrize("target", [0.05, 0.3, 0.6])
def test_bisection_stops_below_the_target_with_the_next_candidate_above(layer, target):
    h, w_out = layer
    norms = neuron_norms(h, w_out).cpu().numpy()
    found = cett_threshold(h, w_out, target)
    grid = np.linspace(norms.min(), np.quantile(norms, 0.99), 65_536)
    place = np.abs(grid - found).argmin()
    assert found == pytest.approx(grid[place], rel=1e-12)
    assert mean(h, w_out, found) <= target < mean(h, w_out, grid[place + 1])


@pytest.mark.parametrize("target", [0.0, 0.05, 0.3, 0.6, 1.0])
def test_scan_finds_the_largest_norm_within_the_target(layer, target):
    h, w_out = layer
    norms = [*neuron_norms(h, w_out).unique().tolist(), math.inf]
    best = max(eps for eps in norms if mean(h, w_out, eps) <= target)
    assert cett_threshold(h, w_out, target, "scan") == pytest.approx(best, rel=1e-12)


def test_scan_sees_where_the_error_falls_again():
    w_out, h = torch.tensor([[1.0, -1.0, 1.0], [0.0, 0.0, 1.0]]), torch.tensor([[1.0, 1.1, 5.0]])
    assert cett_threshold(h, w_out, 0.02, "scan") == pytest.approx(5 * math.sqrt(2))
    # The grid ends below the largest norm, and bisection may stop at the first crossing.
    assert cett_threshold(h, w_out, 0.01, "scan") == 1.0


def test_target_of_zero_leaves_out_only_neurons_that_are_zero(layer):
    h, w_out = layer
    for method in ("bisect", "scan"):
        eps = cett_threshold(h, w_out, 0.0, method)
        assert torch.equal(neuron_norms(h, w_out) < eps, h == 0) or eps == 0.0
        assert mean(h, w_out, eps) == 0.0


def test_small_targets_never_get_the_largest_candidate():
    # Where already the second candidate exceeds the target; the official search would return the last one.
    h, w_out = torch.tensor([[1.0, 1.0, 1.0, 9.0]]), torch.eye(4)
    eps = cett_threshold(h, w_out, 1e-6)
    assert eps == 1.0
    assert cett(h, w_out, eps).item() == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": -0.1}, "target must be a finite non-negative number; got -0.1"),
        ({"target": 0.1, "method": "newton"}, "method must be one of 'bisect', 'scan'; got 'newton'"),
    ],
)
def test_arguments_that_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        cett_threshold(torch.ones(2, 3), torch.ones(4, 3), **arguments)


def test_neurons_at_zero_cost_nothing():
    assert cett_threshold(torch.tensor([[0.0, 2.0, 3.0]]), torch.eye(3), 0.0) == pytest.approx(2.0, abs=1e-4)


def test_neurons_of_one_norm_go_together():
    # Without the first neuron the error is 0.5, without the first two 0.375, but the second has the norm of the third.
    w_out = torch.tensor([[4.0, -4.0, 0.0], [0.0, 3.0, 5.0]])
    assert cett_threshold(torch.ones(1, 3), w_out, 0.4, "scan") == 4.0
