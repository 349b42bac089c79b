"""A dialogue between an algorithm and an experiment: queries out, rewards in, in any order.

An algorithm is a generator of batches. It yields the actions that it wants to query next, and is sent their rewards. A
session hands out the queries of a batch, a few at a time if wanted, takes rewards as they arrive, and goes on when all
are there. An algorithm that is sent the same rewards yields the same batches. So the log of the session is all that has
to be kept.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bandits.algorithms.log import QueryLog
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["Batch", "Batches", "Session"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Actions that an algorithm wants to query.

    Parameters
    ----------
    actions : ndarray of int
        An action that is to be queried several times stands there several times.
    propensities : ndarray of float, or float
        Probabilities with which the algorithm chose these actions, given what was seen before; 1 where nothing is
        random.
    """

    actions: IndexArray
    propensities: Float64Array | float = 1.0


Batches = Generator[Batch, Float64Array, Any]
"""Yields batches, is sent their rewards in the order of the actions, and returns the result."""


@dataclass(eq=False)
class Session:
    """An algorithm at work.

    Parameters
    ----------
    batches : generator
        The algorithm.
    budget : int or None
        Largest number of queries. What a batch asks beyond it is never handed out, and the algorithm waits for good.
    """

    batches: Batches
    budget: int | None = None
    log: QueryLog = field(default_factory=QueryLog)
    result: Any = None
    finished: bool = False
    failure: Exception | None = None
    interrupted: bool = False
    n_asked: int = 0
    _started: bool = False
    _handed: int = 0

    def __post_init__(self) -> None:
        self._begin(Batch(np.empty(0, dtype=np.intp)))
        self._advance()

    @property
    def exhausted(self) -> bool:
        """Whether the budget is spent, all rewards are in, and the algorithm still wants to query."""
        spent = self.budget is not None and self.n_asked >= self.budget
        return spent and not self.finished and len(self.log) == self.n_asked

    @property
    def open(self) -> IndexArray:
        """Actions of the queries that were handed out and not answered."""
        return self._actions[: self._handed][self._open[: self._handed]]

    def ask(self, n: int | None = None) -> IndexArray:
        """Return the next actions to query: at most `n`, and none while the algorithm waits or after its end.

        An algorithm that gave up with an error gives up again.
        """
        if self.failure is not None:
            raise self.failure
        stop = len(self._actions) if n is None else min(self._handed + n, len(self._actions))
        if self.budget is not None:
            stop = min(stop, self._handed + self.budget - self.n_asked)
        handed = self._actions[self._handed : stop]
        self.n_asked += len(handed)
        self._handed = stop
        return handed.copy()

    def tell(self, actions: ArrayLike, rewards: ArrayLike) -> None:
        """Take rewards of queries that were handed out, late ones and in any order.

        Raises
        ------
        ValueError
            If an action has no open query, or a reward is not finite; nothing is taken then.
        """
        told, answers = _told(actions, rewards)
        slots = self._slots(told)
        self._answers[slots] = answers
        self._open[slots] = False
        self.log.add(told, answers, self._propensities[slots])
        self._n_open -= len(told)
        if self._n_open == 0 and len(self._actions):
            self._advance()

    def replay(self, actions: IndexArray, rewards: Float64Array, n_asked: int) -> None:
        """Take the answers of a log in its order, and hand out as many queries as had been handed out.

        If the algorithm gave up with an error then, it has given up again, and the answers can be read.
        """
        at = 0
        while at < len(actions):
            self.ask()
            stop = at + min(self._handed, len(actions) - at)
            if stop == at:
                raise ValueError("the saved answers must be those of this algorithm; got more than it asks for")
            try:
                self.tell(actions[at:stop], rewards[at:stop])
            except Exception:
                if self.failure is None:
                    raise
                return
            at = stop
        too_many = self.n_asked - n_asked
        if too_many > 0:
            self._handed -= too_many
            self.n_asked -= too_many
        elif too_many < 0:
            self.ask(-too_many)

    def _slots(self, told: IndexArray) -> IndexArray:
        """Return the first open queries of the actions, all different."""
        order = np.argsort(told, kind="stable")
        actions = told[order]
        group = np.minimum(np.searchsorted(self._distinct, actions), max(len(self._distinct) - 1, 0))
        # Of equal actions the first takes the first open query, the second the next one, and so on.
        repeat = np.arange(len(told)) - np.searchsorted(actions, actions)
        known = np.zeros(len(told), dtype=bool)
        if len(self._distinct):
            at = self._first[group] + self._taken[group] + repeat
            known = (self._distinct[group] == actions) & (at < self._first[group + 1])
            known[known] = self._by_action[at[known]] < self._handed
        if not known.all():
            action = actions[np.argmin(known)]
            raise ValueError(f"actions must have been asked for, and not been answered; got action {action}")
        slots = np.empty(len(told), dtype=np.intp)
        if len(told):
            np.add.at(self._taken, group, 1)
            slots[order] = self._by_action[at]
        return slots

    def _advance(self) -> None:
        """Send the rewards of a batch, and take the next batch that asks for something."""
        try:
            batch = next(self.batches) if not self._started else self.batches.send(self._answers)
            while not len(batch.actions):
                batch = self.batches.send(np.empty(0))
        except StopIteration as stop:
            self.result, self.finished = stop.value, True
            batch = Batch(np.empty(0, dtype=np.intp))
        except Exception as failure:
            self.failure = failure
            raise
        except BaseException:
            # A generator that was interrupted cannot go on. The log holds what is needed to make another one.
            self.interrupted = True
            raise
        self._begin(batch)
        self._started = True

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "batches": None}  # a generator cannot be pickled; one that has finished is not needed

    def _begin(self, batch: Batch) -> None:
        n = len(batch.actions)
        self._actions = np.asarray(batch.actions, dtype=np.intp)
        self._propensities: AnyArray = np.broadcast_to(np.asarray(batch.propensities, dtype=np.float64), (n,))
        self._answers = np.empty(n)
        self._open = np.ones(n, dtype=bool)
        self._n_open, self._handed = n, 0
        # Queries sorted by action: those of one action are answered in their order.
        self._by_action = np.argsort(self._actions, kind="stable")
        self._distinct, counts = np.unique(self._actions, return_counts=True)
        self._first = np.append(0, np.cumsum(counts))
        self._taken = np.zeros(len(self._distinct), dtype=np.intp)


def _told(actions: ArrayLike, rewards: ArrayLike) -> tuple[IndexArray, Float64Array]:
    told = np.atleast_1d(np.asarray(actions))
    if told.dtype.kind not in "iu" and told.size:
        raise ValueError(f"actions must be integers; got {told.dtype}")
    try:
        answers = np.atleast_1d(np.array(rewards, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ValueError(f"rewards must be real numbers; got {rewards!r}") from error
    if told.ndim != 1 or told.shape != answers.shape:
        raise ValueError(f"rewards must be one for each of {told.size} actions; got shape {answers.shape}")
    finite = np.isfinite(answers)
    if not finite.all():
        at = int(np.argmin(finite))
        raise ValueError(f"rewards must be finite; got {float(answers[at])!r} for action {told[at]}")
    return told.astype(np.intp), answers
