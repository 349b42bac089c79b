"""Hardness is claimed of every algorithm, so every algorithm must be tried."""

import sparsetheory.bandits as bandits
from sparsetheory.bandits.algorithms.base import BanditAlgorithm
from sparsetheory.proofs_checks.misspecified_bandits.algorithms import ALGORITHMS


def test_every_algorithm_of_the_package_hunts_needles():
    public = [getattr(bandits, name) for name in bandits.__all__]
    algorithms = {item.__name__ for item in public if isinstance(item, type) and issubclass(item, BanditAlgorithm)}
    assert algorithms == set(ALGORITHMS)
