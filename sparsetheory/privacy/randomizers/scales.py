"""What makes the mean of private messages the value that was sent."""

import math

import numpy as np
from scipy.special import gammaln

from sparsetheory.constraints import COUNT, POSITIVE, Real
from sparsetheory.privacy.device.coin import LARGEST_EPS, SMALLEST_EPS

__all__ = ["EPS", "cube_scale", "keep_factor", "sketch_scale", "sphere_scale"]


EPS = Real(SMALLEST_EPS, LARGEST_EPS)
"""What eps may be."""


def keep_factor(eps: float) -> float:
    """Return coth(eps / 2): the reciprocal of how much of a sign survives the secret coin, on average."""
    return 1.0 / math.tanh(0.5 * EPS.check("eps", eps))


def sphere_scale(n_features: int, eps: float, radius: float = 1.0) -> float:
    r"""Return the length of the messages of the sphere mechanism.

    Parameters
    ----------
    n_features : int
        Length p of the vectors.
    eps : float
        Privacy parameter, in [1e-9, 20].
    radius : float
        Bound R of their Euclidean norms.

    Returns
    -------
    float
        :math:`B = R \coth(\varepsilon / 2) \sqrt\pi\, \Gamma((p + 1) / 2) / \Gamma(p / 2)`. The message is B times a
        point of the unit sphere; its mean is the vector v, and its covariance :math:`(B^2 / p) I - v v^T`.

    Notes
    -----
    Duchi, Jordan and Wainwright (2018), J. Amer. Statist. Assoc. 113. B is about
    :math:`R \coth(\varepsilon/2) \sqrt{\pi p / 2}`.

    Examples
    --------
    >>> round(sphere_scale(10, 1.0), 9)
    8.365046666
    """
    p = COUNT.check("n_features", n_features)
    ratio = math.exp(gammaln((p + 1) / 2) - gammaln(p / 2))
    return POSITIVE.check("radius", radius) * keep_factor(eps) * math.sqrt(math.pi) * ratio


def cube_scale(n_features: int, eps: float, radius: float = 1.0) -> float:
    r"""Return the size of every entry of the messages of the hypercube mechanism.

    Parameters
    ----------
    n_features : int
        Length d of the vectors.
    eps : float
        Privacy parameter, in [1e-9, 20].
    radius : float
        Bound R of the absolute values of their entries.

    Returns
    -------
    float
        :math:`R \coth(\varepsilon/2)\, 2^{d-1} / \binom{d-1}{(d-1)/2}` for odd d, and
        :math:`R (\coth(\varepsilon/2)\, 2^d / \binom{d}{d/2} - 1)` for even d.

    Examples
    --------
    >>> print(f"{cube_scale(2, 1.0):.3f} {cube_scale(10, 1.0):.3f} {cube_scale(100, 1.0):.3f}")
    3.328 7.793 26.189
    """
    d = COUNT.check("n_features", n_features)
    even = d - d % 2
    # The middle binomial coefficient of d - 1 for odd d, and of d for even d, over the number of all signs.
    half = even // 2
    inverse = math.exp(even * math.log(2) - gammaln(even + 1) + 2 * gammaln(half + 1))
    factor = keep_factor(eps) * inverse
    return POSITIVE.check("radius", radius) * (factor if d % 2 else factor - 1)


def sketch_scale(eps: float, radius: float = 1.0) -> float:
    r"""Return what one bit of the rank-one sketch counts.

    Parameters
    ----------
    eps : float
        Privacy parameter, in [1e-9, 20].
    radius : float
        Bound R of the Euclidean norms of the vectors z.

    Returns
    -------
    float
        :math:`c = (\pi / 2) R^2 \coth(\varepsilon / 2)`. With public normal vectors g and h and the sign s of a user,
        :math:`c\, s\, (g h^T + h g^T) / 2` has the mean :math:`z z^T`. Its entries have the second moment
        :math:`c^2 / 2` off the diagonal and :math:`c^2` on it.

    Examples
    --------
    >>> round(sketch_scale(1.0), 6)
    3.39913
    """
    return 0.5 * np.pi * POSITIVE.check("radius", radius) ** 2 * keep_factor(eps)
