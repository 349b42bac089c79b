"""Mean and variance of the absolute values of normal variables."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import finite_array
from sparsetheory.bayesian.subspace.elementwise import NUMPY, common_shape
from sparsetheory.bayesian.subspace.folded_formulas import capped, folded_excess, folded_spread, signal_to_noise
from sparsetheory.typing import FloatArray

__all__ = ["FoldedMoments", "folded_normal_moments", "normal_arrays"]


@dataclass(frozen=True, eq=False)
class FoldedMoments:
    """Moments of |theta| for normal theta."""

    mean: FloatArray
    """E|theta|, in the unit of theta."""
    variance: FloatArray
    """Var|theta|, in the squared unit of theta."""


def folded_normal_moments(mu: ArrayLike, sigma: ArrayLike) -> FoldedMoments:
    r"""Return mean and variance of :math:`|\theta|` for :math:`\theta \sim N(\mu, \sigma^2)`.

    Parameters
    ----------
    mu : array-like
        Means.
    sigma : array-like, broadcastable against `mu`
        Standard deviations, at least zero. Zero stands for the constant mu.

    Returns
    -------
    FoldedMoments
        In single precision if both arguments have it, else in double precision.

    Raises
    ------
    ValueError
        If an entry is not finite, a deviation is negative, or shapes do not fit.

    Notes
    -----
    With :math:`r = |\mu| / \sigma` and :math:`\delta = 2 (\varphi(r) - r \Phi(-r))` they are :math:`|\mu| + \sigma
    \delta` and :math:`\sigma^2 (1 - 2 r \delta - \delta^2)`, and the last bracket is at least :math:`1 - 2 / \pi`. The
    textbook form :math:`\mu^2 + \sigma^2 - (E|\theta|)^2` of the variance loses all digits once r is large. Both
    moments are right to a few units in the last place wherever they are in the range of the floating-point numbers;
    the variance leaves it as the square of sigma does. O(size) operations.

    References
    ----------
    Leone, Nelson, Nottingham, "The folded normal distribution", Technometrics 1961.

    Examples
    --------
    >>> moments = folded_normal_moments([0.0, 3.0, -1e9], [1.0, 0.0, 1e-3])
    >>> moments.mean.round(6).tolist()
    [0.797885, 3.0, 1000000000.0]
    >>> moments.variance.round(9).tolist()
    [0.363380228, 0.0, 1e-06]
    """
    means, deviations = normal_arrays(mu, sigma)
    with np.errstate(all="ignore"):
        size = np.abs(means)
        r = capped(NUMPY, signal_to_noise(NUMPY, size, deviations))
        mean = size + deviations * folded_excess(NUMPY, r)
        # The square of sigma is formed last: it may leave the range where the variance does not.
        variance = deviations * (deviations * folded_spread(NUMPY, r))
    return FoldedMoments(np.asarray(mean), np.asarray(variance))


def normal_arrays(mu: ArrayLike, sigma: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return means and deviations in one precision and of one shape, checked.

    Raises
    ------
    ValueError
        As :func:`folded_normal_moments`.
    """
    means, deviations = finite_array("mu", mu), finite_array("sigma", sigma)
    if (deviations < 0).any():
        raise ValueError(f"sigma must not be negative; got {deviations.min():g}")
    shape = common_shape(mu=means.shape, sigma=deviations.shape)
    dtype = np.result_type(means, deviations)
    return (
        np.broadcast_to(means, shape).astype(dtype, copy=False),
        np.broadcast_to(deviations, shape).astype(dtype, copy=False),
    )
