"""The steps of forward-backward splitting on a batch of codes, plain and accelerated."""

import numpy as np

from sparsetheory.coding.codes.objective import SquaredResidual
from sparsetheory.penalties.per_feature import PenaltyRows
from sparsetheory.typing import BoolArray, Float64Array, FloatArray

__all__ = ["AcceleratedBatch", "Batch", "GuardedBatch"]


# An accelerated point must lower the objective by this times its squared distance over the step.
_SUFFICIENT = 1e-4


class Batch:
    """Codes that take plain steps.

    Parameters
    ----------
    loss : SquaredResidual
        Of the signals of the batch.
    penalty : PenaltyRows
        Of one row.
    codes : ndarray of shape (n_samples, n_atoms)
        To start from; not written to.
    step : float
        Step size.

    Attributes
    ----------
    codes, state : ndarray
        Current codes, and their states under `loss`.
    """

    def __init__(self, loss: SquaredResidual, penalty: PenaltyRows, codes: FloatArray, step: float) -> None:
        self.loss = loss
        self.penalty = penalty
        self.step = step
        self.codes = codes
        self.state = loss.state(codes)

    def objectives(self) -> Float64Array:
        """Return the objective of every code."""
        return self.loss.values(self.state, self.codes) + self.penalty.values(self.codes)

    def advance(self) -> Float64Array:
        """Take one step; return per code the largest change of an entry, over the largest entry."""
        old = self.codes
        self._move_to(self._stepped(old, self.state))
        return _relative_change(old, self.codes)

    def keep(self, rows: BoolArray) -> None:
        """Forget the other codes."""
        self.loss.keep(rows)
        self.codes, self.state = self.codes[rows], self.state[rows]

    def _stepped(self, points: FloatArray, states: FloatArray) -> FloatArray:
        out = self.loss.descent(states)
        out *= out.dtype.type(self.step)
        out += points
        return self.penalty.threshold(out, self.step)

    def _move_to(self, codes: FloatArray) -> None:
        self.codes, self.state = codes, self.loss.state(codes)


class AcceleratedBatch(Batch):
    """Codes that take steps from extrapolated points: FISTA.

    Parameters
    ----------
    loss, penalty, codes, step
        As for :class:`Batch`.
    restart : bool
        Whether codes that move uphill lose their momentum.
    """

    def __init__(
        self, loss: SquaredResidual, penalty: PenaltyRows, codes: FloatArray, step: float, *, restart: bool
    ) -> None:
        super().__init__(loss, penalty, codes, step)
        self.restart = restart
        self.points, self.point_state = self.codes, self.state
        self.age = np.ones(codes.shape[0])

    def advance(self) -> Float64Array:
        """Take one step from the extrapolated points; return its relative length as :meth:`Batch.advance` does."""
        old, old_state = self.codes, self.state
        self._move_to(self._stepped(self.points, self.point_state))
        self._correct(old, old_state)
        moved = _relative_change(self.points, self.codes)
        self._extrapolate(old, old_state)
        return moved

    def keep(self, rows: BoolArray) -> None:
        """Forget the other codes."""
        super().keep(rows)
        self.points, self.point_state, self.age = self.points[rows], self.point_state[rows], self.age[rows]

    def _correct(self, old: FloatArray, old_state: FloatArray) -> None:
        """Forget the momentum of codes whose move makes an obtuse angle with the step that led there."""
        if self.restart:
            self.age[np.einsum("ij,ij->i", self.points - self.codes, self.codes - old) > 0] = 1.0

    def _extrapolate(self, old: FloatArray, old_state: FloatArray) -> None:
        older = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * self.age**2))
        weight = ((self.age - 1.0) / older).astype(self.codes.dtype)[:, None]
        self.points = _beyond(old, self.codes, weight)
        self.point_state = _beyond(old_state, self.state, weight)
        self.age = older


class GuardedBatch(AcceleratedBatch):
    """Codes that keep an extrapolated step only where it lowers the objective enough, for penalties not convex."""

    def __init__(
        self, loss: SquaredResidual, penalty: PenaltyRows, codes: FloatArray, step: float, *, restart: bool
    ) -> None:
        super().__init__(loss, penalty, codes, step, restart=restart)
        self.value = self.objectives()

    def keep(self, rows: BoolArray) -> None:
        """Forget the other codes."""
        super().keep(rows)
        self.value = self.value[rows]

    def _correct(self, old: FloatArray, old_state: FloatArray) -> None:
        reached, move = self.objectives(), self.codes - old
        needed = _SUFFICIENT / self.step * np.einsum("ij,ij->i", move, move, dtype=np.float64)
        refused = np.flatnonzero(reached > self.value - needed)
        if refused.size:
            self.points[refused] = old[refused]
            plain = self._stepped(old[refused], old_state[refused])
            state = self.loss.state(plain, refused)
            self.codes[refused], self.state[refused] = plain, state
            reached[refused] = self.loss.values(state, plain, refused) + self.penalty.values(plain)
            if self.restart:
                self.age[refused] = 1.0
        self.value = reached


def _relative_change(old: FloatArray, new: FloatArray) -> Float64Array:
    """Return per row the largest change over the largest new entry; 0 where nothing changes."""
    difference = new - old
    change = np.abs(difference, out=difference).max(axis=1)
    size = np.abs(new).max(axis=1)
    # Most steps leave no code at zero.
    if size.all():
        return np.asarray(change / size)
    return np.divide(change, size, out=np.where(change > 0, np.inf, 0.0), where=size > 0)


def _beyond(old: FloatArray, new: FloatArray, weight: FloatArray) -> FloatArray:
    out = new - old
    out *= weight
    out += new
    return out
