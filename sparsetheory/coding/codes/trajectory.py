"""What happened at every step of an iteration on many codes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsetheory.typing import Float64Array, FloatArray, IndexArray, Int64Array

__all__ = ["Recorder", "Trajectory"]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Objectives, moves and support changes, step by step.

    A code that has left the batch keeps its objective and does not move.

    Attributes
    ----------
    objective : ndarray of shape (n_steps + 1, n_samples)
        At the start and after every step.
    change : ndarray of shape (n_steps, n_samples)
        Euclidean norm of the move.
    flips : ndarray of int of shape (n_steps, n_samples)
        Entries that became zero or ceased to be.
    """

    objective: Float64Array
    change: Float64Array
    flips: Int64Array

    @classmethod
    def beside(cls, parts: Sequence["Trajectory"]) -> "Trajectory":
        """Join the trajectories of disjoint sets of signals; the shorter ones stand still at the end."""
        longest = max(part.change.shape[0] for part in parts)
        missing = [((0, longest - part.change.shape[0]), (0, 0)) for part in parts]
        pairs = list(zip(parts, missing, strict=True))
        return cls(
            np.hstack([np.pad(part.objective, pad, mode="edge") for part, pad in pairs]),
            np.hstack([np.pad(part.change, pad) for part, pad in pairs]),
            np.hstack([np.pad(part.flips, pad) for part, pad in pairs]),
        )


class Recorder:
    """Collects a :class:`Trajectory`.

    Parameters
    ----------
    objective : ndarray of shape (n_samples,)
        At the start.
    """

    def __init__(self, objective: Float64Array) -> None:
        self._objective = [objective]
        self._change: list[Float64Array] = []
        self._flips: list[Int64Array] = []

    def add(self, rows: IndexArray, old: FloatArray, new: FloatArray, objective: Float64Array) -> None:
        """Record one step of some rows; the others stood still."""
        latest, change = self._objective[-1].copy(), np.zeros(self._objective[-1].size)
        flips = np.zeros(change.size, np.int64)
        move = new - old
        latest[rows] = objective
        change[rows] = np.sqrt(np.einsum("ij,ij->i", move, move, dtype=np.float64))
        flips[rows] = np.count_nonzero((new != 0) != (old != 0), axis=1)
        self._objective.append(latest)
        self._change.append(change)
        self._flips.append(flips)

    def trajectory(self) -> Trajectory:
        """Return what was recorded."""
        shape = (len(self._change), self._objective[0].size)
        return Trajectory(
            np.array(self._objective),
            np.array(self._change).reshape(shape),
            np.array(self._flips, np.int64).reshape(shape),
        )
