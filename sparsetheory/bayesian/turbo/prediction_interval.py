"""Intervals for new data from a fitted variational posterior."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from sparsetheory.bayesian.turbo.elbo import TurboState
from sparsetheory.typing import AnyArray

__all__ = ["PredictionInterval", "prediction_interval"]


class PredictionInterval(NamedTuple):
    """Ends of intervals; for complex data of the real and of the imaginary part."""

    lower: AnyArray
    upper: AnyArray


def prediction_interval(
    rows: AnyArray, center: AnyArray, state: TurboState, var: AnyArray, level: float
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
    var : ndarray of shape (N,)
        Variances of the coefficients; used for those whose columns were zero.
    level : float
        Probability.
    """
    idle = np.delete(np.arange(var.size), state.live)
    variance = state.x.variances_along(rows[:, state.live]) + np.abs(rows[:, idle]) ** 2 @ var[idle]
    variance += 1.0 / state.noise.mean
    if np.iscomplexobj(center):
        variance /= 2.0
    half = stats.t.ppf(0.5 + level / 2.0, 2.0 * state.noise.shape) * np.sqrt(variance)
    half = half.reshape((-1,) + (1,) * (center.ndim - 1)).astype(center.real.dtype)
    sides = half * (1 + 1j) if np.iscomplexobj(center) else half
    return PredictionInterval(center - sides, center + sides)
