"""Correct randomizers are called correct, and an audit of a tight one comes close to its eps."""

import math
from functools import partial

import numpy as np
import pytest
from privacy.audit.reference_randomizers import cube, gaussian, one_bit, sketch, sphere

from sparsetheory.privacy import audit_gdp, audit_pure
from sparsetheory.privacy.audit.frontiers import expected_eps_lower

E = np.eye(5)
G, H = np.array([[1.0, 0.3, -0.2], [0.8, -0.4, 0.5]])
# The two inputs have (g.z)(h.z) of opposite signs; z and -z are the same input to a second moment.
SKETCHED = [(E[0] + E[1])[:3] / math.sqrt(2), E[1][:3]]
CORRECT = {
    "sphere": (partial(sphere, 1.0), [E[0], -E[0], 0 * E[0]]),
    "one bit": (partial(one_bit, 1.0), [[1.0, 1.0], [-1.0, 1.0], [0.2, -1.0]]),
    "sketch": (partial(sketch, G, H, 1.0), SKETCHED),
    "cube, odd": (partial(cube, 3), [0, 7, 3]),
    "cube, even": (partial(cube, 4), [0, 15, 3]),
}


def test_the_sketched_inputs_have_products_of_opposite_signs():
    assert np.prod([(G @ z) * (H @ z) for z in SKETCHED]) < 0


@pytest.mark.parametrize("eps", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("name", CORRECT)
def test_correct_randomizers_raise_no_alarm(name, eps):
    make, inputs = CORRECT[name]
    encode = make(eps)
    audits = [audit_pure(encode, inputs, eps=eps, n_samples=2000, random_state=seed) for seed in range(40)]
    assert not [audit.eps_lower for audit in audits if audit.violated]


@pytest.mark.parametrize("eps", [0.5, 4.0])
def test_at_a_high_level_alarms_are_no_more_frequent_than_stated(eps):
    """The bit of the sketch spends all of eps, so the level is used as far as exact limits let it be."""
    alpha, n_audits = 0.5, 200
    audits = [
        audit_pure(sketch(G, H, 1.0, eps), SKETCHED, eps=eps, n_samples=1000, alpha=alpha, random_state=seed)
        for seed in range(n_audits)
    ]
    assert 0 < sum(audit.violated for audit in audits) <= alpha * n_audits


@pytest.mark.parametrize("mu", [0.14, 0.72, 3.0])
def test_correct_gaussian_mechanisms_raise_no_alarm(mu):
    samplers = gaussian([mu, 0.0], 1.0), gaussian([0.0, 0.0], 1.0)
    assert not any(audit_gdp(*samplers, mu, n_samples=2000, random_state=s).violated for s in range(200))


@pytest.mark.parametrize(
    ("eps", "published"),
    [(0.5, (0.393, 0.466, 0.489)), (1.0, (0.884, 0.963, 0.988)), (2.0, (1.84, 1.95, 1.98)), (4.0, (3.64, 3.88, 3.96))],
)
def test_the_lower_bound_of_randomized_response_is_as_expected(eps, published):
    """The figures are for limits at an eighth of 1e-3, which two inputs at 5e-4 have, computed by another program."""
    keep = 1 / (1 + math.exp(-eps))
    for n_samples, expected in zip((10_000, 100_000, 1_000_000), published, strict=True):
        stated = expected_eps_lower(keep, n_samples // 2, 5e-4 / 4, 0.0)
        assert stated == pytest.approx(expected, abs=0.02)
    for n_samples in (10_000, 100_000):
        audit = audit_pure(
            lambda bit, n, rng: bit ^ (rng.random(n) > keep), [0, 1], eps=eps, n_samples=n_samples, alpha=5e-4,
            random_state=1,
        )  # fmt: skip
        # Standard error of the logarithm of a ratio of two proportions.
        n = n_samples // 2
        error = math.sqrt((1 - keep) / (n * keep) + keep / (n * (1 - keep)))
        assert abs(audit.eps_lower - audit.expected_eps_lower) < 4.5 * error


@pytest.mark.parametrize("name", ["sphere", "one bit", "sketch", "cube, odd", "cube, even"])
def test_the_audit_comes_close_to_what_a_tight_randomizer_spends(name):
    make, inputs = CORRECT[name]
    audit = audit_pure(make(1.0), inputs, eps=1.0, n_samples=40_000, random_state=2)
    assert 0.8 < audit.eps_lower <= 1.0
