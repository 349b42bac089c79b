"""What several messages of one user reveal: against integrals and sums over the worst cases themselves."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sparsetheory.privacy import kov_composition
from sparsetheory.privacy.accounting.history import History
from sparsetheory.privacy.device.gaussian import gaussian_delta, gaussian_mu


def history(budgets, mu=0.0):
    found = History()
    for eps in budgets:
        found = found.after(eps, None)
    return found.after(None, mu) if mu else found


def worst_case_delta(budgets, mu, total):
    """Integrate max(P - exp(total) Q, 0) for randomised responses and one Gaussian number."""
    grid = np.linspace(-12, 12 + mu, 40_001)
    width = grid[1] - grid[0]
    shifted, centred = stats.norm.pdf(grid - mu), stats.norm.pdf(grid)
    delta = 0.0
    for answers in product((0, 1), repeat=len(budgets)):
        likely = math.prod(1 / (1 + math.exp(eps if lie else -eps)) for eps, lie in zip(budgets, answers, strict=True))
        unlikely = math.prod(
            1 / (1 + math.exp(-eps if lie else eps)) for eps, lie in zip(budgets, answers, strict=True)
        )
        delta += np.maximum(likely * shifted - math.exp(total) * unlikely * centred, 0).sum() * width
    return delta


@pytest.mark.parametrize(("n_pure", "eps", "mu"), [(1, 1.0, 1.0), (3, 0.5, 0.3), (4, 1.0, 2.0), (2, 3.0, 0.1)])
def test_equal_pure_messages_and_a_gaussian_are_accounted_for_exactly(n_pure, eps, mu):
    found = history([eps] * n_pure, mu)
    for total in (0.0, 0.2, eps, 1.7 * eps, n_pure * eps, n_pure * eps + mu):
        exact = worst_case_delta([eps] * n_pure, mu, total)
        assert found.delta_at(total) == pytest.approx(exact, rel=1e-5, abs=1e-9)


@given(st.lists(st.floats(0.05, 2.0), max_size=4), st.floats(0.05, 2.0), st.floats(0.0, 6.0))
def test_no_mix_reveals_more_than_is_accounted_for(budgets, mu, total):
    assert worst_case_delta(budgets, mu, total) <= history(budgets, mu).delta_at(total) * (1 + 1e-5) + 1e-9


def test_either_kind_alone_is_that_of_its_own_theorem():
    assert history([0.1] * 100).eps_at(1e-6) == kov_composition(0.1, 100).eps_at(1e-6)
    assert history([], 0.3).after(None, 0.4).mu == pytest.approx(0.5)
    assert history([], gaussian_mu(2.0, 1e-6)).eps_at(1e-6) == pytest.approx(2.0, rel=1e-6)
    assert history([], 0.3).delta_at(0.5) == gaussian_delta(0.5, 0.3)


def test_pure_messages_that_differ_add_up_unless_the_largest_many_times_is_less():
    assert history([0.1, 0.2, 0.5]).eps_at(0.0) == pytest.approx(0.8)
    many = [0.1] * 99 + [0.11]
    assert history(many).eps_at(1e-6) == kov_composition(0.11, 100).eps_at(1e-6)
    assert history(many).eps_at(1e-6) < 6 < sum(many)
    # The theorem for three messages of the largest would be worse than the sum.
    assert history([0.01, 0.01, 2.0]).eps_at(1e-9) == pytest.approx(2.02)


def test_nothing_costs_nothing_and_a_gaussian_is_never_pure():
    assert History().eps_at(0.0) == 0
    assert History().delta_at(0.0) == 0
    assert history([1.0], 0.2).eps_at(0.0) == math.inf


@given(st.lists(st.floats(0.01, 3.0), max_size=6), st.floats(0.0, 3.0), st.floats(1e-9, 0.5))
def test_eps_is_enough_for_delta_and_no_less_is(budgets, mu, delta):
    found = history(budgets, mu)
    total = found.eps_at(delta)
    assert found.delta_at(total * (1 + 1e-12)) <= delta * (1 + 1e-6) + 1e-12
    if total > 1e-3:
        assert found.delta_at(total * (1 - 1e-4)) > delta * (1 - 1e-6)
