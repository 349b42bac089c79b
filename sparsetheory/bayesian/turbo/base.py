"""What the estimators of Turbo-VBI keep of a fit."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from sparsetheory.bayesian.turbo.elbo import TurboState
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["TurboEstimator"]


class TurboEstimator(RegressorMixin, BaseEstimator):
    """A sparse linear model with a variational posterior of coefficients, precisions, support and noise."""

    def _keep_factors(
        self, state: TurboState, mean: AnyArray, variance: Float64Array, dtype: Any, target_ndim: int
    ) -> None:
        """Store all factors, and their moments in the precision of the data.

        Parameters
        ----------
        state : TurboState
            All factors.
        mean : ndarray of shape (N, n_targets)
            Posterior means of all coefficients.
        variance : ndarray of shape (N,)
            Their posterior variances.
        dtype : dtype
            Of the coefficients.
        target_ndim : int
            Dimensions of y: one for a single target.
        """
        on, real = state.support.probability, np.empty(0, dtype).real.dtype
        self.coef_ = (mean[:, 0] if target_ndim == 1 else mean.T).astype(dtype)
        self.coef_variance_, self.support_proba_ = variance.astype(real), on.astype(real)
        self.support_ = np.flatnonzero(on > 0.5)
        self.noise_precision_ = state.noise.mean
        self.state_ = state
