"""Moments of a Gaussian posterior with a diagonal prior, from what the measurements say."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsetheory.bayesian.kron_algebra import squared_modulus

__all__ = ["PosteriorMoments"]

_Array = NDArray[np.inexact]
_Real = NDArray[np.float64]


class PosteriorMoments:
    r"""Moments in terms of :math:`S = A^H C^{-1} y` and :math:`q = \mathrm{diag}(A^H C^{-1} A)`.

    A subclass has `prior` and `q` of one shape, and `S` of that shape or with an axis of snapshots behind it. Means
    are products, not differences of large numbers as :math:`\Sigma A^H y / \sigma^2` would be.
    """

    if TYPE_CHECKING:
        S: Any
        q: Any

        @property
        def prior(self) -> Any: ...  # noqa: D102

    def _prior_of_snapshots(self) -> _Real:
        return self.prior[..., None] if self.S.ndim > self.q.ndim else self.prior

    @property
    def mean(self) -> _Array:
        """Posterior mean, of the shape of `S`."""
        return self._prior_of_snapshots() * self.S

    @property
    def var(self) -> _Real:
        """Posterior variances, of the shape of `q`; the same for every snapshot."""
        return np.maximum(self.prior - self.prior * self.prior * self.q, 0.0)

    @cached_property
    def power(self) -> _Real:
        """Squared modulus of S, averaged over snapshots."""
        squares = squared_modulus(self.S)
        return squares.mean(axis=-1) if squares.ndim > self.q.ndim else squares

    @property
    def second_moment(self) -> _Real:
        """Posterior second moments, averaged over snapshots: what maximisation steps need."""
        return self.var + self.prior * self.prior * self.power
