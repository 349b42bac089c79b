"""Steps of private iterative hard thresholding, and the rule for their number."""

import numpy as np
import pytest

from sparsetheory.privacy.solvers.gradient_step import automatic_rounds, into_ball, thresholded_step


def test_a_step_thresholds_and_shortens():
    coef, gradient = np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.5, -3.0, 1.0, 1.0])
    np.testing.assert_allclose(
        thresholded_step(coef, gradient, 1.0, 2, 100.0), [0, 3, -1, 0]
    )  # the first of equal ones
    np.testing.assert_allclose(thresholded_step(coef, gradient, 1.0, 2, 1.0), np.array([0, 3, -1, 0]) / np.sqrt(10))


@pytest.mark.parametrize("unit", [1e-200, 1.0, 1e200])
def test_balls_of_any_size(unit):
    np.testing.assert_allclose(into_ball(np.array([3.0, -4.0]) * unit, unit), np.array([0.6, -0.8]) * unit)
    np.testing.assert_array_equal(into_ball(np.array([3.0, -4.0]) * unit, 6 * unit), np.array([3.0, -4.0]) * unit)
    np.testing.assert_array_equal(into_ball(np.zeros(2), unit), np.zeros(2))


def test_rounds_weigh_what_is_left_against_noise():
    # The identity with step one: one round is the marginal estimate, and nothing is left to correct.
    for noise in (1e-9, 0.1, 100.0):
        assert automatic_rounds(1.0, (1.0, 1.0), noise, 100) == 1
    # A factor of 8/9: the more users, the more rounds; measured errors are least near 7 for 0.09 and near 20 for 0.02.
    found = [automatic_rounds(1 / 3, (1 / 3, 3.0), noise, 100) for noise in (10.0, 1.0, 0.09, 0.02, 1e-6)]
    assert found[:2] == [1, 1]
    assert 5 <= found[2] <= 9
    assert 15 <= found[3] <= 25
    assert found == sorted(found)
    assert automatic_rounds(1 / 3, (1 / 3, 3.0), 0.0, 7) == 7
    # Nothing shrinks: one round.
    assert automatic_rounds(1.0, (0.5, 2.0), 0.1, 100) == 1


@pytest.mark.parametrize("noise", [0.0, 1e-200, 1e200])
def test_rounds_of_any_noise(noise):
    assert 1 <= automatic_rounds(1 / 3, (1 / 3, 3.0), noise, 50) <= 50


def test_rounds_are_those_with_the_least_error():
    for noise in (0.3, 0.05, 0.01):
        errors = [(8 / 9) ** (2 * T) + noise**2 * T * sum((8 / 9) ** (2 * t) for t in range(T)) for T in range(1, 80)]
        assert automatic_rounds(1 / 3, (1 / 3, 3.0), noise, 79) == 1 + int(np.argmin(errors))
