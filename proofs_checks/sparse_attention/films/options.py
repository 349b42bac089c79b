"""Claims about one option for each of several units under one budget: by a price on cost, and by a table."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.verdicts import Always

# Sums of at most 4 numbers up to 12, and a product with a price, each rounded a few times.
_ROUNDING = 1e-12

# The unit whose option (loss 0.5, cost 0.9) lies above the line from (1, 0) to (0, 1): no price picks it.
_BETWEEN = ((0.0, 1.0, 0.5),), ((1.0, 0.0, 0.9),)

# In cells of half the budget 0.97, costs of 0.9 and 0.05 are rounded up to three halves of it.
_TIGHT = ((0.0, 1.0, 0.5), (1.0, 0.0)), ((1.0, 0.0, 0.9), (0.0, 0.05)), 0.97


@dataclass(frozen=True)
class Options:
    """Losses and costs of the options of some units, and a budget that some choice meets."""

    losses: Sequence[Sequence[float]]
    costs: Sequence[Sequence[float]]
    budget: float

    def choices(self) -> Iterator[tuple[float, float]]:
        """Yield loss and cost of every choice."""
        for options in itertools.product(*(range(len(row)) for row in self.losses)):
            yield _total(self.losses, options), _total(self.costs, options)

    def least_loss(self, budget: float) -> float:
        """Return the least loss of a choice that costs no more, by trying all."""
        return min(loss for loss, cost in self.choices() if cost <= budget)

    @property
    def scale(self) -> float:
        """What rounding errors of sums are relative to."""
        return 1.0 + sum(map(max, self.losses))


def _total(table: Sequence[Sequence[float]], options: Sequence[int]) -> float:
    return math.fsum(row[i] for row, i in zip(table, options, strict=True))


@st.composite
def _problems(draw: Any, numbers: st.SearchStrategy[float]) -> Options:
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    losses, costs = ([draw(st.lists(numbers, min_size=n, max_size=n)) for n in counts] for _ in range(2))
    least, most = (math.fsum(map(end, costs)) for end in (min, max))
    return Options(losses, costs, draw(st.floats(least, most)))


_whole = _problems(st.integers(0, 12).map(float))
# Multiples of 1/64 up to 12: differences of costs are not so small that a price is beyond all numbers.
_real = _problems(st.integers(0, 768).map(lambda number: number / 64))


def _instances() -> st.SearchStrategy[Options]:
    between = st.floats(0.9, 0.99).map(lambda budget: Options(*_BETWEEN, budget))
    return st.one_of(_whole, _real, between)


def _priced(problem: Options) -> Measurement:
    """Compare the choice by price with all choices that cost no more than it does, and its bound with those in budget.

    Every unit holds an option of least ``loss + price * cost``. So for any other choice the sum of these over units is
    no smaller, and if it costs no more, it loses no less. The dual value ``min (loss + price * cost) - price * budget``
    is below the loss of all choices within the budget for the same reason.
    """
    found = core.lagrangian_sweep(problem.losses, problem.costs, problem.budget)
    over = max(found.cost - problem.budget, 0.0)
    return Measurement.worst(
        [found.loss, found.lower_bound, over],
        [problem.least_loss(found.cost), problem.least_loss(problem.budget), 0.0],
        problem.scale,
    )


def _priced_in_budget(problem: Options) -> Measurement:
    """Expect the choice by price to lose least of all choices within the budget."""
    found = core.lagrangian_sweep(problem.losses, problem.costs, problem.budget)
    return Measurement(found.loss, problem.least_loss(problem.budget), problem.scale)


def _tabled(problem: Options) -> Measurement:
    """Compare the table, whose costs are whole numbers, with all choices within the budget."""
    found = core.choose_options(problem.losses, problem.costs, problem.budget, "dp")
    off = abs(found.loss - problem.least_loss(problem.budget))
    return Measurement.worst([off, max(found.cost - problem.budget, 0.0)], 0.0, problem.scale)


def _tabled_by_price(problem: Options) -> Measurement:
    """Expect the same of a price."""
    found = core.lagrangian_sweep(problem.losses, problem.costs, problem.budget)
    return Measurement(abs(found.loss - problem.least_loss(problem.budget)), 0.0, problem.scale)


def _rounded(problem: Options, n_cells: int = 2) -> Measurement:
    """Compare the table of few cells with the choices that leave a cell of the budget for each unit.

    Rounding up adds less than a cell to the cost of each unit. So these choices stay within the budget after rounding.
    """
    found = core.choose_options(problem.losses, problem.costs, problem.budget, "dp", n_cells=n_cells)
    cell = (problem.budget - math.fsum(map(min, problem.costs))) / n_cells
    return _against(found, problem, problem.budget - len(problem.costs) * cell)


def _rounded_off(problem: Options, n_cells: int = 2) -> Measurement:
    """Expect it to find all choices within the budget."""
    found = core.choose_options(problem.losses, problem.costs, problem.budget, "dp", n_cells=n_cells)
    return _against(found, problem, problem.budget)


def _against(found: Any, problem: Options, budget: float) -> Measurement:
    # The end of the budget is rounded itself.
    roomy = [loss for loss, cost in problem.choices() if cost <= budget - 1e-9]
    over = max(found.cost - problem.budget, 0.0)
    return Measurement.worst([found.loss, over], [min(roomy, default=np.inf), 0.0], problem.scale)


price_optimal = Claim(
    name="sparse_attention.price_optimal",
    summary="One option per unit, chosen by a price on cost, loses least among all choices of at most its own cost.",
    statement=r"\sum_h e_{h i_h} = \min\Big\{ \sum_h e_{h j_h} : \sum_h c_{h j_h} \le \sum_h c_{h i_h} \Big\}, \quad "
    r"i_h \in \arg\min_i e_{hi} + \lambda c_{hi}",
    source=Source.classic("Everett (1963)", "main theorem on generalised Lagrange multipliers"),
    verdict=Always(_ROUNDING),
    instances=_instances,
    evaluate=_priced,
    near_miss=_priced_in_budget,
)

table_optimal = Claim(
    name="sparse_attention.table_optimal",
    summary="A table over a budget of whole costs finds the best choice of one option per unit, also off the hull.",
    statement=r"\sum_h e_{h i_h} = \min\Big\{ \sum_h e_{h j_h} : \sum_h c_{h j_h} \le C \Big\}, \quad c_{hi} \in "
    r"\mathbb{N}",
    source=Source.classic("Bellman (1957)", "dynamic programming for knapsacks"),
    verdict=Always(_ROUNDING),
    instances=lambda: _whole,
    evaluate=_tabled,
    near_miss=_tabled_by_price,
)

rounded_table = Claim(
    name="sparse_attention.rounded_table",
    summary="A table with rounded costs stays in budget and misses only choices that leave less than a cell per unit.",
    statement=r"\sum_h c_{h i_h} \le C, \quad \sum_h e_{h i_h} \le \min\Big\{ \sum_h e_{h j_h} : \sum_h c_{h j_h} \le "
    r"C - H \frac{C - \sum_h \min_i c_{hi}}{m} \Big\}",
    source=Source.ours("costs of H units rounded up to m cells"),
    verdict=Always(_ROUNDING),
    instances=lambda: st.one_of(_real, st.just(Options(*_TIGHT))),
    evaluate=_rounded,
    near_miss=_rounded_off,
)
