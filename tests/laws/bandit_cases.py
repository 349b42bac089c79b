"""One small problem for every algorithm of bandits, without noise and with it.

A new algorithm is one entry here; every law in `tests/bandits/algorithms` then holds it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product

import numpy as np

from sparsetheory.bandits import (
    ESTC,
    AdaptiveSupportSearch,
    CoreSetBandit,
    LinearBanditProblem,
    LinUCB,
    OptimisticElimination,
    PhasedElimination,
    SparseRegressionBandit,
    SupportDesignNet,
    SupportGreedy,
    SupportNetSearch,
    make_sparse_misspecified,
)
from sparsetheory.bandits.algorithms.base import BanditAlgorithm

EPS = 0.05
NOISE = 0.04


@dataclass(frozen=True)
class Case:
    """An algorithm, and a problem that it can solve.

    `build` makes the algorithm, `problem(seed)` a problem of this size. Without noise all laws of certificates hold it,
    too.
    """

    name: str
    build: Callable[[], BanditAlgorithm]
    n_actions: int = 60
    n_features: int = 5
    n_nonzero: int = 2
    eps: float = EPS
    noise_std: float = 0.0

    def instance(self, seed: int = 0):
        """Return everything about the problem."""
        return make_sparse_misspecified(
            self.n_actions, self.n_features, self.n_nonzero, self.eps, nu="confusing", random_state=seed
        )

    def problem(self, seed: int = 0) -> LinearBanditProblem:
        """Return a fresh problem, whose noise is the same every time."""
        return self.instance(seed).problem(noise_std=self.noise_std, random_state=seed)


def _net_of_candidates():
    """Return two-sparse coefficients, one of which is within 0.05 of any of length one."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    rows = []
    for i, j in product(range(5), range(5)):
        if i < j:
            for angle in angles:
                row = np.zeros(5)
                row[i], row[j] = np.cos(angle), np.sin(angle)
                rows.append(row)
    return np.array(rows)


_CANDIDATES = _net_of_candidates()

_PLAIN = [
    Case("CoreSetBandit", lambda: CoreSetBandit(eps=EPS, target_mult=1.05)),
    Case("SupportNetSearch", lambda: SupportNetSearch(2, eps=EPS, rho=0.3)),
    Case("SupportNetSearch-greedy", lambda: SupportNetSearch(2, eps=EPS, rho=0.3, net="greedy")),
    Case("SupportGreedy", lambda: SupportGreedy(2, eps=EPS)),
    Case("SupportGreedy-unscreened", lambda: SupportGreedy(2, eps=EPS, screen=False)),
    Case("SupportDesignNet", lambda: SupportDesignNet(2, eps=EPS)),
    Case("SupportDesignNet-all", lambda: SupportDesignNet(2, eps=EPS, screen=False, prune=False)),
    Case("AdaptiveSupportSearch", lambda: AdaptiveSupportSearch(2, eps=EPS, target=EPS / 2)),
    Case("AdaptiveSupportSearch-span", lambda: AdaptiveSupportSearch(2, eps=EPS, base="span", batch=3)),
    Case("OptimisticElimination", lambda: OptimisticElimination(_CANDIDATES, eps=EPS, rho=0.05)),
]

_NOISY = [
    Case("CoreSetBandit-noise", lambda: CoreSetBandit(eps=EPS, noise_std=NOISE)),
    Case("SupportNetSearch-noise", lambda: SupportNetSearch(2, eps=EPS, rho=0.4, noise_std=NOISE, width=0.1)),
    Case("SupportGreedy-noise", lambda: SupportGreedy(2, eps=EPS, noise_std=NOISE, width=0.1)),
    Case("SupportDesignNet-noise", lambda: SupportDesignNet(2, eps=EPS, noise_std=NOISE, width=0.1)),
    Case("AdaptiveSupportSearch-noise", lambda: AdaptiveSupportSearch(2, eps=EPS, noise_std=NOISE, width=0.1)),
    Case("OptimisticElimination-noise", lambda: OptimisticElimination(_CANDIDATES, eps=EPS, rho=0.05, noise_std=NOISE)),
]

_STRATEGIES = [
    Case("PhasedElimination", lambda: PhasedElimination(150, noise_std=NOISE, eps=EPS)),
    Case("ESTC", lambda: ESTC(2, horizon=150, noise_std=NOISE, eps=EPS, random_state=0)),
    Case("LinUCB", lambda: LinUCB(150, noise_std=NOISE, eps=EPS)),
    Case("SparseRegressionBandit", lambda: SparseRegressionBandit(2, eps=EPS, noise_std=NOISE, random_state=0)),
]

_WITH_NOISE = [replace(case, noise_std=NOISE) for case in [*_NOISY, *_STRATEGIES]]

CASES = {case.name: case for case in [*_PLAIN, *_WITH_NOISE]}


def exact_values(features, theta):
    """Return linear functions without rounding but the last one, by rational arithmetic."""
    coefficients = [Fraction(float(t)) for t in theta]
    return np.array(
        [float(sum(Fraction(float(x)) * t for x, t in zip(row, coefficients, strict=True))) for row in features]
    )


def nearly_dependent(n_actions, n_features, n_nonzero, rng):
    """Return a problem whose true features nearly depend on each other, with coefficients that cancel, and the truth.

    Columns are 1e-7 to 1e-1 from each other; coefficients lie along the weakest direction; errors are 1e-9 to 1e-1 of
    the rewards, of four kinds.
    """
    features = rng.standard_normal((n_actions, n_features))
    support = np.sort(rng.choice(n_features, n_nonzero, replace=False))
    distance = 10.0 ** rng.uniform(-7, -1)
    for j in support[1:]:
        features[:, j] = features[:, support[0]] + distance * features[:, j]
    weakest = np.linalg.svd(features[:, support], full_matrices=False)[2][-1]
    theta = np.zeros(n_features)
    theta[support] = weakest / np.abs(features[:, support] @ weakest).max()
    values = exact_values(features, theta)
    eps = 10.0 ** rng.uniform(-9, -1)
    error = {
        0: lambda: rng.uniform(-1, 1, n_actions),
        1: lambda: rng.choice([-1.0, 1.0], n_actions),
        2: lambda: np.sign(features @ rng.standard_normal(n_features)),
        3: lambda: np.clip(3 * rng.standard_normal(n_actions), -1, 1),
    }[int(rng.integers(4))]()
    # The sum of two numbers rounds.
    return LinearBanditProblem(features, values + eps * error, eps=eps + 4e-16), support, theta
