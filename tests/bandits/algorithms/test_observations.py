"""How often actions are queried where there is noise."""

import numpy as np
import pytest

from sparsetheory.bandits import SupportNetSearch
from sparsetheory.bandits.algorithms.observations import repetitions


def test_means_are_as_near_as_wanted_and_twice_as_near_takes_four_times_as_many():
    assert repetitions(0.0, 0.05, 100, 0.1) == 1
    few, many = repetitions(0.5, 0.05, 100, 0.1), repetitions(0.5, 0.05, 100, 0.05)
    assert few == int(np.ceil(2 * 0.25 * np.log(2 * 100 / 0.05) / 0.01))
    assert abs(many - 4 * few) <= 4


def test_more_queries_than_memory_holds_are_refused_in_words():
    with pytest.raises(ValueError, match=r"width must be large enough .* got 1e-09, which takes .* noise_std=1"):
        SupportNetSearch(1, eps=1e-9, rho=0.5, noise_std=1.0).start(np.eye(3))
