"""What all estimators of sparse Bayesian learning share: their history, the fit of nothing, and one warning."""

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bayesian.kronecker.algebra import squared_modulus
from sparsetheory.bayesian.noise import known_noise
from sparsetheory.typing import IndexArray, InexactArray

__all__ = ["SBLEstimator", "cost_rises"]

# A cost is a sum of terms of size up to about itself plus one, each known to some units of rounding.
_ROUNDING = 1e-9


def cost_rises(path: ArrayLike) -> IndexArray:
    """Return the steps of a path after which the cost was higher than before, by more than rounding.

    Parameters
    ----------
    path : array-like of shape (n + 1,)
        Costs.

    Returns
    -------
    ndarray of int
        Indices i, counted from 0, with ``path[i + 1] > path[i]``.
    """
    costs = np.asarray(path, dtype=np.float64)
    return np.flatnonzero(np.diff(costs) > _ROUNDING * (1.0 + np.abs(costs[:-1])))


class SBLEstimator(BaseEstimator):
    """An estimator that learns variances, and maybe that of the noise, by lowering minus the log evidence."""

    noise_variance: float | str
    max_iter: int
    tol: float

    def _keep_history(self, costs: ArrayLike, Y: InexactArray, volume: float, **columns: Any) -> None:
        """Store the history, and the log evidence at its end.

        Parameters
        ----------
        costs : array-like of shape (n_iter + 1,)
            Costs in the units of the solver.
        Y : ndarray of shape (M,) or (M, n_snapshots)
            Measurements; their dtype is that of the model.
        volume : float
            Constant that the unit of the data adds to the costs.
        **columns
            What else was recorded.
        """
        # Rises are found before the constant is added, beside which they might be taken for rounding.
        self.cost_rises_ = cost_rises(costs)
        cost = np.asarray(costs, dtype=np.float64) + volume
        self.history_ = {"cost": cost, **columns}
        # Log density of circular complex, or of real Gaussians.
        is_complex, n_snapshots = np.iscomplexobj(Y), math.prod(Y.shape[1:])
        constant = Y.shape[0] * math.log(math.pi if is_complex else 2.0 * math.pi)
        self.log_evidence_ = -(1.0 if is_complex else 0.5) * n_snapshots * (constant + float(cost[-1]))

    def _keep_noise_alone(self, Y: InexactArray, **columns: Any) -> None:
        """Store noise and history of a fit in which all variances are zero, so that noise alone explains y."""
        square, known = float(squared_modulus(Y).mean()), known_noise(self.noise_variance)
        noise = square if known is None else known
        cost = math.log(noise) + square / noise if noise > 0 else -math.inf
        self.noise_variance_, self.n_iter_, self.converged_ = noise, 0, True
        self._keep_history([Y.shape[0] * cost], Y, 0.0, noise_variance=np.array([noise]), **columns)

    def _warn_that_it_moves(self, what: str) -> None:
        """Warn that the limit of updates was reached, unless the tolerance of zero asked for just that."""
        if self.tol > 0:
            warnings.warn(
                f"{what}, after {self.max_iter} updates; raise max_iter or tol", ConvergenceWarning, stacklevel=3
            )
