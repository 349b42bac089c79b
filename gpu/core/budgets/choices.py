"""One option for each of several units under one budget, such as a mode for every head or a rank for every layer.

Every option has a loss and a cost. This is the knapsack problem with multiple choices. Two ways are offered.

- A price on cost: every unit picks its least ``loss + multiplier * cost``, and the price is set so that the budget is
  met. It is fast, and a choice so made loses least among all choices of at most its own cost [1]_. It only reaches
  choices on the lower hull of all pairs of total cost and total loss, so it may leave a part of the budget unused.
- A table over the budget (dynamic programming), which also finds the choices between the corners of that hull.

:func:`allocate` is the case of rows whose entries are removed one by one: each removal has cost 1 there, so the convex
problem meets every budget. Here options may cost anything.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from sparsetheory.constraints import COUNT, FINITE, Choice
from sparsetheory.gpu.core.budgets.allocation import finite_sequence
from sparsetheory.gpu.core.budgets.choice_table import least_loss
from sparsetheory.typing import Float64Array

__all__ = ["Choices", "choose_options", "lagrangian_sweep"]


@dataclass(frozen=True)
class Choices:
    """One option for each unit.

    Parameters
    ----------
    options : tuple of int
        Index of the option of each unit.
    loss, cost : float
        Sums over the units, rounded once.
    multiplier : float
        Price of cost at which the relaxed problem meets the budget; 0 where every unit gets its option of least loss.
    lower_bound : float
        No choice within the budget loses less, up to rounding: the dual value at the multiplier.
    """

    options: tuple[int, ...]
    loss: float
    cost: float
    multiplier: float
    lower_bound: float


class _Unit(NamedTuple):
    """Options of one unit."""

    losses: Float64Array
    costs: Float64Array


class _Step(NamedTuple):
    """A move of one unit along its lower hull, to an option that costs more and loses less."""

    price: Fraction
    unit: int
    option: int
    extra: Fraction


def choose_options(
    losses: Iterable[Any],
    costs: Iterable[Any],
    budget: float,
    method: Literal["lagrange", "dp"] = "lagrange",
    *,
    n_cells: int = 10_000,
) -> Choices:
    """Choose one option for each unit, so that their costs stay within a budget and their losses are small.

    Parameters
    ----------
    losses, costs : iterable of array-like
        For each unit the losses and costs of its options, finite numbers. Units may have different numbers of options.
    budget : float
        Largest sum of costs.
    method : {"lagrange", "dp"}
        "lagrange" sets a price on cost, see :func:`lagrangian_sweep`. "dp" fills a table over the budget.
    n_cells : int
        For "dp" the number of steps into which the budget beyond the cheapest options is cut at most.

    Returns
    -------
    Choices
        Among choices that the method holds for equally good, options of the lowest index. The cost never exceeds the
        budget.

    Raises
    ------
    ValueError
        If the budget is below the cost of the cheapest options, a unit has no option, or a number is not finite.

    Notes
    -----
    "dp" is exact where all costs above those of the cheapest options are multiples of one number of which the budget
    holds at most `n_cells`, as small integers are. Otherwise they are rounded up to multiples of the budget over
    `n_cells`. The choice still keeps within the budget, and no choice that leaves a cell of the budget unused for
    each unit loses less. With many units that is much: the choice by price is returned where it loses less. The table
    costs O(options * n_cells) operations over all units together and two bytes a unit and
    cell; "lagrange" costs O(options * log(options)).

    Examples
    --------
    At a price, the option between the two others is never the best of this unit.

    >>> losses, costs = [[0.0, 1.0, 0.5]], [[1.0, 0.0, 0.9]]
    >>> choose_options(losses, costs, 0.95).options, choose_options(losses, costs, 0.95, "dp").options
    ((1,), (2,))
    """
    method = Choice("lagrange", "dp").check("method", method)
    relaxed = lagrangian_sweep(losses := list(losses), costs := list(costs), budget)
    COUNT.check("n_cells", n_cells)
    if method == "lagrange" or relaxed.multiplier == 0.0:
        return relaxed
    units = _units(losses, costs)
    options = least_loss([unit.losses for unit in units], [unit.costs for unit in units], _limit(budget), n_cells)
    tabled = _choices(units, options, relaxed.multiplier, relaxed.lower_bound)
    return tabled if (tabled.loss, tabled.cost) <= (relaxed.loss, relaxed.cost) else relaxed


def lagrangian_sweep(losses: Iterable[Any], costs: Iterable[Any], budget: float) -> Choices:
    """Choose one option for each unit by a price on cost.

    Every unit goes along the lower hull of its options, from the cheapest one on. Of all next steps the one that gains
    most per cost is made, until one does not fit; what it gains per cost is the price. Steps of the same price that
    fit are still made. So every unit holds an option of least ``loss + price * cost``, and the choice has the least
    loss among all that cost no more than it does [1]_. A choice that costs more, within the budget, may lose less.

    Parameters
    ----------
    losses, costs : iterable of array-like
        For each unit the losses and costs of its options, finite numbers. Units may have different numbers of options.
    budget : float
        Largest sum of costs.

    Returns
    -------
    Choices
        Its `lower_bound` is ``loss - multiplier * (budget - cost)``: an unused part of the budget is worth no more than
        its price. Options that tie go to the lowest index, steps that tie to the first unit.

    Raises
    ------
    ValueError
        If the budget is below the cost of the cheapest options, a unit has no option, or a number is not finite.

    References
    ----------
    .. [1] H. Everett, "Generalized Lagrange multiplier method for solving problems of optimum allocation of resources",
       Operations Research 11, 1963.

    Examples
    --------
    >>> lagrangian_sweep([[9.0, 4.0, 3.0], [5.0, 0.0]], [[0.0, 1.0, 3.0], [0.0, 2.0]], budget=3)
    Choices(options=(1, 1), loss=4.0, cost=3.0, multiplier=0.5, lower_bound=4.0)
    """
    units = _units(losses, costs)
    corners = [_hull(unit) for unit in units]
    options = [path[0] for path in corners]
    least = sum((Fraction(unit.costs[i]) for unit, i in zip(units, options, strict=True)), Fraction(0))
    left = _limit(FINITE.check("budget", budget)) - least
    if left < 0:
        raise ValueError(f"budget must be at least the cost of the cheapest options, {float(least)!r}; got {budget!r}")
    price = Fraction(0)
    stuck: set[int] = set()
    for step in sorted(_steps(units, corners), key=lambda step: -step.price):
        if stuck and step.price < price:
            break
        if step.unit in stuck or step.extra > left:
            stuck.add(step.unit)
            price = step.price
        else:
            options[step.unit] = step.option
            left -= step.extra
    found = _choices(units, options, _rounded(price), math.nan)
    return replace(found, lower_bound=_rounded(Fraction(found.loss) - price * left))


def _units(losses: Iterable[Any], costs: Iterable[Any]) -> list[_Unit]:
    all_losses = [finite_sequence(f"losses[{i}]", row) for i, row in enumerate(losses)]
    all_costs = [finite_sequence(f"costs[{i}]", row) for i, row in enumerate(costs)]
    if [row.size for row in all_losses] != [row.size for row in all_costs]:
        raise ValueError(
            f"costs must hold a number for each of losses, {[row.size for row in all_losses]!r:.200} a unit; "
            f"got {[row.size for row in all_costs]!r:.200}"
        )
    for i, row in enumerate(all_losses):
        if row.size == 0:
            raise ValueError(f"losses[{i}] must hold at least one number; got none")
    return [_Unit(*pair) for pair in zip(all_losses, all_costs, strict=True)]


def _limit(budget: float) -> Fraction:
    """Return the largest sum that rounds to the budget or less: a budget is mostly a rounded sum of costs itself."""
    middle = (Fraction(budget) + Fraction(math.nextafter(budget, math.inf))) / 2
    # Floats are multiples of 2^-1074, and so are their sums: none lies within half of that below the middle.
    return middle if float(middle) <= budget else middle - Fraction(1, 2**1076)


def _rounded(number: Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _choices(units: Sequence[_Unit], options: Sequence[int], price: float, lower_bound: float) -> Choices:
    loss = math.fsum(float(unit.losses[i]) for unit, i in zip(units, options, strict=True))
    cost = math.fsum(float(unit.costs[i]) for unit, i in zip(units, options, strict=True))
    return Choices(tuple(options), loss, cost, price, lower_bound)


def _hull(unit: _Unit) -> list[int]:
    """Return the options on the lower left hull, from the cheapest to the one of least loss, points on edges included.

    A monotone chain: the last point goes while it lies above the line from the one before it to the next one. The
    products are exact, so that points on a line stay.
    """
    path: list[int] = []
    for i in np.lexsort((unit.losses, unit.costs)).tolist():
        if path and unit.losses[i] >= unit.losses[path[-1]]:
            continue
        while len(path) > 1 and _above(unit, path[-2], path[-1], i):
            path.pop()
        path.append(i)
    return path


def _above(unit: _Unit, a: int, b: int, c: int) -> bool:
    """Tell whether option b lies strictly above the line from a to c."""
    (cost_a, cost_b, cost_c), (loss_a, loss_b, loss_c) = (
        [Fraction(values[i]) for i in (a, b, c)] for values in (unit.costs, unit.losses)
    )
    return (loss_b - loss_a) * (cost_c - cost_a) > (loss_c - loss_a) * (cost_b - cost_a)


def _steps(units: Sequence[_Unit], corners: Sequence[Sequence[int]]) -> list[_Step]:
    """Return all steps along hulls; the prices of a unit never rise."""
    steps = []
    for number, (unit, path) in enumerate(zip(units, corners, strict=True)):
        for before, after in pairwise(path):
            extra = Fraction(unit.costs[after]) - Fraction(unit.costs[before])
            gain = Fraction(unit.losses[before]) - Fraction(unit.losses[after])
            steps.append(_Step(gain / extra, number, after, extra))
    return steps
