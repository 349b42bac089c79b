"""Anchors found by testing random supports and repairing those that fail."""

import math
from dataclasses import dataclass

import numpy as np

from sparsetheory.regression.columns import Columns
from sparsetheory.regression.distances import extend_basis
from sparsetheory.regression.random_supports.support_batch import SupportBatch
from sparsetheory.regression.random_supports.support_distribution import SupportLaw
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["AnchorSearch", "AnchorSpan", "SearchRules", "check_rank", "needed_passes", "proved_share"]

# Supports are gathered and factorised together, in batches that grow while they pass: a failure costs an update of
# the rest of its batch.
_SMALLEST_BATCH, _LARGEST_BATCH = 4, 32
# Ratios that agree to this share are equal: which is larger would depend on rounding.
_TIE = 1e-6


def _log_rounds(failures: int, beta: float) -> float:
    # All rounds together go wrong with probability at most beta: sum of 1/((F+1)(F+2)) = 1.
    return math.log((failures + 1) * (failures + 2) / beta)


def needed_passes(failures: int, delta: float, beta: float) -> int:
    """Return how many supports in a row must pass after some failures.

    Supports that fail with probability above delta pass n times in a row with probability at most
    ``(1 - delta)^n <= beta / ((F + 1)(F + 2))``; over all F these add up to beta.

    Examples
    --------
    >>> needed_passes(0, 0.05, 0.05), needed_passes(47, 0.05, 0.05)
    (74, 216)
    """
    return math.ceil(_log_rounds(failures, beta) / delta)


def proved_share(failures: int, passes: int, beta: float) -> float:
    """Return the smallest share of failing supports that so many passes in a row exclude; 1 without any."""
    return -math.expm1(-_log_rounds(failures, beta) / passes) if passes else 1.0


def check_rank(rank: int, n_samples: int) -> None:
    """Raise ValueError where the span of some anchors leaves too little to fit anything in."""
    if rank >= n_samples - 2:
        raise ValueError(
            f"anchors span almost the whole sample space: {rank} of {n_samples} dimensions; "
            "take fewer (m, m_max, anchors, forced)"
        )


class AnchorSpan:
    """Anchors and an orthonormal basis of their span, both growing.

    Parameters
    ----------
    columns : Columns
        Design; the basis starts from what is in every model.
    forced : ndarray of int
        First anchors.
    rtol : float
        Anchors closer than this share of their norm to the span add no direction.

    Attributes
    ----------
    indices : list of int
        Anchors in the order of their arrival.
    """

    def __init__(self, columns: Columns, forced: IndexArray, rtol: float) -> None:
        self.columns = columns
        self.rtol = rtol
        self.indices: list[int] = []
        always = columns.basis
        self._set(np.empty((columns.n_samples, 0)) if always is None else always)
        self.add(forced)

    @property
    def Q(self) -> Float64Array:
        """Orthonormal basis, shape (n_samples, rank)."""
        return self._room[:, : self._rank]

    def add(self, indices: IndexArray) -> None:
        """Append many anchors, by one factorisation."""
        new = np.setdiff1d(indices, self.indices)
        if new.size:
            self._set(extend_basis(self.Q, self.columns.raw(new), self.rtol)[0])
            self.indices += new.tolist()
            check_rank(self._rank, self.columns.n_samples)

    def append(self, index: int) -> None:
        """Append one anchor by two Gram-Schmidt steps, O(n_samples * rank)."""
        if index in self.indices:
            return
        column = self.columns.raw(np.array([index]))[:, 0]
        left = self._outside(self._outside(column))
        length = np.linalg.norm(left)
        self.indices.append(index)
        if length > self.rtol * np.linalg.norm(column):
            if self._rank == self._room.shape[1]:
                self._set(self.Q)
            self._room[:, self._rank] = left / length
            self._rank += 1
            check_rank(self._rank, self.columns.n_samples)

    def _outside(self, vector: Float64Array) -> Float64Array:
        return np.asarray(vector - self.Q @ (self.Q.T @ vector))

    def _set(self, Q: Float64Array) -> None:
        """Store a basis, with room to grow."""
        self._rank = Q.shape[1]
        self._room = np.empty((Q.shape[0], 2 * self._rank + 16), order="F")
        self._room[:, : self._rank] = Q


@dataclass(frozen=True)
class SearchRules:
    """When a support passes, and when the search ends.

    Attributes
    ----------
    max_compatibility : float
        Largest sum of ratios that passes.
    delta, beta : float
        Share of supports that may fail, and one minus the confidence.
    limit : int
        Most anchors to add.
    blocks : bool
        Whether every failure also adds a random block of k - 1 columns.
    """

    max_compatibility: float
    delta: float
    beta: float
    limit: int
    blocks: bool


class AnchorSearch:
    """Draw supports until enough in a row pass; each that fails adds its worst column to the anchors.

    Parameters
    ----------
    span : AnchorSpan
        Anchors to start from; grows.
    law : SupportLaw
        Where supports come from.
    rules : SearchRules
        As above.

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

    def __init__(self, span: AnchorSpan, law: SupportLaw, rules: SearchRules) -> None:
        self.span, self.law, self.rules = span, law, rules
        self.n_tests = self.n_failures = self.n_passes = self.n_ill_conditioned = self.n_blocks = 0
        self._room = rules.limit
        self.certified = self._run()

    @property
    def needed(self) -> int:
        """Passes in a row that certify."""
        return needed_passes(self.n_failures, self.rules.delta, self.rules.beta)

    def _run(self) -> bool:
        while self.n_passes < self.needed:
            # No more than could be the last: the stream of supports does not depend on the batches.
            size = min(max(self.n_passes, _SMALLEST_BATCH), _LARGEST_BATCH, self.needed - self.n_passes)
            if not self._test(SupportBatch(self.span.columns, self.law.supports(size), self.span.Q)):
                return False
        return True

    def _test(self, batch: SupportBatch) -> bool:
        """Test supports in turn, repairing the anchors after every failure; False if there is no room to."""
        start = 0
        while start < len(batch):
            ratios = batch.ratios(start)
            ill_conditioned = batch.ill_conditioned[start:] & (ratios > 0).any(axis=1)
            failing = np.flatnonzero((ratios.sum(axis=1) > self.rules.max_compatibility) | ill_conditioned)
            passed = failing[0] if failing.size else len(batch) - start
            self.n_passes += int(passed)
            stop = start + int(passed) + bool(failing.size)
            self.n_tests += stop - start
            self.n_ill_conditioned += int(np.count_nonzero(batch.ill_conditioned[start:stop]))
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
        if self.rules.blocks and self._room >= self.law.size - 1:
            for index in self.law.block():
                self.span.append(int(index))
            self._room -= self.law.size - 1
            self.n_blocks += 1
