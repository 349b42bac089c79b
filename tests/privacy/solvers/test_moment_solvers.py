"""Solvers on moments, against sorting, plain loops, optimality conditions and inverses."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from sparsetheory.privacy.collection.noise import ReleaseNoise
from sparsetheory.privacy.solvers.moment_iht import curvature_bound, hard_threshold, moment_iht
from sparsetheory.privacy.solvers.problem import MomentProblem
from sparsetheory.privacy.solvers.psd_lasso import positive_part, psd_lasso
from sparsetheory.privacy.solvers.soft_least_squares import soft_least_squares, soft_threshold

NOISE = ReleaseNoise(off_diagonal_std=2.0, diagonal_std=3.0, cross_std=1.5)


def moments_of(rng, d, noise):
    """Draw second moments of correlated features, spoilt by symmetric noise, and cross moments."""
    X = rng.standard_normal((3 * d, d)) @ (np.eye(d) + 0.3)
    E = rng.standard_normal((d, d))
    return X.T @ X / (3 * d) + noise * (E + E.T), rng.standard_normal(d)


# Few distinct numbers, so that magnitudes tie; zeros among them.
@given(hnp.arrays(float, st.integers(1, 12), elements=st.integers(-3, 3).map(float)), st.integers(0, 13))
def test_hard_thresholds_keep_the_largest_and_the_first_of_equal_ones(values, n_kept):
    largest = np.argsort(-np.abs(values), kind="stable")[:n_kept]
    expected = np.zeros_like(values)
    expected[largest] = values[largest]
    before = values.copy()
    np.testing.assert_array_equal(hard_threshold(values, n_kept), expected)
    np.testing.assert_array_equal(values, before)


def naive_iht(second, cross, k, curvature, bound, n_kept, n_steps):
    """Iterate as written, by sorting and with loops over entries."""

    def keep(v, count):
        order = sorted(range(len(v)), key=lambda j: (-abs(v[j]), j))[:count]
        return [v[j] if j in order else 0.0 for j in range(len(v))]

    d, coef = len(cross), [0.0] * len(cross)
    for _ in range(n_steps):
        gradient = [sum(second[i][j] * coef[j] for j in range(d)) - cross[i] for i in range(d)]
        coef = keep([coef[i] - gradient[i] / curvature for i in range(d)], n_kept)
        norm = math.sqrt(sum(c * c for c in coef))
        if norm > bound:
            coef = [c * bound / norm for c in coef]
    return keep(coef, k)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("bound", [0.5, 100.0])
def test_hard_thresholding_of_moments_is_the_plain_loop(noise, bound):
    rng = np.random.default_rng(1)
    for _ in range(5):
        second, cross = moments_of(rng, 9, noise)
        curvature = 1.2 * np.linalg.eigvalsh(second)[-1]
        found = moment_iht(second, cross, 2, curvature, bound, n_kept=4, n_steps=25)
        expected = naive_iht(second.tolist(), cross.tolist(), 2, curvature, bound, 4, 25)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
        assert np.count_nonzero(found) <= 2
        assert np.linalg.norm(found) <= bound * (1 + 1e-12)


def test_hard_thresholding_finds_exact_sparse_coefficients():
    rng = np.random.default_rng(2)
    second, _ = moments_of(rng, 30, 0.0)
    second = 0.9 * np.eye(30) + 0.1 * second / np.linalg.eigvalsh(second)[-1]
    coef = np.zeros(30)
    coef[[3, 17, 20]] = [0.6, -0.5, 0.4]
    found = moment_iht(second, second @ coef, 3, 1.2 * np.linalg.eigvalsh(second)[-1], 1.0, n_kept=6, n_steps=60)
    np.testing.assert_allclose(found, coef, atol=1e-6)


def test_step_constants_come_from_the_public_bound_or_the_release_less_its_noise():
    second = np.diag([5.0, 1.0, 1.0, -3.0])
    assert curvature_bound(second, 0.5, 2.0) == pytest.approx(1.2 * 2.0)
    assert curvature_bound(second, 0.5, None) == pytest.approx(1.2 * 4.5)
    # Where noise is all there is to see, the mean of the diagonal is left.
    assert curvature_bound(second, 4.9, None) == pytest.approx(1.2 * 1.0)


@pytest.mark.parametrize("noise", [0.0, 0.4])
@pytest.mark.parametrize("alpha", [0.05, 0.3, 100.0])
def test_the_lasso_on_the_positive_part_meets_its_optimality_conditions(noise, alpha):
    rng = np.random.default_rng(3)
    for _ in range(4):
        second, cross = moments_of(rng, 12, noise)
        coef = psd_lasso(second, cross, alpha, 1e-12)
        values, vectors = np.linalg.eigh(second)
        positive = vectors[:, values > 0]
        plus = (positive * values[values > 0]) @ positive.T
        correlation = positive @ (positive.T @ cross) - plus @ coef
        assert np.abs(correlation).max() <= alpha * (1 + 1e-4)
        active = coef != 0
        np.testing.assert_allclose(correlation[active], alpha * np.sign(coef[active]), rtol=1e-4)
        np.testing.assert_allclose(positive_part(second), plus, atol=1e-10)
        if noise:
            assert values[0] < 0, "a case without a negative eigenvalue tests nothing"


def test_the_lasso_of_nothing_positive_is_zero():
    np.testing.assert_array_equal(psd_lasso(-np.eye(3), np.ones(3), 0.1, 1e-8), np.zeros(3))


def problem_of(second, cross, constant=0.0, n=10_000):
    return MomentProblem(second, cross, constant, NOISE, n)


def test_least_squares_and_half_widths_are_those_of_a_direct_inverse():
    rng = np.random.default_rng(4)
    second, cross = moments_of(rng, 7, 0.0)
    solution = soft_least_squares(problem_of(second, cross), 0.8, 0.9, eigenvalue_floor=1e-9)
    inverse = np.linalg.inv(second)
    np.testing.assert_allclose(solution.unthresholded, inverse @ cross, rtol=1e-9)
    # The noise of b - A theta has at most this variance along any direction, for norms of theta up to 0.8.
    variance = 1.5**2 + max(2 * 2.0**2, 3.0**2) * 0.8**2
    quantile = stats.norm.ppf(1 - 0.1 / 14)
    expected = quantile * np.sqrt((variance * np.sum(inverse**2, axis=1) + np.diag(inverse)) / 10_000)
    np.testing.assert_allclose(solution.half_widths, expected, rtol=1e-9)
    assert solution.min_eigenvalue == pytest.approx(np.linalg.eigvalsh(second)[0])


def test_small_eigenvalues_are_raised_to_a_share_of_the_mean_magnitude():
    second = np.diag([4.0, 2.0, 0.1, -1.0])
    solution = soft_least_squares(problem_of(second, np.ones(4)), 1.0, 0.95, eigenvalue_floor=0.5)
    floor = 0.5 * 7.1 / 4
    np.testing.assert_allclose(solution.unthresholded, [1 / 4, 1 / 2, 1 / floor, 1 / floor])
    assert solution.min_eigenvalue == -1.0


def test_a_constant_is_left_out_as_centring_leaves_it_out():
    rng = np.random.default_rng(5)
    X, y, constant = rng.normal([1.0, -2.0, 0.0, 3.0], size=(500, 4)), rng.standard_normal(500), 1.5
    design = np.column_stack([X, np.full(500, constant)])
    problem = problem_of(design.T @ design / 500, design.T @ y / 500, constant)
    second, cross = problem.without_constant()
    centred = X - X.mean(axis=0)
    np.testing.assert_allclose(second, centred.T @ centred / 500, atol=1e-12)
    np.testing.assert_allclose(cross, centred.T @ (y - y.mean()) / 500, atol=1e-12)
    coef = np.array([0.5, 0.0, -1.0, 2.0])
    assert problem.intercept(coef) == pytest.approx(y.mean() - X.mean(axis=0) @ coef)
    assert problem_of(np.eye(4), np.ones(4)).intercept(coef) == 0.0


def test_the_constant_counts_in_the_bound_of_the_coefficients():
    mean = np.array([3.0, -4.0])
    second = np.block([[np.eye(2) + np.outer(mean, mean), 2 * mean[:, None]], [2 * mean[None], np.array([[4.0]])]])
    assert problem_of(second, np.zeros(3), 2.0).coefficient_bound(0.5) == pytest.approx(np.hypot(0.5, (1 + 2.5) / 2))
    assert problem_of(np.eye(2), np.zeros(2)).coefficient_bound(0.5) == 0.5


def test_soft_thresholds_move_and_cut():
    values = np.array([3.0, -3.0, 0.5, -0.5, 0.0])
    np.testing.assert_array_equal(soft_threshold(values, 1.0), [2.0, -2.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(soft_threshold(values, np.array([4.0, 0.0, 0.0, 0.0, 1.0])), [0, -3, 0.5, -0.5, 0])
    assert not np.signbit(soft_threshold(values, 1.0)[2:]).any()
