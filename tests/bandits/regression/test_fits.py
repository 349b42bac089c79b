"""Estimates with small l1 norm are the best ones, and their prices prove it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from sparsetheory.bandits.regression.fits import beyond_the_model, fit_lasso, fit_within
from sparsetheory.bandits.regression.l1_errors import Cone, Curvature, curvatures
from sparsetheory.bandits.regression.samples import Samples


def _data(seed, n, d, eps):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * rng.uniform(0.1, 10, d)
    theta = np.zeros(d)
    theta[rng.choice(d, min(2, d), replace=False)] = rng.standard_normal(min(2, d))
    return X, theta, X @ theta + eps * rng.uniform(-1, 1, n)


@given(
    st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 30), st.sampled_from([0.0, 1e-9, 1e-3, 0.3, 5.0]),
    st.sampled_from(["linf", "bpdn"]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_constrained_estimates_keep_their_level_and_no_smaller_ones_do(seed, n, d, eps, estimator):
    X, theta, y = _data(seed, n, d, eps)
    samples = Samples.of(np.arange(n), y)
    level = beyond_the_model(estimator, X, samples, eps, 0.0, 0.1)
    fit = fit_within(estimator, X, samples, level)
    assert fit is not None
    order = np.inf if estimator == "linf" else 2
    size = np.linalg.norm(y)
    assert np.linalg.norm(y - X @ fit.theta, order) <= level * (1 + 1e-6) + 1e-7 * size
    assert np.abs(fit.theta).sum() <= np.abs(theta).sum() * (1 + 1e-6) + 1e-7 * size
    # Where the constraint is nearly that of a point, the level of the program is a little larger.
    assert fit.slack(X, level) <= 1e-5 * (np.abs(theta).sum() + size / np.abs(X).max(axis=0).min()) or n > d


@pytest.mark.parametrize("estimator", ["linf", "bpdn"])
def test_prices_prove_optimality_where_the_level_is_not_tiny(estimator):
    for seed in range(10):
        X, _, y = _data(seed, 30, 50, 0.1)
        samples = Samples.of(np.arange(30), y)
        level = beyond_the_model(estimator, X, samples, 0.1, 0.0, 0.1)
        fit = fit_within(estimator, X, samples, level)
        assert fit.slack(X, level) <= 1e-6 * np.abs(fit.theta).sum()


@pytest.mark.parametrize("estimator", ["linf", "bpdn"])
def test_what_no_coefficients_explain_is_refused(estimator):
    X, _, _ = _data(0, 40, 5, 0.0)
    samples = Samples.of(np.arange(40), np.random.default_rng(1).standard_normal(40))
    level = beyond_the_model(estimator, X, samples, 0.01, 0.0, 0.1)
    assert fit_within(estimator, X, samples, level) is None


@given(st.integers(0, 10_000), st.sampled_from([0.01, 0.3, 3.0]))
@settings(max_examples=20, deadline=None)
def test_the_lasso_of_repeated_actions_is_that_of_all_queries(seed, alpha):
    X, _, _ = _data(seed, 10, 6, 0.0)
    rng = np.random.default_rng(seed)
    actions, rewards = rng.integers(10, size=60), rng.standard_normal(60)
    fit = fit_lasso(X, Samples.of(actions, rewards), alpha)
    other = Lasso(alpha=alpha, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(X[actions], rewards)
    np.testing.assert_allclose(fit.theta, other.coef_, atol=1e-6)
    rows = X[fit.samples.actions]
    assert fit.slack(rows, 0.0) <= 1e-9 * float(rewards @ rewards)


def test_a_lasso_without_penalty_is_the_smallest_exact_fit():
    X, theta, y = _data(3, 10, 20, 0.0)
    fit = fit_lasso(X, Samples.of(np.arange(10), y), 0.0)
    assert np.abs(y - X @ fit.theta).max() <= 1e-8 * np.abs(y).max()
    assert np.abs(fit.theta).sum() <= np.abs(theta).sum() * (1 + 1e-8)


@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_no_error_in_a_cone_is_larger_than_its_bound(seed, slack, linear, constant):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((200, 4)) + 0.2 * rng.standard_normal((200, 1))
    G = X.T @ X / len(X)
    cone = Cone(1.5, slack, linear, constant)
    for known in curvatures(G, float(np.linalg.eigvalsh(G)[0])):
        error = known.error(cone)
        for _ in range(30):
            direction = rng.standard_normal(4) * (rng.random(4) < 0.6)
            lengths = np.linspace(0, 10, 400)[:, None] * direction
            x, l1 = np.linalg.norm(lengths, axis=1), np.abs(lengths).sum(axis=1)
            inside = (l1 <= 1.5 * x + slack) & (np.einsum("ij,jk,ik->i", lengths, G, lengths) <= linear * x + constant)
            assert (x[inside] <= error.l2 * (1 + 1e-9) + 1e-12).all()
            assert (l1[inside] <= error.l1 * (1 + 1e-9) + 1e-12).all()


def test_nothing_is_proved_without_curvature():
    assert Curvature(0.0, 0.0).error(Cone(1.0, 0.0, 1.0, 1.0)).l1 == np.inf


@pytest.mark.parametrize("estimator", ["linf", "bpdn"])
def test_features_in_any_units_do_not_refute_a_true_model(estimator):
    units = np.array([1e-3, 1e-12, 1e5, 1e-7, 1.0])
    for seed in range(10):
        X, theta, y = _data(seed, 40, 5, 1e-3)
        samples = Samples.of(np.arange(40), y)
        level = beyond_the_model(estimator, X, samples, 1e-3, 0.0, 0.1)
        fit = fit_within(estimator, X * units, samples, level)
        assert fit is not None
        assert np.abs(X @ (fit.theta * units) - X @ theta).max() <= 0.1


def test_a_program_that_the_solver_cannot_end_says_no_more_than_is_proved():
    # Columns that depend on each other up to single precision, and rewards on their span.
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X = np.float64((rng.standard_normal((30, 3)) @ rng.standard_normal((3, 6))).astype(np.float32))
        y = X @ rng.standard_normal(6)
        fit = fit_lasso(X, Samples.of(np.arange(30), y), 0.0)
        assert np.abs(y - X @ fit.theta).max() <= 1e-6 * np.abs(y).max()
