"""Moments of a Gaussian posterior with a diagonal prior, from what the measurements say."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetheory.bayesian.kronecker.algebra import contract, squared_modulus
from sparsetheory.typing import Float64Array, InexactArray

__all__ = ["PosteriorMoments"]


class PosteriorMoments:
    r"""Moments in terms of :math:`S = A^H C^{-1} y` and :math:`q = \mathrm{diag}(A^H C^{-1} A)`.

    A subclass has `prior` and `q` of one shape, and `S` of that shape or with an axis of snapshots behind it; also the
    factors `variances` of the prior, the noise variance and its next value `noise_em`, the number of measurements
    `n_rows`, and `condition`, a bound of the condition number of C. Means are products, not differences of large
    numbers as :math:`\Sigma A^H y / \sigma^2` would be.
    """

    if TYPE_CHECKING:
        S: Any
        q: Any

        variances: Any
        noise_variance: Any
        noise_em: Any
        condition: Any
        n_rows: Any

        @property
        def prior(self) -> Any: ...  # noqa: D102

    def _prior_of_snapshots(self) -> Float64Array:
        return self.prior[..., None] if self.S.ndim > self.q.ndim else self.prior

    @property
    def mean(self) -> InexactArray:
        """Posterior mean, of the shape of `S`."""
        return self._prior_of_snapshots() * self.S

    @property
    def var(self) -> Float64Array:
        """Posterior variances, of the shape of `q`; the same for every snapshot."""
        return np.maximum(self.prior - self.prior * self.prior * self.q, 0.0)

    @cached_property
    def power(self) -> Float64Array:
        """Squared modulus of S, averaged over snapshots."""
        squares = squared_modulus(self.S)
        return squares.mean(axis=-1) if squares.ndim > self.q.ndim else squares

    @property
    def second_moment(self) -> Float64Array:
        """Posterior second moments, averaged over snapshots: what maximisation steps need."""
        return self.var + self.prior * self.prior * self.power

    def grad_log(self, k: int) -> Float64Array:
        """Return the derivative of the cost by the logarithms of one factor.

        Parameters
        ----------
        k : int
            Mode.

        Returns
        -------
        ndarray of shape (N_k,)
            Zero where the factor is zero.
        """
        return self.variances[k] * contract(self.q - self.power, self.variances, k)

    @property
    def grad_log_noise(self) -> float:
        """Derivative of the cost by the logarithm of the noise variance."""
        return float(self.n_rows - self.n_rows * self.noise_em / self.noise_variance)

    @property
    def rounding(self) -> float:
        """What rounding leaves of a derivative per measurement: both terms, at most one each, carry C^-1 twice."""
        return 4.0 * float(np.finfo(np.float64).eps) * float(self.condition)
