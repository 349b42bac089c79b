"""One option for each unit under one budget by a table over the budget, exactly where costs lie on its grid."""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import reduce

import numpy as np

from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["least_loss"]


def least_loss(
    losses: Sequence[Float64Array], costs: Sequence[Float64Array], budget: Fraction, n_cells: int
) -> list[int]:
    """Return the index of an option for each unit: of the choices within the budget, on its grid, one of least loss.

    ``least_u(b) = min_i losses[u, i] + least_{u-1}(b - costs[u, i])``, with costs in cells above the cheapest option.

    Parameters
    ----------
    losses, costs : sequence of ndarray of float64
        Of the options of each unit.
    budget : Fraction
        At least the cost of the cheapest options.
    n_cells : int
        Cells of the grid at most.

    Returns
    -------
    list of int
        Where choices lose equally little, the cheapest one, then the one of the lowest indices from the last unit on.

    Notes
    -----
    O(options * cells), with two bytes a unit and cell.

    Examples
    --------
    >>> least_loss([np.array([0.0, 1.0, 0.5])], [np.array([1.0, 0.0, 0.9])], Fraction(95, 100), 10)
    [2]
    """
    cells, size = _cells(costs, budget, n_cells)
    least = np.zeros(size + 1)
    chosen = np.empty((len(losses), size + 1), dtype=np.int16 if max(map(len, cells), default=0) < 2**15 else np.int64)
    for number, (unit, spent) in enumerate(zip(losses, cells, strict=True)):
        reached = np.full(size + 1, np.inf)
        for option in np.argsort(spent, kind="stable").tolist():
            if spent[option] > size:
                break
            ways = unit[option] + least[: size + 1 - spent[option]]
            part, names = reached[spent[option] :], chosen[number, spent[option] :]
            better = (ways < part) | ((ways == part) & (option < names))
            part[better], names[better] = ways[better], option
        least = reached
    left = int(np.argmin(least))
    options = []
    for names, spent in zip(chosen[::-1], cells[::-1], strict=True):
        options.append(int(names[left]))
        left -= int(spent[options[-1]])
    return options[::-1]


def _cells(costs: Sequence[Float64Array], budget: Fraction, n_cells: int) -> tuple[list[Int64Array], int]:
    """Return costs above the cheapest option in whole cells, rounded up, and the cells of the budget; no rounding else.

    Costs beyond the budget become one cell more than it has, whatever they are.
    """
    rows = [[Fraction(cost) - Fraction(unit.min()) for cost in unit] for unit in costs]
    left = budget - sum((Fraction(unit.min()) for unit in costs), Fraction(0))
    fitting = [cost for row in rows for cost in row if 0 < cost <= left]
    if not fitting:
        return [np.array([int(cost > 0) for cost in row]) for row in rows], 0
    cell = reduce(_common_measure, fitting)
    size = math.floor(left / cell)
    if size > n_cells:
        cell, size = left / n_cells, n_cells
    return [np.array([math.ceil(min(cost / cell, Fraction(size + 1))) for cost in row]) for row in rows], size


def _common_measure(a: Fraction, b: Fraction) -> Fraction:
    """Return the largest number that both are multiples of."""
    return Fraction(math.gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator)
