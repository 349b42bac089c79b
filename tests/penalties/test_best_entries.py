"""Best entries next to ties; that they are best, the laws of penalties say."""

import numpy as np

from sparsetheory.penalties import L0
from sparsetheory.penalties.best_entries import best_distances


def test_only_rounding_makes_a_tie():
    # Zero and u = 1 have the same objective at alpha = 1/2. Beyond that they differ by as much as u does.
    def distance(u, slack):
        return best_distances(L0(0.5), np.zeros((1, 1)), np.array([[u]]), np.ones((1, 1)), np.array([[slack]]))

    assert distance(1.0 + 2e-16, 0.0) == 0.0
    assert distance(1.0 + 1e-14, 0.0) == 1.0 + 1e-14
    assert distance(1.0 + 1e-6, 1.5e-6) == 0.0
    assert distance(1.0 + 1e-6, 0.7e-6) == 1.0 + 1e-6
