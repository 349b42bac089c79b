"""The exact privacy of a mechanism with finitely many inputs and outputs, from its table of probabilities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational
from typing import Any

import numpy as np

__all__ = ["ChannelAudit", "audit_channel"]

# Probabilities in floats come out of gamma functions and differences; their sum is held to no more than this.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class ChannelAudit:
    """The worst ratio of probabilities of a finite mechanism, and where it is attained.

    Parameters
    ----------
    eps : float
        The smallest eps for which the mechanism is eps-private: the logarithm of `ratio`. Infinite if an output is
        possible for one input and impossible for another.
    ratio : Fraction or float
        The ratio itself; exact where all probabilities are rational.
    pair : tuple of int
        Numbers of the two inputs; the output is likelier under the first.
    output : int
        Number of the output.

    Examples
    --------
    >>> print(audit_channel([[0.75, 0.25], [0.25, 0.75]]))
    exact eps 1.09861 at output 0 of inputs 0 and 1
    """

    eps: float
    ratio: Fraction | float
    pair: tuple[int, int]
    output: int

    def __str__(self) -> str:
        return f"exact eps {self.eps:.6g} at output {self.output} of inputs {self.pair[0]} and {self.pair[1]}"


def audit_channel(probabilities: Sequence[Sequence[Any]] | np.ndarray) -> ChannelAudit:
    """Return the exact privacy of a mechanism: the worst ratio over all pairs of inputs and all outputs.

    Nothing is drawn, so nothing is left to chance. A local mechanism must hide every input from every other. So all
    pairs count, not only inputs that seem far apart: a mechanism that treats ties wrongly may be faultless on opposite
    inputs and fail on neighbours.

    Parameters
    ----------
    probabilities : array-like, shape (n_inputs, n_outputs)
        Probability of each output for each input. Fractions and integers are compared exactly, floats as they are.

    Returns
    -------
    ChannelAudit

    Raises
    ------
    ValueError
        If it is not a table, or a row is not a probability law: exactly for rationals, within 1e-9 for floats.

    Notes
    -----
    For one output the worst ratio is that of its largest to its smallest probability, so the cost is one pass over
    the table.

    Examples
    --------
    >>> from fractions import Fraction
    >>> third = Fraction(1, 3)
    >>> audit_channel([[third, 2 * third], [2 * third, third]]).ratio
    Fraction(2, 1)
    """
    rows = [list(row) for row in probabilities]
    if len(rows) < 2 or not rows[0] or len({len(row) for row in rows}) > 1:
        raise ValueError("probabilities must be a table of at least two inputs and one output")
    for number, row in enumerate(rows):
        _require_law(number, row)
    best: tuple[Any, tuple[int, int], int] = (1, (0, 1), 0)
    for output, column in enumerate(zip(*rows, strict=True)):
        high, low = (max(range(len(rows)), key=lambda i, s=sign: s * column[i]) for sign in (1, -1))  # type: ignore[misc]
        ratio = _ratio(column[high], column[low])
        if ratio > best[0]:
            best = (ratio, (high, low), output)
    ratio, pair, output = best
    return ChannelAudit(_logarithm(ratio), ratio, pair, output)


def _require_law(number: int, row: list[Any]) -> None:
    exact = all(isinstance(p, Rational) for p in row)
    try:
        lawful = all(p >= 0 for p in row) and (sum(row) == 1 if exact else abs(math.fsum(row) - 1) <= _ROUNDING)
    except (TypeError, ValueError):
        lawful = False
    if not lawful:
        raise ValueError(f"probabilities must be at least 0 and sum to 1 for each input; input {number} does not")


def _ratio(high: Any, low: Any) -> Any:
    if low > 0:
        return (
            Fraction(high) / Fraction(low) if isinstance(high, Rational) and isinstance(low, Rational) else high / low
        )
    return math.inf if high > 0 else 1


def _logarithm(ratio: Any) -> float:
    # Integers of any size have logarithms, where their quotient would overflow.
    return math.log(ratio.numerator) - math.log(ratio.denominator) if isinstance(ratio, Fraction) else math.log(ratio)
