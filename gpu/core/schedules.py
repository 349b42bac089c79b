"""Schedules: what a hyper-parameter is at each step of training.

A schedule is called with a step, the number of optimiser steps done, and returns a number. How a method rounds counts
that it makes of it is the method's own affair. All schedules hold their last value after their end.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sparsetheory.constraints import COUNT, FINITE, MISSING, POSITIVE, SIZE, Choice, Integer, Real

__all__ = ["Constant", "Cosine", "Cubic", "Exponential", "Linear", "MaskDecay", "SineStages"]

_PART = Real(0.0, 1.0)


@dataclass(frozen=True)
class Constant:
    """The same value at every step.

    Parameters
    ----------
    value : float

    Examples
    --------
    >>> Constant(0.3)(1000)
    0.3
    """

    value: float

    def __post_init__(self) -> None:
        FINITE.check("value", self.value)

    def __call__(self, step: int) -> float:
        """Return the value."""
        return self.value


@dataclass(frozen=True)
class _Path:
    """From one value to another one in a number of steps; at both ends exactly the value given."""

    start: float
    total: int
    end: float = 0.0

    def __post_init__(self) -> None:
        FINITE.require(start=self.start, end=self.end)
        COUNT.check("total", self.total)

    def __call__(self, step: int) -> float:
        """Return the value after this number of optimiser steps."""
        if step <= 0:
            return self.start
        return self.end if step >= self.total else self._between(step / self.total)

    def _between(self, part: float) -> float:
        raise NotImplementedError


@dataclass(frozen=True)
class Cosine(_Path):
    """Half a period of a cosine: ``end + (start - end) / 2 * (1 + cos(pi step / total))``.

    Parameters
    ----------
    start : float
        Value at step 0.
    total : int
        Step from which on the value is `end`.
    end : float
        Last value.

    References
    ----------
    Evci, Gale, Menick, Castro, Elsen, "Rigging the Lottery: Making All Tickets Winners", ICML 2020.

    Examples
    --------
    >>> fraction = Cosine(0.3, 100)
    >>> fraction(0), round(fraction(50), 12), fraction(100)
    (0.3, 0.15, 0.0)
    """

    def _between(self, part: float) -> float:
        return self.end + (self.start - self.end) / 2 * (1 + math.cos(math.pi * part))


@dataclass(frozen=True)
class Linear(_Path):
    """A straight line from one value to another.

    Parameters
    ----------
    start : float
        Value at step 0.
    total : int
        Step from which on the value is `end`.
    end : float
        Last value.

    Examples
    --------
    >>> [Linear(1.0, 4)(step) for step in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    def _between(self, part: float) -> float:
        return self.start + (self.end - self.start) * part


@dataclass(frozen=True)
class Exponential(_Path):
    """Equal ratios from step to step: ``start * (end / start) ** (step / total)``.

    Parameters
    ----------
    start : float
        Value at step 0, positive.
    total : int
        Step from which on the value is `end`.
    end : float
        Last value, positive.

    Examples
    --------
    >>> Exponential(1.0, 2, 0.25)(1)
    0.5
    """

    end: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        POSITIVE.require(start=self.start, end=self.end)

    def _between(self, part: float) -> float:
        return self.start * (self.end / self.start) ** part


@dataclass(frozen=True)
class Cubic(_Path):
    """A cubic that flattens towards its end, between a warm-up and a cool-down.

    With a the part of warm-up, c that of cool-down and T the total, the value is `start` up to step aT, `end` from step
    ``T - cT`` on, and ``end + (start - end) (1 - (step - aT) / (T - (a + c) T))**3`` between.

    Parameters
    ----------
    start : float
        Value during warm-up.
    total : int
        Steps of training.
    end : float
        Value during cool-down.
    warmup, cooldown : float
        Parts of all steps, in [0, 1]; their sum is below 1.

    References
    ----------
    Zhu, Gupta, "To prune, or not to prune", 2017; Li et al., "Parameter-Efficient Sparsity for Large Language Models
    Fine-Tuning", IJCAI 2022, which has the two ends.

    Examples
    --------
    >>> sparsity = Cubic(0.0, 100, 0.8, warmup=0.1, cooldown=0.4)
    >>> sparsity(10), round(sparsity(35), 12), sparsity(60)
    (0.0, 0.7, 0.8)
    """

    warmup: float = 0.0
    cooldown: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _PART.require(warmup=self.warmup, cooldown=self.cooldown)
        if self.warmup + self.cooldown >= 1:
            raise ValueError(f"warmup + cooldown must be below 1; got {self.warmup} + {self.cooldown}")

    def __call__(self, step: int) -> float:
        """Return the value after this number of optimiser steps."""
        first, last = self.warmup * self.total, self.total - self.cooldown * self.total
        if step <= first:
            return self.start
        return self.end if step >= last else self._between((step - first) / (last - first))

    def _between(self, part: float) -> float:
        return self.end + (self.start - self.end) * (1 - part) ** 3


@dataclass(frozen=True)
class SineStages:
    """A penalty that rises from peak to peak, flat at each of them.

    Up to the first end it is the first peak. Between the ends T and T' of two stages it goes from the one peak to the
    other by ``(1 - cos(pi (step - T) / (T' - T))) / 2``, which is half a period of a sine.

    Parameters
    ----------
    peaks : sequence of float
        Value at the end of each stage: positive, none below the one before. Two equal ones make a flat stage.
    ends : sequence of int
        Step at which each stage ends, strictly increasing.

    Raises
    ------
    ValueError
        If there are no stages, the lengths differ, or an order is broken.

    References
    ----------
    Song et al., "ProSparse: Introducing and Enhancing Intrinsic Activation Sparsity within Large Language Models",
    COLING 2025, algorithm 1.

    Examples
    --------
    >>> strength = SineStages((0.1, 0.5), (10, 20))
    >>> strength(0), strength(10), round(strength(15), 12), strength(30)
    (0.1, 0.1, 0.3, 0.5)
    """

    peaks: Sequence[float]
    ends: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "peaks", tuple(POSITIVE.check(f"peaks[{i}]", p) for i, p in enumerate(self.peaks)))
        object.__setattr__(self, "ends", tuple(COUNT.check(f"ends[{i}]", e) for i, e in enumerate(self.ends)))
        if not self.peaks or len(self.peaks) != len(self.ends):
            raise ValueError(f"peaks and ends must have one entry a stage; got {len(self.peaks)} and {len(self.ends)}")
        for name, values, strict in (("peaks", self.peaks, False), ("ends", self.ends, True)):
            if any(b < a or (strict and b == a) for a, b in pairwise(values)):
                raise ValueError(f"{name} must {'increase' if strict else 'not decrease'}; got {values}")

    def __call__(self, step: int) -> float:
        """Return the value after this number of optimiser steps."""
        for i, end in enumerate(self.ends):
            if step < end:
                if i == 0:
                    return self.peaks[0]
                begin, low, high = self.ends[i - 1], self.peaks[i - 1], self.peaks[i]
                return low + (1 - math.cos(math.pi * (step - begin) / (end - begin))) / 2 * (high - low)
        return self.peaks[-1]


@dataclass(frozen=True)
class MaskDecay:
    """What weights off the mask are multiplied by while their part in a layer fades out, from 1 to 0.

    Parameters
    ----------
    kind : {"linear", "exp"}
        ``max(0, 1 - rate t)`` or ``exp(-rate t)``, where t counts steps from `start` on.
    rate : float
        Per step, positive.
    start : int
        Step at which the decay begins.
    end : int, optional
        Step from which on the factor is 0. An exponential decay never gets there by itself.

    References
    ----------
    Bambhaniya et al., "Progressive Gradient Flow for Robust N:M Sparsity Training in Transformers", 2024.

    Examples
    --------
    >>> decay = MaskDecay("linear", 0.25, start=10)
    >>> [decay(step) for step in (0, 10, 11, 14, 20)]
    [1.0, 1.0, 0.75, 0.0, 0.0]
    """

    kind: str
    rate: float
    start: int = 0
    end: int | None = None

    def __post_init__(self) -> None:
        Choice("linear", "exp").check("kind", self.kind)
        POSITIVE.check("rate", self.rate)
        SIZE.check("start", self.start)
        (MISSING | Integer(self.start)).check("end", self.end)

    def __call__(self, step: int) -> float:
        """Return the factor after this number of optimiser steps."""
        if self.end is not None and step >= self.end:
            return 0.0
        since = self.rate * max(0, step - self.start)
        return max(0.0, 1.0 - since) if self.kind == "linear" else math.exp(-since)
