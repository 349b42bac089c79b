"""Every algorithm of the package, with a budget, and needles that none of them can find."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparsetheory.bandits import (
    ESTC,
    AdaptiveSupportSearch,
    CoreSetBandit,
    LinUCB,
    NeedleInstance,
    OptimisticElimination,
    PhasedElimination,
    SparseRegressionBandit,
    SupportDesignNet,
    SupportGreedy,
    SupportNetSearch,
    make_basis_needle,
    make_needle,
    make_reed_solomon_needle,
)
from sparsetheory.bandits.algorithms.base import BanditAlgorithm
from sparsetheory.proofs_checks.misspecified_bandits.instances import fitted
from sparsetheory.typing import Float64Array

__all__ = ["ALGORITHMS", "Hunt", "draw_needle"]


def _candidates(needle: NeedleInstance) -> Float64Array:
    """Return the coefficients that explain each of the possible needles, and so say nothing about which one it is."""
    rows = needle.features()
    alike = bool((rows == rows[0]).all())
    return np.abs(needle.theta).max() * (rows[:1] if alike else rows / np.abs(rows).max())


ALGORITHMS: dict[str, Callable[[NeedleInstance, int], BanditAlgorithm]] = {
    "CoreSetBandit": lambda needle, n: CoreSetBandit(),
    "SupportNetSearch": lambda needle, n: SupportNetSearch(needle.n_nonzero, eps=needle.eps, rho=0.5),
    "SupportGreedy": lambda needle, n: SupportGreedy(needle.n_nonzero, eps=needle.eps),
    "SupportDesignNet": lambda needle, n: SupportDesignNet(needle.n_nonzero, eps=needle.eps, eta=0.5),
    "AdaptiveSupportSearch": lambda needle, n: AdaptiveSupportSearch(needle.n_nonzero, eps=needle.eps, target=1e-6),
    "OptimisticElimination": lambda needle, n: OptimisticElimination(_candidates(needle), eps=needle.eps),
    "SparseRegressionBandit": lambda needle, n: SparseRegressionBandit(
        needle.n_nonzero, eps=needle.eps, n_samples=max(n, 1), random_state=0
    ),
    "PhasedElimination": lambda needle, n: PhasedElimination(max(n, 1), noise_std=0.0),
    "ESTC": lambda needle, n: ESTC(needle.n_nonzero, horizon=max(n, 1), noise_std=0.0, random_state=0),
    "LinUCB": lambda needle, n: LinUCB(max(n, 1), noise_std=0.0),
}


def draw_needle(rng: np.random.Generator) -> NeedleInstance:
    """Draw a needle among 40 to 50 actions: without features, with a feature each, or with those of a code."""
    kind = rng.integers(4)
    if kind == 0:
        return make_needle(50, random_state=rng)
    if kind == 1:
        return make_basis_needle(40, random_state=rng)
    return make_reed_solomon_needle(7, 2, 2, centred=bool(kind == 2), random_state=rng)


@dataclass(frozen=True, eq=False)
class Hunt:
    """A needle, and an algorithm that looks for it.

    Parameters
    ----------
    needle : NeedleInstance
    name : str
        The algorithm, one of :data:`ALGORITHMS`.
    """

    needle: NeedleInstance
    name: str

    def gap(self, budget: int) -> float:
        """Return the gap of the answer after so many queries."""
        problem = self.needle.problem()
        algorithm = fitted(ALGORITHMS[self.name](self.needle, budget), problem, budget)
        return problem.gap(algorithm.action_)
