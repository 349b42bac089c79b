"""Best values of single coefficients, against a fine grid and against the kernels that the solvers use."""

import numpy as np
import pytest

from sparsetheory.penalties.separable import CEL0, L0, L1, MCP, SCAD, CappedL1, LogSum, Lq
from sparsetheory.regression.certificates.coordinate_minima import distance_to_best

PENALTIES = [
    L1(0.3),
    L0(0.1),
    Lq(0.2, 0.5),
    Lq(0.2, 0.9),
    CEL0(0.1, 1.3),
    MCP(0.3, 0.8),
    MCP(0.3, 3.0),
    SCAD(0.3, 2.1),
    SCAD(0.3, 3.7),
    LogSum(0.2, 0.05),
    LogSum(0.2, 1.0),
    CappedL1(0.3, 0.2),
    CappedL1(0.3, 1.0),
]
every = pytest.mark.parametrize("penalty", PENALTIES, ids=repr)


def _numbers(penalty, size):
    return np.full(size, penalty.alpha), np.full(size, float(np.max(penalty.shape)))


@every
def test_values_are_those_of_the_penalty(penalty):
    v = np.concatenate([[0.0], np.geomspace(1e-3, 10, 50)])
    np.testing.assert_allclose(penalty.values(v, *_numbers(penalty, v.size)), [penalty.value(t) for t in v], rtol=1e-12)


@every
@pytest.mark.parametrize("h", [0.3, 1.0, 1.7])
def test_the_best_value_has_distance_zero_and_others_have_not(penalty, h):
    grid = np.linspace(-2.6, 2.6, 52_001)
    u = np.linspace(-2, 2, 41)
    cost = 0.5 * h * (grid[:, None] - u) ** 2 + penalty.values(np.abs(grid)[:, None], *_numbers(penalty, u.size))
    best = grid[np.argmin(cost, axis=0)]
    alpha, shape = _numbers(penalty, u.size)

    def distance(w):
        return distance_to_best(penalty, w, h * (u - w), np.full(u.size, h), alpha, shape)

    # The grid is 1e-4 wide, and flat minima are found worse: by the root of what values differ.
    assert np.all(distance(best) <= 2e-4)
    assert np.all(distance(penalty.prox(u, 1 / h)) <= 1e-12)
    # Ties have two best values; apart from them, a value that is off is seen as off.
    gap = np.partition(np.where(np.abs(grid[:, None] - best) < 0.05, np.inf, cost), 0, axis=0)[0] - cost.min(axis=0)
    for move in (-0.03, 0.03, 0.5):
        assert np.all((distance(best + move) >= 0.8 * h * 0.03) | (gap < 0.5 * h * 0.03**2))


@every
def test_distance_of_zero_is_what_the_gradient_is_beyond_its_limit_near_it(penalty):
    limit = penalty.zero_threshold(1.0)
    g = limit + np.array([-1e-3, -1e-9, 0.0, 1e-9])
    one, (alpha, shape) = np.ones(4), _numbers(penalty, 4)
    found = distance_to_best(penalty, 0 * one, g, one, alpha, shape)
    assert np.all(found[:3] <= 1e-7)
    # The way to the minimum, or the root of what the objective would fall by: both vanish as the limit is reached.
    assert 0 < found[3] < 1e-3
