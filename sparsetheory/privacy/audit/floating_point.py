"""Whether the last bits of floating-point messages give the input away."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import optimize

from sparsetheory.constraints import generator
from sparsetheory.privacy.audit.cells import Cells, value_cells
from sparsetheory.privacy.audit.events import Split, best_set
from sparsetheory.privacy.audit.frontiers import pure_bound, pure_level
from sparsetheory.privacy.audit.limits import exact_lower, exact_upper
from sparsetheory.privacy.audit.messages import draw
from sparsetheory.typing import AnyArray, BoolArray, Float64Array, Int64Array

__all__ = ["LowBitLeak", "low_bit_leak"]

# Exponents stand for zero, whose lowest bit is nowhere.
_OF_ZERO = -2000
# Smaller p-values are given as this.
_SMALLEST = 1e-300


@dataclass(frozen=True)
class LowBitLeak:
    """What the lowest bits of messages tell of two inputs.

    Parameters
    ----------
    leak : bool
        Whether `p_value` is at most `alpha`.
    p_value : float
        Probability of counts as far apart as these if the messages were (eps, delta)-private, at most; values below
        1e-300 are given as 1e-300.
    eps_lower : float
        Lower bound of the true eps from the worst event of exponents, wrong with probability at most `alpha`.
    eps : float
        The promise.
    delta : float
        The promise beside it.
    event : str
        The worst event in words.
    entry : int
        Number of the entry of the messages to which it belongs.
    lowest_bits : array of int
        Exponents e: the lowest non-zero bit of the entry stands for 2^e. Zero has none and is counted at -2000.
    counts0, counts1 : array of int
        How often each exponent was drawn under either input.
    alpha : float
        Probability of a false alarm.
    """

    leak: bool
    p_value: float
    eps_lower: float
    eps: float
    delta: float
    event: str
    entry: int
    lowest_bits: Int64Array = field(repr=False, compare=False)
    counts0: Int64Array = field(repr=False, compare=False)
    counts1: Int64Array = field(repr=False, compare=False)
    alpha: float

    def __str__(self) -> str:
        verdict = "LEAK" if self.leak else "no leak found"
        return (
            f"{verdict}: p-value {self.p_value:.2g} for eps = {self.eps:g}; true eps >= {self.eps_lower:.4f}.\n"
            f"Worst event, entry {self.entry}: {self.event}."
        )


def low_bit_leak(
    sampler0: Callable[[int, np.random.Generator], Any],
    sampler1: Callable[[int, np.random.Generator], Any],
    *,
    n_samples: int,
    eps: float = 4.0,
    delta: float = 0.0,
    alpha: float = 1e-3,
    random_state: Any = None,
) -> LowBitLeak:
    """Test whether two inputs reach different floating-point numbers.

    Noise drawn in doubles and added to a number lands on a grid that depends on the number: 1 + noise is a multiple
    of 2^-53 even where it comes close to 0, while 0 + noise has finer bits there. One message then tells the inputs
    apart, whatever the noise. The test looks at two numbers of each double: its binary exponent, and the exponent of
    its lowest non-zero bit. It chooses a set of such pairs on the first half of the draws, and counts it on the second.

    Parameters
    ----------
    sampler0, sampler1 : callable
        ``sampler(n, rng)`` returns n independent messages for one input each, n x length.
    n_samples : int
        Draws per input, at least 100; 100 000 show the textbook leak many times over.
    eps, delta : float
        What is promised. A set that is reached under one input alone breaks any promise, so a generous `eps` loses
        little; a private mechanism with a larger eps than this may be flagged rightly.
    alpha : float
        Probability of a false alarm.
    random_state : int, Generator or None
        Makes the draws of the samplers reproducible, as far as they use them.

    Returns
    -------
    LowBitLeak

    Raises
    ------
    ValueError
        If a parameter is out of range, or a sampler returns something else than n finite messages.

    Notes
    -----
    Lattices with exact noise and bits times constants pass, because their lowest bits differ between inputs no more
    than any other event of a private mechanism. Passing proves nothing about rounding that this test does not look at.
    The cost is length n_samples log(n_samples).

    References
    ----------
    Mironov, "On significance of the least significant bits for differential privacy" (2012).

    Examples
    --------
    >>> from sparsetheory.privacy import low_bit_leak
    >>> def noisy(value):
    ...     return lambda n, rng: value + rng.laplace(size=n)
    >>> low_bit_leak(noisy(0.0), noisy(1.0), n_samples=50_000, random_state=0).leak
    True
    """
    level = pure_level(eps, n_samples, alpha, delta, 2)
    rng = generator(random_state)
    drawn = draw([("sampler0", sampler0), ("sampler1", sampler1)], n_samples, rng)
    split = Split(n_samples)
    findings = []
    for order, (_, entry, cells, members) in _nominations(drawn, split, level, delta).items():
        counts = cells.counts(*order, split.count)[:, members].sum(axis=1)
        refuting = _level_refuting(counts, split.n_counted, eps, delta)
        findings.append((_proved(counts, split.n_counted, level, delta), refuting, entry, cells, members))
    lower, _, entry, cells, members = max(findings, key=lambda finding: finding[0])
    # Two orders of the inputs and two limits each share what is given to chance.
    p_value = min(max(4 * min(finding[1] for finding in findings), _SMALLEST), 1.0)
    bits, counts_by_bit = _histogram(cells)
    return LowBitLeak(
        leak=p_value <= alpha,
        p_value=p_value,
        eps_lower=max(lower, 0.0),
        eps=float(eps),
        delta=float(delta),
        event=cells.describe(members),
        entry=entry,
        lowest_bits=bits,
        counts0=counts_by_bit[0],
        counts1=counts_by_bit[1],
        alpha=alpha,
    )


def _nominations(
    drawn: dict[int, AnyArray], split: Split, level: float, delta: float
) -> dict[tuple[int, int], tuple[float, int, Cells, BoolArray]]:
    """Choose by the first half, for each order of the inputs, an entry and a set of pairs of exponents."""
    best: dict[tuple[int, int], tuple[float, int, Cells, BoolArray]] = {}
    for entry in range(drawn[0].shape[1]):
        cells = value_cells(
            {i: _exponents(drawn[i][:, entry].astype(np.float64)) for i in (0, 1)}, "(exponent, lowest bit)"
        )
        for order in ((0, 1), (1, 0)):
            predicted, members = best_set(cells, order, split, level, pure_bound(delta))
            if order not in best or predicted > best[order][0]:
                best[order] = predicted, entry, cells, members
    return best


def _histogram(cells: Cells) -> tuple[Int64Array, Int64Array]:
    """Return exponents of lowest bits, and how often each was drawn under either input, 2 x n_exponents."""
    assert cells.values is not None
    bits, codes = np.unique(cells.values[:, 1], return_inverse=True)
    counts = np.zeros((2, len(bits)), dtype=np.int64)
    np.add.at(counts.T, codes, cells.counts(0, 1, slice(None)).T)
    return bits.astype(np.int64), counts


def _exponents(numbers: Float64Array) -> AnyArray:
    """Return binary exponent and exponent of the lowest non-zero bit of each number, n x 2.

    A double is M 2^(e - 53) with an integer M below 2^53. The lowest bit of M is M & -M, a power of two.
    """
    fractions, exponents = np.frexp(numbers)
    integers = np.ldexp(np.abs(fractions), 53).astype(np.int64)
    _, lowest = np.frexp((integers & -integers).astype(np.float64))
    found = np.stack([exponents - 1, exponents - 54 + lowest], axis=1)
    # As 32 bits each, a pair is one sortable key.
    return np.where(numbers[:, None] == 0, _OF_ZERO, found).astype(np.int32)


def _proved(counts: Int64Array, n_counted: int, level: float, delta: float) -> float:
    """Lower bound of eps from the two counts of an event."""
    rates = exact_lower(counts[0], n_counted, level), exact_upper(counts[1], n_counted, level)
    return float(pure_bound(delta)(*rates))


def _level_refuting(counts: Int64Array, n_counted: int, eps: float, delta: float) -> float:
    """Return the smallest level of the confidence limits at which the counts still refute the promise, at most 1.

    The lower bound of eps grows with the level, so it is a root.
    """

    def excess(log_level: float) -> float:
        return float(np.clip(_proved(counts, n_counted, float(np.exp(log_level)), delta) - eps, -1e3, 1e3))

    ends = np.log(_SMALLEST), np.log(0.5)
    if excess(ends[1]) <= 0:
        return 1.0
    return _SMALLEST if excess(ends[0]) > 0 else float(np.exp(optimize.brentq(excess, *ends)))
