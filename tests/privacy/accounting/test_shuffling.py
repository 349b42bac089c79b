"""Amplification by shuffling: reference values, exact sums over clones, and two models on small cases."""

import math
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.privacy import shuffle_eps
from sparsetheory.privacy.accounting import shuffling


def exact_hockey_stick(central, eps, clones):
    """Return the divergence given a number of clones, term by term in exact arithmetic."""
    factor, odds = Fraction(math.exp(central)), Fraction(math.exp(eps))
    true, lie = odds / (1 + odds), 1 / (1 + odds)
    total = Fraction(0)
    for value in range(clones + 2):
        here = comb(clones, value) if value <= clones else 0
        before = comb(clones, value - 1) if value else 0
        total += max(true * before + lie * here - factor * (lie * before + true * here), 0)
    return float(total / 2**clones)


def exact_clone_eps(eps, n_samples, delta):
    """Bisect the expectation over all numbers of clones, without blocks, tails or binomial functions."""
    chance = math.exp(-eps)
    weights = [comb(n_samples - 1, c) * chance**c * (1 - chance) ** (n_samples - 1 - c) for c in range(n_samples)]
    low, high = 0.0, eps
    for _ in range(25):
        middle = (low + high) / 2
        total = sum(w * exact_hockey_stick(middle, eps, c) for c, w in enumerate(weights) if w > 1e-18)
        low, high = (low, middle) if total <= delta else (middle, high)
    return high


@pytest.mark.parametrize(
    ("eps", "n_samples", "closed", "clones"),
    [(4.0, 10**8, 0.0220, None), (1.0, 10**6, 0.0235, 0.0043), (1.0, 10**4, 0.214, 0.053), (4.0, 10**5, 0.53, 0.17)],
)
def test_reference_values(eps, n_samples, closed, clones):
    assert shuffle_eps(eps, n_samples, 1e-6) == pytest.approx(closed, rel=0.01)
    if clones is not None:
        assert shuffle_eps(eps, n_samples, 1e-6, bound="clones") == pytest.approx(clones, rel=0.02)


@pytest.mark.parametrize("clones", [0, 1, 2, 5, 50, 1000])
@pytest.mark.parametrize("eps", [0.1, 1.0, 5.0])
def test_the_divergence_given_clones_is_the_exact_sum(eps, clones):
    for share in (0.0, 0.03, 0.4, 0.99):
        found = shuffling._hockey_stick(share * eps, eps, np.array([float(clones)]))[0]
        exact = exact_hockey_stick(share * eps, eps, clones)
        # Both terms are raised by one part in 1e9, and they are at most 1.
        assert exact - 1e-14 <= found <= exact + 3e-9


@pytest.mark.parametrize(
    ("eps", "n_samples", "delta"), [(1.0, 2, 0.01), (1.0, 40, 1e-3), (0.3, 60, 1e-4), (3.0, 30, 0.1)]
)
def test_few_users_get_the_exact_expectation(eps, n_samples, delta):
    exact = exact_clone_eps(eps, n_samples, delta)
    # The bisections end within 2**-25 of eps; a millionth of delta is charged for rare numbers of clones.
    assert exact - 1e-6 * eps <= shuffle_eps(eps, n_samples, delta, bound="clones") <= exact + 1e-4 * eps


def test_blocks_of_clones_cost_next_to_nothing(monkeypatch):
    blocked = shuffle_eps(1.0, 10**6, 1e-6, bound="clones")
    monkeypatch.setattr(shuffling, "_BLOCKS", 20_000)
    every = shuffle_eps(1.0, 10**6, 1e-6, bound="clones")
    assert every <= blocked <= every * (1 + 1e-4)


@given(st.floats(0.01, 20.0), st.integers(1, 10**9), st.floats(1e-12, 0.5))
def test_the_bounds_are_ordered(eps, n_samples, delta):
    clones = shuffle_eps(eps, n_samples, delta, bound="clones")
    assert 0 <= clones <= eps
    if eps <= math.log(n_samples / (16 * math.log(2 / delta))):
        assert clones <= shuffle_eps(eps, n_samples, delta) <= eps


@settings(max_examples=20)
@given(st.floats(0.1, 3.0), st.integers(100, 10**6))
def test_more_users_hide_better(eps, n_samples):
    few, many = (shuffle_eps(eps, n, 1e-6, bound="clones") for n in (n_samples, 4 * n_samples))
    assert many <= few * (1 + 1e-4)


def test_the_closed_form_is_refused_where_its_proof_ends():
    largest = math.log(10**4 / (16 * math.log(2 / 1e-6)))
    assert shuffle_eps(largest - 1e-9, 10**4, 1e-6) > 0
    with pytest.raises(ValueError, match=r"^eps must be at most log\(n_samples / .* bound must be 'clones'; got"):
        shuffle_eps(largest + 1e-9, 10**4, 1e-6)
    assert shuffle_eps(largest + 1e-9, 10**4, 1e-6, bound="clones") < largest


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"eps": 0.0}, "eps"),
        ({"eps": math.nan}, "eps"),
        ({"eps": 21.0}, "eps"),
        ({"n_samples": 0}, "n_samples"),
        ({"n_samples": 10.5}, "n_samples"),
        ({"delta": 0.0}, "delta"),
        ({"delta": 1.0}, "delta"),
        ({"bound": "best"}, "bound"),
    ],
)
def test_bad_arguments_are_named(changed, name):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        shuffle_eps(**{"eps": 1.0, "n_samples": 10**6, "delta": 1e-6, **changed})
