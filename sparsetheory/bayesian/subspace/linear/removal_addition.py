"""Several columns at once: those with the lowest scores leave, and those with the highest scores enter."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.bayesian.subspace.addition import addition_score
from sparsetheory.bayesian.subspace.linear.search import SubspaceSearch
from sparsetheory.bayesian.subspace.removal import removal_score
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["RemovalAddition"]


@dataclass(frozen=True)
class RemovalAddition:
    """Moves of the subspace by scores, each taken only if the bound rises.

    Attributes
    ----------
    criterion : str
        Score by which columns leave.
    rule : str
        Score by which columns enter.
    drop_fraction : float
        Share of the columns of the first move.
    unit : float
        Unit of coefficients in the search: scores see them in the units of the user.
    """

    criterion: str
    rule: str
    drop_fraction: float
    unit: float

    def __call__(self, search: SubspaceSearch, tol: float, most: int) -> tuple[Float64Array, bool]:
        """Move as long as the bound rises by more than `tol`; half as many columns from where it does not."""
        bounds, least = [search.bound], max(tol, search.least_gain)
        active = search.active
        count = max(1, int(self.drop_fraction * active.size))
        while count and active.size and len(bounds) <= most:
            bound = search.solve(self._moved(search, active, count))
            if bound > bounds[-1] + least:
                bounds.append(bound)
                active = search.active
            else:
                count //= 2
                search.solve(active)
        return np.array(bounds), count == 0 or active.size == 0

    def _moved(self, search: SubspaceSearch, active: IndexArray, count: int) -> IndexArray:
        """Return the columns after `count` of them have left and as many have entered, maybe some of the same."""
        mean, unit = search.mean, self.unit
        keep = removal_score(
            unit * mean,
            unit * np.sqrt(search.variance),
            self.criterion,
            prior_std=unit * np.sqrt(search.prior),
        )
        stay = np.sort(np.argsort(-keep, kind="stable")[: active.size - count])
        kept = active[stay]
        scores = addition_score(
            search.gradient(kept, mean[stay]),
            search.kappa * search.squares,
            prior_std=float(np.sqrt(search.prior)),
            rule=self.rule,
        )
        scores = np.where(search.usable, scores, -np.inf)
        scores[kept] = -np.inf
        return np.concatenate([kept, np.argsort(-scores, kind="stable")[:count]])
