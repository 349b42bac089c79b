"""Best entries against a grid, and against the operators of the solvers."""

import numpy as np
import pytest
from coding.coding_references import penalties
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.penalties import L0
from sparsetheory.penalties.best_entries import best_distances, penalty_values

_ATOMS = np.eye(4) * np.array([0.3, 1.0, 2.0, 5.0])


def _case(family, alpha):
    return penalties(alpha, _ATOMS)[family]


@given(st.integers(0, 9), st.floats(1e-3, 10), st.floats(0.01, 10), st.integers(0, 10**6))
def test_no_point_of_a_grid_is_better(family, alpha, step, seed):
    penalty, rng = _case(family, alpha), np.random.default_rng(seed)
    u = 10.0 ** rng.uniform(-3, 2) * rng.standard_normal((3, 4))
    steps = np.full(u.shape, step)
    x = u - best_distances(penalty, u, u, steps, 0 * u) * np.sign(u)
    reached = 0.5 * (x - u) ** 2 + step * penalty_values(penalty, x)
    for share in np.linspace(0, 1, 400):
        other = 0.5 * (share * u - u) ** 2 + step * penalty_values(penalty, share * u)
        assert (reached <= other * (1 + 1e-12) + 1e-15).all()


@given(st.integers(0, 9), st.floats(1e-3, 10), st.floats(0.01, 10), st.integers(0, 10**6))
def test_operators_are_at_distance_zero(family, alpha, step, seed):
    penalty, rng = _case(family, alpha), np.random.default_rng(seed)
    u = 10.0 ** rng.uniform(-3, 2) * rng.standard_normal((3, 4))
    off = best_distances(penalty, penalty.prox(u, step), u, np.full(u.shape, step), 1e-14 * np.abs(u))
    assert (off <= 1e-9 * np.abs(u)).all()
    twice = best_distances(penalty, 2 * u + 1, u, np.full(u.shape, step), 0 * u)
    assert (twice > 0.5).all() or (np.abs(u) < 1).any()


@pytest.mark.parametrize("family", range(10))
def test_values_are_those_of_the_penalty(rng, family):
    penalty = _case(family, 0.7)
    x = np.vstack([np.zeros(4), 3 * rng.standard_normal((20, 4)), np.full(4, 0.7), np.full(4, 0.7 * 3.7)])
    assert penalty_values(penalty, x).sum() == pytest.approx(penalty.value(x), rel=1e-13)


def test_only_rounding_makes_a_tie():
    # Zero and u = 1 have the same objective at alpha = 1/2. Beyond that they differ by as much as u does.
    def distance(u, slack):
        return best_distances(L0(0.5), np.zeros((1, 1)), np.array([[u]]), np.ones((1, 1)), np.array([[slack]]))

    assert distance(1.0 + 2e-16, 0.0) == 0.0
    assert distance(1.0 + 1e-14, 0.0) == 1.0 + 1e-14
    assert distance(1.0 + 1e-6, 1.5e-6) == 0.0
    assert distance(1.0 + 1e-6, 0.7e-6) == 1.0 + 1e-6
