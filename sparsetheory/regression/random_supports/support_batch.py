"""How close the columns of many supports are to anchors, compared with the rest of their support."""

import numpy as np

from sparsetheory.regression.columns import NEGLIGIBLE, Columns
from sparsetheory.regression.distances import inverse_factor
from sparsetheory.regression.orthonormal import column_norms
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["SupportBatch", "own_distances"]


# Distances within a support worse conditioned than this are not reliable.
_ILL_CONDITIONED = 1e12
# From here on a support may contain dependent columns, and is looked at alone.
_SUSPECT = 1e11


class SupportBatch:
    """Supports that were drawn together, and what the span of some anchors leaves of their columns.

    Their columns are gathered once. Distances within a support are computed once; what anchors leave is updated as
    they grow.

    Parameters
    ----------
    columns : Columns
        Design; what its basis spans is in every model.
    supports : ndarray of int, shape (n_supports, n_nonzero)
        Columns of each support.
    Q : ndarray of shape (n_samples, rank)
        Orthonormal basis of the anchors and of that of `columns`.

    Attributes
    ----------
    ill_conditioned : ndarray of bool, shape (n_supports,)
        Supports of which even an independent subset has a condition number beyond 1e12.
    """

    def __init__(self, columns: Columns, supports: IndexArray, Q: Float64Array) -> None:
        self.supports = supports
        raw = columns.raw(supports.ravel())
        self._negligible = NEGLIGIBLE * column_norms(raw).reshape(supports.shape)
        own = columns.project(raw)
        self._own, self.ill_conditioned = own_distances(own, supports.shape[1])
        self._left = _outside(own, Q)
        self._distances = column_norms(self._left).reshape(supports.shape)

    def __len__(self) -> int:
        return self.supports.shape[0]

    def ratios(self, start: int = 0) -> Float64Array:
        """Return, from `start` on, distance to the anchors over distance to the rest of the support, a row per support.

        Zero where the distance to the anchors is rounding, and for columns that depend on others of their support.
        """
        distances = self._distances[start:]
        return np.where(distances > self._negligible[start:], distances, 0.0) / self._own[start:]

    def remove(self, directions: Float64Array, start: int) -> None:
        """Project new directions, orthonormal to the old ones, out of all supports from `start` on."""
        k = self.supports.shape[1]
        left = self._left[:, start * k :]
        left -= directions @ (directions.T @ left)
        self._distances[start:] = column_norms(left).reshape(-1, k)


def _outside(vectors: Float64Array, Q: Float64Array) -> Float64Array:
    """Project out a basis; Fortran order.

    Once is enough for lengths: what rounding leaves inside the span is orthogonal to the rest.
    """
    # Transposed, so that the product is in Fortran order without a copy.
    return np.asarray((vectors.T - (vectors.T @ Q) @ Q.T).T)


def own_distances(columns: Float64Array, n_nonzero: int) -> tuple[Float64Array, BoolArray]:
    """Return leave-one-out lengths of many supports at once.

    Parameters
    ----------
    columns : ndarray of shape (n_samples, n_supports * n_nonzero)
        The columns of the supports, one after the other.
    n_nonzero : int
        Columns of a support, between 1 and n_samples.

    Returns
    -------
    distances : ndarray of shape (n_supports, n_nonzero)
        Euclidean lengths; infinite for columns that depend on others, as in :func:`leave_one_out_distances`.
    ill_conditioned : ndarray of bool, shape (n_supports,)
        Whether the condition number is beyond 1e12 all the same.
    """
    norms = column_norms(columns)
    norms[norms == 0] = 1.0
    stacked = columns.T.reshape(-1, n_nonzero, columns.shape[0]).transpose(0, 2, 1)
    triangles = np.asarray(np.linalg.qr(stacked, mode="r"))
    # Householder reflections do not depend on the scales of columns: small factors are cheaper to normalise.
    triangles /= norms.reshape(-1, 1, n_nonzero)
    suspect = np.abs(np.diagonal(triangles, axis1=1, axis2=2)).min(axis=1) * _SUSPECT < 1
    triangles[suspect] = np.eye(n_nonzero)
    # The inverse of a triangular matrix: partial pivoting moves nothing, so this is back substitution.
    growth = np.linalg.norm(np.linalg.inv(triangles), axis=2)
    suspect |= growth.max(axis=1) > _SUSPECT
    distances = 1.0 / growth
    ill_conditioned = np.zeros(suspect.size, dtype=bool)
    for i in np.flatnonzero(suspect):
        own = slice(i * n_nonzero, (i + 1) * n_nonzero)
        distances[i], ill_conditioned[i] = _dependent(columns[:, own] / norms[own])
    return distances * norms.reshape(-1, n_nonzero), ill_conditioned


def _dependent(unit: Float64Array) -> tuple[Float64Array, bool]:
    """Measure one support whose columns may depend on each other, one column after the other by pivots."""
    W, kept = inverse_factor(unit)
    growth = np.linalg.norm(W, axis=1)
    distances = np.full(unit.shape[1], np.inf)
    distances[kept] = 1.0 / growth
    return distances, bool(growth.max(initial=0.0) > _ILL_CONDITIONED)
