"""Audits notice what they say that they notice, as often as they say."""

import math

import numpy as np
import pytest
from privacy.audit.reference_randomizers import gaussian, keep_bits
from scipy import stats

from sparsetheory.privacy import audit_gdp, audit_pure, detectable_eps, detectable_mu
from sparsetheory.privacy.audit.limits import exact_lower, exact_upper

N_AUDITS = 200


def _within(n_caught, power):
    """Say whether a count is what the power makes plausible: the middle 99.99 percent of a binomial law."""
    return stats.binom.ppf(5e-5, N_AUDITS, power) <= n_caught <= stats.binom.ppf(1 - 5e-5, N_AUDITS, power)


@pytest.mark.parametrize("power", [0.5, 0.95])
@pytest.mark.parametrize("eps", [0.5, 2.0])
def test_randomized_response_is_caught_as_often_as_stated(eps, power):
    true = detectable_eps(eps, n_samples=4000, alpha=1e-2, power=power)
    caught = sum(
        audit_pure(
            lambda bit, n, rng: bit * keep_bits(n, rng, true), [-1, 1], eps=eps, n_samples=4000, alpha=1e-2,
            random_state=seed,
        ).violated
        for seed in range(N_AUDITS)
    )  # fmt: skip
    assert _within(caught, power)


def test_a_gaussian_mechanism_is_caught_as_often_as_stated():
    """The threshold is learnt, which costs a little of the power that the best one has."""
    true = detectable_mu(0.5, n_samples=4000, alpha=1e-2)
    samplers = gaussian(true, 1.0), gaussian(0.0, 1.0)
    caught = sum(
        audit_gdp(*samplers, 0.5, n_samples=4000, alpha=1e-2, random_state=s).violated for s in range(N_AUDITS)
    )
    assert 0.85 * N_AUDITS <= caught <= stats.binom.ppf(1 - 5e-5, N_AUDITS, 0.95)


def test_what_is_detectable_shrinks_with_draws_and_grows_with_pairs_and_confidence():
    base = detectable_eps(1.0, n_samples=10_000, alpha=1e-3)
    assert 1 < detectable_eps(1.0, n_samples=40_000, alpha=1e-3) < base
    assert detectable_eps(1.0, n_samples=10_000, alpha=1e-3, n_inputs=10) > base
    assert detectable_eps(1.0, n_samples=10_000, alpha=1e-9) > base
    assert detectable_eps(1.0, n_samples=10_000, alpha=1e-3, delta=0.01) > base
    # Four times as many draws halve the distance of what is detectable.
    fine, coarse = (detectable_mu(0.3, n_samples=n, alpha=1e-3) - 0.3 for n in (400_000, 100_000))
    assert coarse / fine == pytest.approx(2, rel=0.05)


def test_too_few_draws_detect_nothing():
    """At eps = 8 one message in 3000 is turned, and 100 draws cannot tell that from one in a million."""
    assert detectable_eps(8.0, n_samples=100, alpha=1e-3) == math.inf
    audit = audit_pure(lambda bit, n, rng: bit * keep_bits(n, rng, 8.0), [-1, 1], eps=8.0, n_samples=100)
    assert "so few draws would not catch it" in str(audit)


def test_a_power_below_the_rate_of_false_alarms_needs_no_excess():
    assert detectable_eps(1.0, n_samples=10_000, alpha=0.9, power=1e-3) == 1.0


def test_exact_limits_are_those_of_scipy():
    for count in (0, 1, 7, 50, 99, 100):
        interval = stats.binomtest(count, 100).proportion_ci(0.98, method="exact")
        assert exact_lower(count, 100, 0.01) == pytest.approx(interval.low, rel=1e-9, abs=1e-15)
        assert exact_upper(count, 100, 0.01) == pytest.approx(interval.high, rel=1e-9)


@pytest.mark.parametrize("mu", [0.1, 1.0])
def test_the_symmetric_threshold_is_best_for_a_gaussian_mechanism(mu):
    thresholds = np.linspace(-1, 1 + mu, 41)
    n = 10_000
    lower = exact_lower(np.rint(n * stats.norm.sf(thresholds - mu)), n, 1e-3)
    upper = exact_upper(np.rint(n * stats.norm.sf(thresholds)), n, 1e-3)
    best = thresholds[np.argmax(stats.norm.ppf(lower) - stats.norm.ppf(upper))]
    assert best == pytest.approx(mu / 2, abs=0.2)
