"""Anchors found by testing random supports and repairing those that fail."""

import math
from typing import Self

import numpy as np

from sparsetheory.regression.random_supports.anchor_span import AnchorSpan
from sparsetheory.regression.random_supports.support_batch import SupportBatch
from sparsetheory.regression.random_supports.support_distribution import SupportDistribution
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["AnchorSearch", "needed_passes", "proved_fraction"]

# Supports are gathered and factorised together, in batches that grow while they pass: a failure costs an update of
# the rest of its batch.
_SMALLEST_BATCH, _LARGEST_BATCH = 4, 32
# Ratios that agree to this fraction are equal: which is larger would depend on rounding.
_TIE = 1e-6


def _log_rounds(failures: int, confidence: float) -> float:
    # All rounds together go wrong with probability at most 1 - confidence: the sum of 1/((F+1)(F+2)) over F is 1.
    return math.log((failures + 1) * (failures + 2) / (1.0 - confidence))


def needed_passes(failures: int, delta: float, confidence: float) -> int:
    """Return how many supports in a row must pass after some failures.

    Parameters
    ----------
    failures : int
        Number F of supports that have failed, each of which changed the anchors.
    delta : float
        Fraction of supports that may fail.
    confidence : float
        Probability of the statement.

    Notes
    -----
    Supports that fail with probability above delta pass n times in a row with probability at most
    ``(1 - delta)^n <= (1 - confidence) / ((F + 1)(F + 2))``; over all F these add up to ``1 - confidence``.

    Examples
    --------
    >>> needed_passes(0, 0.05, 0.95), needed_passes(47, 0.05, 0.95)
    (74, 216)
    """
    return math.ceil(_log_rounds(failures, confidence) / delta)


def proved_fraction(failures: int, passes: int, confidence: float) -> float:
    """Return the smallest fraction of failing supports that so many passes in a row exclude; 1 without any."""
    return -math.expm1(-_log_rounds(failures, confidence) / passes) if passes else 1.0


class AnchorSearch:
    """Draw supports until enough in a row pass; each that fails adds its worst column to the anchors.

    A support passes where the sum of its ratios, distance of a column to the anchors over distance to the rest of the
    support, is at most what is allowed.

    Parameters
    ----------
    span : AnchorSpan
        Anchors to start from; grows.
    distribution : SupportDistribution
        Where supports come from.
    max_compatibility : float
        Largest sum of ratios that passes.
    delta, confidence : float
        Fraction of supports that may fail, and the confidence in that.
    max_anchors : int
        Most anchors to add.
    blocks : bool
        Whether every failure also adds a random block of one column less than a support has.

    Attributes
    ----------
    n_tests, n_failures, n_passes : int
        Supports tested, those that failed, and passes in a row of the last anchors.
    n_ill_conditioned : int
        Supports with a condition number beyond 1e12: failures, unless the anchors span them.
    n_blocks : int
        Random blocks added.
    certified : bool
        Whether the passes were enough.
    """

    def __init__(
        self,
        span: AnchorSpan,
        distribution: SupportDistribution,
        *,
        max_compatibility: float,
        delta: float,
        confidence: float,
        max_anchors: int,
        blocks: bool,
    ) -> None:
        self.span, self.distribution = span, distribution
        self.max_compatibility = max_compatibility
        self.delta, self.confidence = delta, confidence
        self.blocks = blocks
        self.n_tests = self.n_failures = self.n_passes = self.n_ill_conditioned = self.n_blocks = 0
        self.certified = False
        self._room = max_anchors

    @property
    def needed(self) -> int:
        """Passes in a row that certify."""
        return needed_passes(self.n_failures, self.delta, self.confidence)

    def run(self) -> Self:
        """Search until enough supports in a row pass, or until there is no room for another anchor.

        Every failure starts a new round: the anchors change, and the count of passes begins again. The anchors of a
        round depend on earlier supports only, so that the supports of the round are a fresh sample for them.
        """
        while self.n_passes < self.needed:
            # No more than could be the last: the stream of supports does not depend on the batches.
            size = min(max(self.n_passes, _SMALLEST_BATCH), _LARGEST_BATCH, self.needed - self.n_passes)
            batch = SupportBatch(self.span.columns, self.distribution.supports(size), self.span.Q)
            if not self._test(batch):
                return self
        self.certified = True
        return self

    def _test(self, batch: SupportBatch) -> bool:
        """Test supports in turn, repairing the anchors after every failure; False if there is no room to."""
        start = 0
        while start < len(batch):
            # 1. Ratios of all supports that are left, against the anchors as they are now.
            ratios = batch.ratios(start)
            ill_conditioned = batch.ill_conditioned[start:] & (ratios > 0).any(axis=1)
            failing = np.flatnonzero((ratios.sum(axis=1) > self.max_compatibility) | ill_conditioned)
            # 2. Count up to the first failure: what comes after it will meet other anchors.
            passed = failing[0] if failing.size else len(batch) - start
            self.n_passes += int(passed)
            stop = start + int(passed) + bool(failing.size)
            self.n_tests += stop - start
            self.n_ill_conditioned += int(np.count_nonzero(batch.ill_conditioned[start:stop]))
            # 3. Repair the anchors, and project what they gained out of the rest of the batch.
            if failing.size:
                if self._room == 0:
                    return False
                known = self.span.Q.shape[1]
                self._repair(batch.supports[stop - 1], ratios[passed])
                batch.remove(self.span.Q[:, known:], stop)
            start = stop
        return True

    def _repair(self, support: IndexArray, ratios: Float64Array) -> None:
        """Add the worst column of a support that failed, and a random block where that is the rule."""
        self.n_failures += 1
        self.n_passes = 0
        self.span.append(int(support[np.argmax(ratios >= ratios.max() * (1 - _TIE))]))
        self._room -= 1
        block_size = self.distribution.size - 1
        if self.blocks and self._room >= block_size:
            for index in self.distribution.block():
                self.span.append(int(index))
            self._room -= block_size
            self.n_blocks += 1
