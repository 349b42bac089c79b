"""The smallest strength with a zero solution, for every family and sign."""

import numpy as np
import pytest
from penalties.penalty_table import each_example

from sparsetheory.penalties import L0, L1, ElasticNet
from sparsetheory.penalties.zero_solution import alpha_max, least_alpha


@each_example
def test_zero_is_best_from_there_on_and_not_before(penalty, rng):
    for scale in (1e-8, 1.0, 1e8):
        correlations, curvature = scale * rng.standard_normal(6), rng.uniform(0.5, 2.0, 6)
        weights = rng.uniform(0.5, 2.0, 6)
        alpha = alpha_max(correlations, curvature, penalty, weights)

        def moves(alpha, c=correlations, h=curvature, u=weights):
            return [float(penalty.with_alpha(alpha * w).prox(g / k, 1 / k)) for g, k, w in zip(c, h, u, strict=True)]

        assert not any(moves(alpha * (1 + 1e-12)))
        assert any(moves(alpha * (1 - 1e-9)))


def test_nothing_to_keep():
    one = np.ones(2)
    for penalty in (L1(1.0), L0(1.0)):
        assert alpha_max(np.zeros(2), one, penalty) == 0.0
        assert alpha_max(one, np.zeros(2), penalty) == 0.0
        assert alpha_max(np.array([3.0, 4.0]), np.array([1.0, 0.0]), penalty) == alpha_max(
            one[:1] * 3, one[:1], penalty
        )
    assert alpha_max(-one, one, L1(1.0, positive=True)) == alpha_max(-one, one, L0(1.0, positive=True)) == 0.0


def test_closed_forms():
    c, h = np.array([3.0, -4.0]), np.array([1.0, 2.0])
    assert alpha_max(c, h, ElasticNet(1.0, 0.5)) == 8.0
    assert alpha_max(c, h, L1(1.0), np.array([1.0, 4.0])) == 3.0
    assert alpha_max(c, h, L0(1.0)) == pytest.approx(4.5, rel=1e-15)


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_the_search_ends_at_the_very_number(real):
    for limit in (real(1e-30), real(0.3), real(1.0), real(7e20)):
        assert least_alpha(lambda alpha, limit=limit: alpha >= limit, real(1)) == float(limit)
    assert least_alpha(lambda alpha: False, 1.0) == np.inf
