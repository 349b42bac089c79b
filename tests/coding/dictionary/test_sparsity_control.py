"""Control and search of a strength by the number of nonzeros."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding.dictionary.sparsity_control import adjusted_alpha, alpha_for_active
from sparsetheory.penalties import L0


def test_control_moves_towards_the_target_and_less_late():
    assert adjusted_alpha(1.0, 10.0, 8.0, 0.1) == pytest.approx(math.exp(0.3 * 0.25))
    assert adjusted_alpha(1.0, 10.0, 8.0, 0.9) == pytest.approx(math.exp(0.06 * 0.25))
    assert adjusted_alpha(1.0, 4.0, 8.0, 0.1) == pytest.approx(math.exp(-0.15))
    assert adjusted_alpha(3.0, 1000.0, 1.0, 0.1) == pytest.approx(6.0)


def test_control_settles(rng):
    alpha, signals = 5.0, rng.standard_normal((200, 50))
    for index in range(60):
        active = np.count_nonzero(L0(alpha).prox(signals)) / 200
        alpha = adjusted_alpha(alpha, active, 7.0, index / 60)
    assert np.count_nonzero(L0(alpha).prox(signals)) / 200 == pytest.approx(7.0, abs=0.05)


@given(st.floats(0.3, 30), st.floats(1e-3, 1e3), st.floats(0.2, 3), st.floats(-4, 4))
def test_smooth_counts_are_hit(target, start, power, log_scale):
    count = lambda alpha: math.exp(log_scale) * alpha**-power  # noqa: E731
    tuned = alpha_for_active(count, target_active=target, start=start)
    assert tuned.converged
    assert tuned.active == count(tuned.alpha)
    assert tuned.active == pytest.approx(target, abs=0.01)
    assert tuned.n_evaluations <= 40


def test_steps_are_bisected_down_to_the_closest_value():
    calls = []

    def count(alpha):
        calls.append(alpha)
        return 5.0 if alpha < 2.0 else 3.0

    with pytest.warns(ConvergenceWarning, match="no strength with 4 active atoms"):
        tuned = alpha_for_active(count, target_active=4.0, start=0.5, max_iter=10)
    assert not tuned.converged
    assert tuned.active in (3.0, 5.0)
    assert tuned.n_evaluations == len(calls)
    assert count(tuned.alpha) == tuned.active


def test_an_unreachable_count_ends_with_the_best_there_is():
    with pytest.warns(ConvergenceWarning, match="active atoms found"):
        tuned = alpha_for_active(lambda alpha: min(4.0, 1 / alpha), target_active=9.0, start=1.0)
    assert tuned.active == 4.0


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("target_active", (0.0, 1.0)),
        ("target_active", (np.nan, 1.0)),
        ("start", (3.0, 0.0)),
        ("start", (3.0, "a")),
    ],
)
def test_bad_numbers(name, arguments):
    with pytest.raises(ValueError, match=name):
        alpha_for_active(lambda alpha: 1.0, target_active=arguments[0], start=arguments[1])


@pytest.mark.parametrize("count", [np.nan, np.inf, None, "3"])
def test_bad_counts(count):
    with pytest.raises(ValueError, match=r"count must return a finite number; got .* at alpha=2"):
        alpha_for_active(lambda alpha: count, target_active=3.0, start=2.0)


@pytest.mark.parametrize(("start", "count"), [(1e300, 9.0), (1e-300, 1.0)])
def test_strengths_stay_within_floating_point(start, count):
    seen = []
    with pytest.warns(ConvergenceWarning, match="no strength with 3 active atoms"):
        alpha_for_active(lambda alpha: seen.append(alpha) or count, target_active=3.0, start=start)
    assert np.isfinite(seen).all()
    assert min(seen) > 0
