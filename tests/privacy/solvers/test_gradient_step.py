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


def test_rounds_follow_conditioning_as_long_as_noise_allows():
    # The identity with step one: one round is the marginal estimate, and nothing is left to correct.
    assert automatic_rounds(50, 4, 8, 1.0, (1.0, 1.0), 1e-9) == 1
    # No contraction: the condition number.
    assert automatic_rounds(50, 4, 8, 1 / 3, (1 / 3, 3.0), 1e-9) == 9
    # sqrt(nu) is the root of two for k' = 2k: a factor of 0.1 sqrt(2) needs two rounds for a tenth.
    assert automatic_rounds(50, 4, 8, 1.0, (0.9, 1.1), 1e-9) == 2
    # Nine rounds of a noise of 0.01 each have 0.03 together; the third of a tenth allows eleven, then four, then one.
    for noise, rounds in ((0.01, 9), (0.016, 4), (0.02, 2), (0.04, 1), (100.0, 1)):
        assert automatic_rounds(50, 4, 8, 1 / 3, (1 / 3, 3.0), noise) == rounds
