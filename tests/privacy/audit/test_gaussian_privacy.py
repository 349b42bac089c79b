"""The audit of mu, where an audit of eps and a tiny delta is blind."""

import numpy as np
import pytest
from privacy.audit.reference_randomizers import gaussian

from sparsetheory.privacy import audit_gdp, audit_pure


@pytest.mark.parametrize(("mu", "seen"), [(0.14, 0.155), (0.27, 0.345), (0.72, 0.97)])
def test_noise_too_small_by_the_root_of_two_is_caught(mu, seen):
    """The figures come from another program; a deviation of 0.02 is three standard errors of the two counts."""
    broken = audit_gdp(gaussian(mu * 2**0.5, 1.0), gaussian(0.0, 1.0), mu, n_samples=100_000, random_state=0)
    assert broken.violated
    assert broken.mu_lower == pytest.approx(seen, abs=0.025)
    correct = audit_gdp(gaussian(mu, 1.0), gaussian(0.0, 1.0), mu, n_samples=100_000, random_state=0)
    assert not correct.violated
    assert correct.mu_lower == pytest.approx(correct.expected_mu_lower, abs=0.025)


def test_an_audit_of_eps_misses_half_the_noise_that_this_one_sees():
    """At eps = 1 and delta = 1e-6 the analytic mechanism has mu = 0.2367; half the noise doubles it."""
    mu = 0.2367043807
    half = gaussian(2 * mu, 1.0), gaussian(0.0, 1.0)
    blind = audit_pure(
        lambda i, n, rng: half[i](n, rng), [0, 1], eps=1.0, delta=1e-6, n_samples=100_000, random_state=0
    )
    assert not blind.violated
    assert audit_gdp(*half, mu, n_samples=100_000, random_state=0).violated


def test_noise_of_unequal_size_and_correlated_noise_are_whitened():
    """The mean moves in the direction of least noise, by one unit of that noise and by little in the others."""
    mix = np.array([[10.0, 0.0], [10.0, 1.0]])

    def at(shift):
        return lambda n, rng: rng.standard_normal((n, 2)) @ mix.T + np.array([0.0, shift])

    found = audit_gdp(at(1.0), at(0.0), 1.0, n_samples=40_000, random_state=0)
    assert not found.violated
    assert found.mu_lower > 0.9


def test_long_messages_are_whitened_entry_by_entry():
    scales = np.linspace(1, 30, 300)
    signal = np.zeros(300)
    signal[0] = 1.0
    found = audit_gdp(gaussian(signal, scales), gaussian(0 * signal, scales), 1.0, n_samples=20_000, random_state=0)
    assert not found.violated
    assert found.mu_lower > 0.8


def test_a_statistic_replaces_what_is_learnt():
    signal = np.full(50, 0.1)
    samplers = gaussian(signal, 1.0), gaussian(0 * signal, 1.0)
    known = audit_gdp(*samplers, 0.5, n_samples=4000, statistic=lambda rows: rows @ signal, random_state=0)
    learnt = audit_gdp(*samplers, 0.5, n_samples=4000, random_state=0)
    assert known.violated  # the true mu is 0.707
    assert known.mu_lower > learnt.mu_lower
    # Its sign does not matter: both tails are tried.
    turned = audit_gdp(*samplers, 0.5, n_samples=4000, statistic=lambda rows: -(rows @ signal), random_state=0)
    assert turned.mu_lower == pytest.approx(known.mu_lower, abs=0.02)


def test_an_entry_without_noise_is_certainty():
    """A release whose inputs share no message has infinite mu; the bound grows with the draws."""
    found = audit_gdp(
        gaussian([1.0, 0.0], [0.0, 1.0]), gaussian([0.0, 0.0], [0.0, 1.0]), 1.0, n_samples=2000, random_state=0
    )
    assert found.mu_lower > 4
    assert "VIOLATED" in str(found)


def test_equal_laws_prove_nothing():
    found = audit_gdp(gaussian(0.0, 1.0), gaussian(0.0, 1.0), 0.1, n_samples=2000, random_state=0)
    assert found.mu_lower == 0
    assert "not refuted" in str(found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mu": 0.0}, "mu"),
        ({"n_samples": 10}, "n_samples"),
        ({"alpha": 0.0}, "alpha"),
        ({"sampler0": lambda n, rng: np.ones(n + 1)}, "sampler0"),
        ({"sampler1": lambda n, rng: np.full(n, np.inf)}, "sampler1"),
        ({"sampler1": lambda n, rng: np.ones((n, 2))}, "as long as"),
        ({"statistic": lambda rows: rows[:5, 0]}, "statistic"),
    ],
)
def test_what_cannot_be_audited_is_refused(change, words):
    arguments = {"sampler0": gaussian(0.0, 1.0), "sampler1": gaussian(0.0, 1.0), "mu": 1.0, "n_samples": 200, **change}
    with pytest.raises(ValueError, match=words):
        audit_gdp(**arguments)
