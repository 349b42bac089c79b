"""The lower bound as an alarm: which broken protocols it catches, and which it cannot."""

import numpy as np
import pytest

from sparsetheory.privacy import onebit_encode
from sparsetheory.privacy.randomizers.onebit import choices
from sparsetheory.proofs_checks.local_privacy.lower_bound import HardProblem, coin_contrast, least_users

D, K = 64, 2


def ratio(eps, spent, repetitions=1000):
    """Return mean squared error over the bound, for a coin that spends `spent` where `eps` is promised."""
    problem = HardProblem(least_users(D, K, eps), D, K, eps, seed=1, repetitions=repetitions)
    contrast = 1.0 if spent is None else coin_contrast(spent)
    return problem.squared_errors(contrast).mean() / problem.bound


@pytest.mark.parametrize("eps", [0.25, 0.5, 1.0, 2.0])
def test_private_bits_tell_no_more_than_answering_zero(eps):
    # Zero has four times the bound; the best decoder gains a few percent.
    assert 3.7 < ratio(eps, eps) < 4.05


def test_a_coin_of_four_times_a_small_promise_is_caught():
    assert ratio(0.25, 1.0) < 0.8
    assert ratio(0.25, 1.5) < 0.2
    assert ratio(0.125, 0.5) < 0.8


def test_smaller_breaks_and_larger_promises_are_not():
    assert ratio(0.25, 0.5) > 2.5
    assert 1.2 < ratio(0.25, 0.75) < 2.2
    assert ratio(0.5, 2.0) > 1.0
    # Not even bits without any coin.
    assert ratio(1.0, None) > 2.5
    assert ratio(2.0, None) > 3.5


@pytest.mark.parametrize("eps", [0.25, 1.0, 2.0])
def test_raw_messages_are_caught_at_every_promise(eps):
    # All d products of a user instead of one: the mean of x_j y over all users.
    problem = HardProblem(least_users(D, K, eps), D, K, eps, seed=2, repetitions=400)
    rng = np.random.default_rng(2)
    coef = problem.coefficients(rng)
    pluses = rng.binomial(problem.n, 0.5 + coef / 2)
    found = problem.posterior_mean(pluses, np.full_like(pluses, problem.n), 1.0)
    assert np.mean(np.sum((found - coef) ** 2, axis=(1, 2))) < 0.2 * problem.bound


def _records(problem, coef, rng):
    """Draw uniform signs and responses in {-1, 1} of the right mean; return all products x_j y."""
    X = rng.choice(np.array([-1, 1], dtype=np.int8), (problem.n, problem.d))
    y = np.where(rng.random(problem.n) < 0.5 + X @ coef.ravel() / 2, 1, -1)
    return X * y[:, None]


@pytest.mark.parametrize(("spent", "caught"), [(0.25, False), (1.5, True)])
def test_real_users_with_the_real_coin(spent, caught):
    eps, repetitions = 0.25, 12
    problem = HardProblem(least_users(D, K, eps), D, K, eps, seed=3, repetitions=repetitions)
    rng = np.random.default_rng(3)
    coef = problem.coefficients(rng)
    users = np.arange(problem.n, dtype=np.uint64)
    errors = []
    for round_, truth in enumerate(coef):
        bits = onebit_encode(_records(problem, truth, rng), 1.0, spent, public_seed=round_)
        asked = choices(round_, users, 0, 0, D)
        shape = (1, *truth.shape)
        pluses = np.bincount(asked[bits > 0], minlength=D).reshape(shape)
        counts = np.bincount(asked, minlength=D).reshape(shape)
        found = problem.posterior_mean(pluses, counts, coin_contrast(spent))
        errors.append(np.sum((found - truth) ** 2))
    assert (np.mean(errors) < problem.bound) == caught
