"""Answers that are exactly as far from the truth as they may be do not refute it, however they round."""

import numpy as np
import pytest

from sparsetheory.bandits import SupportGreedy, make_reed_solomon_needle


@pytest.mark.filterwarnings("ignore::sparsetheory.bandits.VacuousBoundWarning")
@pytest.mark.parametrize("needle", range(25))
def test_the_true_support_survives_where_all_answers_of_its_design_are_zero(needle):
    instance = make_reed_solomon_needle(5, 2, 2, needle, centred=True)
    search = SupportGreedy(2, eps=instance.eps, screen=False).fit(instance.problem())
    assert np.flatnonzero(instance.theta).tolist() in search.alive_supports_.tolist()
