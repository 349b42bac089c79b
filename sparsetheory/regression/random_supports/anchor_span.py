"""The span of anchors: an orthonormal basis that grows with them."""

import numpy as np

from sparsetheory.regression.columns import Columns
from sparsetheory.regression.orthonormal import GrowingColumns, extend_basis, outside
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["AnchorSpan", "check_rank"]


def check_rank(rank: int, n_samples: int) -> None:
    """Raise ValueError where the span of some anchors leaves too little to fit anything in."""
    if rank >= n_samples - 2:
        raise ValueError(
            f"anchors span almost the whole sample space: {rank} of {n_samples} dimensions; "
            "take fewer (n_anchors, max_anchors, anchors, forced)"
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
        Tolerance, relative to the norm of an anchor: one that is closer to the span than this adds no direction.

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
        self._basis = GrowingColumns(np.empty((columns.n_samples, 0)) if always is None else always)
        self.add(forced)

    @property
    def Q(self) -> Float64Array:
        """Orthonormal basis, shape (n_samples, rank)."""
        return self._basis.filled

    def add(self, indices: IndexArray) -> None:
        """Append many anchors, by one factorisation."""
        new = np.setdiff1d(indices, self.indices)
        if new.size:
            self._basis = GrowingColumns(extend_basis(self.Q, self.columns.raw(new), self.rtol)[0])
            self.indices += new.tolist()
            check_rank(self._basis.size, self.columns.n_samples)

    def append(self, index: int) -> None:
        """Append one anchor by two Gram-Schmidt steps, O(n_samples * rank)."""
        if index in self.indices:
            return
        column = self.columns.raw(np.array([index]))[:, 0]
        left = outside(self.Q, outside(self.Q, column))
        length = np.linalg.norm(left)
        self.indices.append(index)
        if length > self.rtol * np.linalg.norm(column):
            self._basis.append(left / length)
            check_rank(self._basis.size, self.columns.n_samples)
