"""Intervals for new data from a fitted variational posterior."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from sparsetheory.bayesian.turbo.elbo import TurboState
from sparsetheory.typing import AnyArray

__all__ = ["PredictionInterval", "prediction_interval"]


@dataclass(frozen=True, eq=False)
class PredictionInterval:
    """Ends of intervals; for complex data of the real and of the imaginary part."""

    lower: AnyArray
    upper: AnyArray


def prediction_interval(
    rows: AnyArray, center: AnyArray, state: TurboState, variances: AnyArray, confidence: float
) -> PredictionInterval:
    """Return intervals about predictions.

    Parameters
    ----------
    rows : ndarray of shape (n, N)
        New rows.
    center : ndarray of shape (n,) or (n, L)
        Predictions.
    state : TurboState
        The fit.
    variances : ndarray of shape (N,)
        Variances of the coefficients; used for those whose columns were zero.
    confidence : float
        Probability that an interval covers.
    """
    idle = np.delete(np.arange(variances.size), state.live)
    variance = state.x.variances_along(rows[:, state.live]) + np.abs(rows[:, idle]) ** 2 @ variances[idle]
    variance += 1.0 / state.noise.mean
    if np.iscomplexobj(center):
        variance /= 2.0
    half = stats.t.ppf(0.5 + confidence / 2.0, 2.0 * state.noise.shape) * np.sqrt(variance)
    half = half.reshape((-1,) + (1,) * (center.ndim - 1)).astype(center.real.dtype)
    sides = half * (1 + 1j) if np.iscomplexobj(center) else half
    return PredictionInterval(center - sides, center + sides)
