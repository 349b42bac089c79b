"""Scores for which earlier tasks have no gradients."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from sparsetheory.gpu.core.hooks.snapshots import Score, Snapshot

__all__ = ["without_used_gradients"]


def without_used_gradients(score: Score, used: Callable[[int], Tensor]) -> Score:
    """Return a score that sees gradients of zero where earlier tasks have their weights.

    So growth by gradient never chooses such an entry before another one, and random growth still does.

    Parameters
    ----------
    score : callable
    used : callable
        From the index of a mask of the controller to the entries of earlier tasks, a tensor of bool.

    Returns
    -------
    callable
    """
    return _WatchingScore(score, used) if hasattr(score, "observe") else _BlindScore(score, used)


class _BlindScore:
    def __init__(self, score: Any, used: Callable[[int], Tensor]) -> None:
        self._score, self._used = score, used

    def __call__(self, snapshot: Snapshot) -> Tensor:
        seen = tuple(g if g is None else g.masked_fill(self._used(snapshot.index), 0) for g in snapshot.gradients)
        return self._score(replace(snapshot, gradients=seen))


class _WatchingScore(_BlindScore):
    """One that is shown gradients at every step, and is stored."""

    def observe(self, index: int, gradient: Tensor) -> None:
        self._score.observe(index, gradient.masked_fill(self._used(index), 0))

    def state_dict(self) -> dict[str, Any]:
        return self._score.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._score.load_state_dict(state)
