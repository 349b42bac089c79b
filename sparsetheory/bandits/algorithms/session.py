"""A dialogue between an algorithm and an experiment: questions out, rewards in, in any order.

An algorithm is a generator of questions. It yields the actions it wants to query next, and is sent their rewards. A
session hands these questions out one by one, keeps what was asked and not yet answered, and goes on when an answer to
each is there. What was answered is a log. A generator that is fed the same rewards asks the same questions, so the log
is all that has to be saved.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["Questions", "Session"]

Questions = Generator[IndexArray, Float64Array, Any]
"""Yields actions to query, is sent their rewards, and returns the result."""


@dataclass(eq=False)
class Session:
    """An algorithm at work.

    Parameters
    ----------
    questions : generator
        The algorithm.
    budget : int or None
        Largest number of queries; the algorithm is stopped before a question that would exceed it.
    """

    questions: Questions
    budget: int | None = None
    actions: list[int] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    result: Any = None
    finished: bool = False

    def __post_init__(self) -> None:
        self._batch: IndexArray = np.empty(0, dtype=np.intp)
        self._answers: Float64Array = np.empty(0)
        self._asked = 0
        self._advance(None)

    def ask(self, count: int | None = None) -> IndexArray:
        """Return the next actions to query: at most `count`, and none where the algorithm waits or has finished."""
        stop = len(self._batch) if count is None else min(self._asked + count, len(self._batch))
        if self.budget is not None:
            stop = min(stop, self._asked + max(self.budget - self.n_asked, 0))
        handed = self._batch[self._asked : stop]
        self._asked = max(stop, self._asked)
        return handed

    @property
    def n_asked(self) -> int:
        """Number of queries handed out so far."""
        return len(self.actions) - int(np.isfinite(self._answers).sum()) + self._asked

    def tell(self, actions: ArrayLike, rewards: ArrayLike) -> None:
        """Take rewards of actions that were asked for, late ones and in any order."""
        for action, reward in zip(np.atleast_1d(actions).tolist(), np.atleast_1d(rewards).tolist(), strict=True):
            waiting = np.flatnonzero((self._batch[: self._asked] == action) & np.isnan(self._answers[: self._asked]))
            if not waiting.size:
                raise ValueError(f"actions must have been asked for and not been answered; got action {action}")
            if not np.isfinite(reward):
                raise ValueError(f"rewards must be finite; got {reward!r} for action {action}")
            self._answers[waiting[0]] = reward
            self.actions.append(action)
            self.rewards.append(reward)
        if self._batch.size and not np.isnan(self._answers).any():
            self._advance(self._answers)

    def _advance(self, answers: Float64Array | None) -> None:
        try:
            batch = next(self.questions) if answers is None else self.questions.send(answers)
            while not len(batch):  # nothing to ask: the algorithm goes on by itself
                batch = self.questions.send(np.empty(0))
        except StopIteration as stop:
            self.result, self.finished = stop.value, True
            batch = np.empty(0, dtype=np.intp)
        self._batch, self._asked = np.asarray(batch, dtype=np.intp), 0
        self._answers = np.full(len(self._batch), np.nan)
