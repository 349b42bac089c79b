"""The event that tells two inputs apart best, chosen by some draws so that others can count it.

By the lemma of Neyman and Pearson no event beats a set of cells whose likelihood ratio lies above a threshold. So of
the 2^m sets of m values the m such sets are enough. For real numbers a threshold of one statistic is the event.
"""

from dataclasses import dataclass

import numpy as np

from sparsetheory.privacy.audit.cells import Cells
from sparsetheory.privacy.audit.frontiers import Bound
from sparsetheory.privacy.audit.limits import exact_lower, exact_upper, quick_limits
from sparsetheory.typing import BoolArray, IndexArray

__all__ = ["Split", "best_set", "counted_rates"]


@dataclass(frozen=True)
class Split:
    """Parts of the draws of each input: to learn an order of the cells, to choose an event, and to count it.

    Parameters
    ----------
    n_samples : int
        Draws per input; a quarter, a quarter, and the rest.
    """

    n_samples: int

    @property
    def learn(self) -> slice:
        """The part that orders cells and learns statistics."""
        return slice(self.n_samples // 4)

    @property
    def choose(self) -> slice:
        """The part that chooses among events."""
        return slice(self.n_samples // 4, self.n_samples // 2)

    @property
    def count(self) -> slice:
        """The part that counts the one event chosen."""
        return slice(self.n_samples // 2, None)

    @property
    def n_counted(self) -> int:
        """Number of draws that are counted."""
        return self.n_samples - self.n_samples // 2


def best_set(cells: Cells, pair: tuple[int, int], split: Split, level: float, bound: Bound) -> tuple[float, BoolArray]:
    """Choose the set of cells that promises the largest lower bound, and return that bound and the members.

    Parameters
    ----------
    cells : Cells
        Cells of the messages of both inputs.
    pair : tuple of int
        The input under which the set shall be likelier, and the other.
    split : Split
        Which draws serve what. A set that was ordered and chosen by the same draws would look better than it is.
    level : float
        Level of the confidence limits that will be used.
    bound : callable
        From true and false positive rates to the privacy parameter that they prove.

    Notes
    -----
    Values are ordered by smoothed likelihood ratios, since a rare value seen once under one input is no evidence.
    Intervals of a statistic are ordered as they lie, from either end: a threshold. The cost is that of sorting cells.
    """
    counts = cells.counts(*pair, split.choose)
    best = -np.inf, np.zeros(cells.n_cells, dtype=bool)
    for order in _orders(cells, pair, split):
        trues, falses = np.cumsum(counts[:, order], axis=1)
        lower, upper = quick_limits(trues, trues[-1], level)[0], quick_limits(falses, falses[-1], level)[1]
        predicted = bound(lower, upper)
        cut = int(np.argmax(predicted))
        if predicted[cut] > best[0]:
            members = np.zeros(cells.n_cells, dtype=bool)
            members[order[: cut + 1]] = True
            best = float(predicted[cut]), members
    return best


def _orders(cells: Cells, pair: tuple[int, int], split: Split) -> list[IndexArray]:
    if cells.edges is not None:
        upwards = np.arange(cells.n_cells)
        return [upwards, upwards[::-1]]
    counts = np.log(cells.counts(*pair, split.learn) + 0.5)
    return [np.argsort(counts[1] - counts[0], kind="stable")]


def counted_rates(
    cells: Cells, members: BoolArray, pair: tuple[int, int], split: Split, level: float
) -> tuple[float, float]:
    """Count an event: lower limit of its rate under the first input, upper limit under the second."""
    inside = cells.counts(*pair, split.count)[:, members].sum(axis=1)
    return float(exact_lower(inside[0], split.n_counted, level)), float(exact_upper(inside[1], split.n_counted, level))
