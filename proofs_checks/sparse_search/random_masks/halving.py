"""Claim about successive halving: with the budget of its theorem it finds the arm that settles highest."""

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array, IndexArray


@dataclass(frozen=True, eq=False)
class Curves:
    """Arms whose rewards settle within ``speed / plays`` of their limits, on either side of them.

    Parameters
    ----------
    limits, sides : ndarray of shape (n_arms,)
        Where rewards settle, and which share of the deviation they have, from -1 to 1.
    speed : float
    factor : int
        Of the halving.
    """

    limits: Float64Array
    sides: Float64Array
    speed: float
    factor: int

    def budget(self) -> int:
        """Return the least budget that is above that of the theorem."""
        n = len(self.limits)
        gaps = np.sort(self.limits.max() - self.limits)[1:]
        # The least number of plays after which the deviation is below half the gap.
        settled = np.floor(self.speed / (gaps / 2)) + 1
        n_rounds = next(k for k in range(n) if self.factor**k >= n)
        most = max((rank * (1 + plays) for rank, plays in enumerate(settled, start=2)), default=1.0)
        return math.floor(self.factor * n_rounds * most) + 1

    def missed(self, budget: int) -> float:
        """Return by how much the limit of the arm that is found falls short of the largest, and check the budget."""
        from sparsetheory.bandits import successive_halving

        plays = np.zeros(len(self.limits))

        def play(arms: IndexArray, n_plays: int) -> Float64Array:
            plays[arms] += n_plays
            reached: Float64Array = self.limits[arms] + self.sides[arms] * self.speed / plays[arms]
            return reached

        found = successive_halving(play, len(self.limits), budget, factor=self.factor)
        assert found.n_plays == plays.sum() <= budget
        return float(self.limits.max() - self.limits[found.arm])


@st.composite
def _curves(draw: st.DrawFn) -> Curves:
    n = draw(st.integers(2, 9))
    # Limits are different: between equal ones no budget decides.
    limits = draw(st.lists(st.integers(0, 20), min_size=n, max_size=n, unique=True))
    # The worst is likely: good arms look bad at first, and bad ones good.
    toward = draw(st.sampled_from((1.0, 0.5, 0.0)))
    ranks = np.argsort(np.argsort(limits)) / (n - 1)
    sides = toward * (1 - 2 * ranks)
    return Curves(np.array(limits) / 20, sides, draw(st.sampled_from((0.1, 1.0, 3.0))), draw(st.integers(2, 4)))


def _finds(curves: Curves) -> Measurement:
    """Measure what is missed with the budget of the theorem."""
    return Measurement(curves.missed(curves.budget()), 0.0, scale=1.0)


def _fifth_of_the_budget(curves: Curves) -> Measurement:
    """Expect a fifth of the budget to do, as far as every arm can be played."""
    n = len(curves.limits)
    least = n * next(k for k in range(n) if curves.factor**k >= n)
    return Measurement(curves.missed(max(least, curves.budget() // 5)), 0.0, scale=1.0)


halving_finds_the_best = Claim(
    name="sparse_search.halving_finds_the_best",
    summary="Successive halving finds the arm that settles highest, with a budget that gaps and speed of settling set.",
    statement=r"B > f \lceil \log_f n \rceil \max_{i \ge 2} i\, (1 + \gamma^{-1}(\Delta_i / 2)) \quad\Rightarrow\quad"
    r" \text{the best arm is left}",
    source=Source("Jamieson, Talwalkar, Non-stochastic best arm identification (2016)", "Theorem 1", "1502.07943"),
    verdict=Always(0.0),
    instances=_curves,
    evaluate=_finds,
    near_miss=_fifth_of_the_budget,
)
