"""Limits of the noise in released moments."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from sparsetheory.privacy.estimators.noise_limits import bernstein


@pytest.mark.parametrize("probability", [0.5, 0.05, 0.001])
@pytest.mark.parametrize("n_terms", [20, 1000, 10**6])
@pytest.mark.parametrize("level", [1e-2, 1e-6])
def test_means_of_coins_stay_within_the_limit(probability, n_terms, level):
    std = math.sqrt(probability * (1 - probability))
    limit = bernstein(max(probability, 1 - probability) / std, n_terms, level) * std
    # Exact tails: of as many heads as the limit allows, or more, and as few.
    above = binom.sf(np.ceil(n_terms * (probability + limit)) - 1, n_terms, probability)
    below = binom.cdf(np.floor(n_terms * (probability - limit)), n_terms, probability)
    assert above + below <= level


def test_normal_terms_have_no_largest_one():
    assert bernstein(0.0, 50, 0.1) == pytest.approx(math.sqrt(2 * math.log(20) / 50))
