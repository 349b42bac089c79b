"""When the loop of sparse Bayesian learning may stop: changes, variances that have vanished, derivatives."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.linalg.blas import dnrm2

from sparsetheory.bayesian.sbl.noise_variance import NoiseVariance
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["relative_change", "stationarity_residual", "vanished"]


def relative_change(old: Float64Array, new: Float64Array, masks: Sequence[BoolArray]) -> float:
    """Return the relative change of a tensor some of whose slices were dropped, which counts as zeros.

    Parameters
    ----------
    old : ndarray of shape (N_1, ..., N_d)
        Before.
    new : ndarray
        After, on the kept slices.
    masks : sequence of ndarray of bool, shape (N_i,)
        Kept slices of each mode.

    Returns
    -------
    float
    """
    if old.shape == new.shape:
        difference = new - old
    else:
        difference = -old
        difference[np.ix_(*masks)] += new
    return dnrm2(difference.reshape(-1)) / dnrm2(old.reshape(-1))


def vanished(posterior: Any) -> bool:
    """Whether prior variances have shrunk to nothing, and the cost keeps them there.

    Parameters
    ----------
    posterior : PosteriorMoments
        With its `variances`.

    Returns
    -------
    bool
        True if the prior adds less than rounding to the covariance of the measurements and no variance would lower the
        cost by growing, or if the variances are about to underflow.

    Notes
    -----
    Where the noise explains the data, variances shrink by a constant factor per step for ever, and relative changes
    never fall below a tolerance.
    """
    largest = math.prod(float(gamma.max()) for gamma in posterior.variances)
    if largest <= np.finfo(np.float64).tiny:
        return True
    return largest * posterior.q.max() <= np.finfo(np.float64).eps and bool(np.all(posterior.power <= posterior.q))


def stationarity_residual(slopes: Sequence[Float64Array], posterior: Any, noise: NoiseVariance) -> float:
    """Return the largest derivative of the cost by the logarithm of what is free, per measurement.

    Parameters
    ----------
    slopes : sequence of ndarray
        Derivatives by the logarithms of variances.
    posterior : PosteriorMoments
        What they belong to.
    noise : NoiseVariance
        Counts if it is learned; at its floor only if it would grow.

    Returns
    -------
    float
    """
    largest = max(float(np.abs(slope).max(initial=0.0)) for slope in slopes)
    if noise.learned:
        slope = posterior.grad_log_noise
        largest = max(largest, -slope if noise.at_floor else abs(slope))
    return largest / float(posterior.n_rows)
