"""PrivUnit: less noise for large eps, on a sphere; simulated alone."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import betainc, betaincinv, betaln

from sparsetheory.arrays import finite_array
from sparsetheory.constraints import Integer, generator
from sparsetheory.privacy.randomizers.scales import EPS
from sparsetheory.typing import Float64Array

__all__ = ["PrivUnitParameters", "privunit_encode", "privunit_params"]

_TWO_OR_MORE = Integer(2)


@dataclass(frozen=True)
class PrivUnitParameters:
    """The cap of PrivUnit, and what makes its mean right.

    Parameters
    ----------
    cap_cosine : float
        Least cosine of an angle between vector and message inside the cap.
    outside : float
        Share of the sphere outside the cap.
    cap_probability : float
        Probability of a message inside the cap.
    shrinkage : float
        Mean of the unit message along the vector; messages are divided by it.
    """

    cap_cosine: float
    outside: float
    cap_probability: float
    shrinkage: float


def _cap(cosine: float, p: int, eps: float) -> PrivUnitParameters:
    a = (p - 1) / 2
    outside = float(betainc(a, a, (1 + cosine) / 2))
    # logit P = eps + log of inside over outside makes the ratio of the two densities e^eps exactly.
    odds = math.exp(-eps) * outside / (1 - outside)
    probability = 1 / (1 + odds)
    mean = math.exp(a * math.log1p(-(cosine**2)) - betaln(0.5, a)) / (p - 1)
    return PrivUnitParameters(
        cosine, outside, probability, mean * (probability / (1 - outside) - (1 - probability) / outside)
    )


def privunit_params(n_features: int, eps: float) -> PrivUnitParameters:
    """Return the cap with the least noise.

    Parameters
    ----------
    n_features : int
        Length p of the vectors, at least 2.
    eps : float
        Privacy parameter, in [1e-9, 20].

    Returns
    -------
    PrivUnitParameters

    Notes
    -----
    Bhowmick, Duchi, Freudiger, Kapoor and Rogers (2018). Cosines beyond (4 + sqrt(2 eps)) / sqrt(p) leave caps too
    small for doubles, where the gain is flat and a search over all cosines stops at zero. A cap that is half of the
    sphere gives the sphere mechanism.

    Examples
    --------
    >>> best, half = privunit_params(1000, 4.0), _cap(0.0, 1000, 4.0)
    >>> round((best.shrinkage / half.shrinkage) ** 2, 2)
    3.88
    """
    p = _TWO_OR_MORE.check("n_features", n_features)
    eps = EPS.check("eps", eps)
    end = min(0.999, (4 + math.sqrt(2 * eps)) / math.sqrt(p))
    found = minimize_scalar(lambda cosine: -_cap(cosine, p, eps).shrinkage, bounds=(0.0, end), method="bounded")
    return max(_cap(float(found.x), p, eps), _cap(0.0, p, eps), key=lambda cap: cap.shrinkage)


def privunit_encode(
    V: ArrayLike, eps: float, *, simulation: bool = False, random_state: int | np.random.Generator | None = None
) -> Float64Array:
    """Return messages of PrivUnit for unit vectors, for simulations alone.

    Parameters
    ----------
    V : array-like of shape (n_samples, n_features)
        Unit vectors.
    eps : float
        Privacy parameter, in [1e-9, 20].
    simulation : bool
        Must be True. A message is computed from the vector in floating point, and its low bits betray it.
    random_state : int, Generator or None
        Seed.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Their mean is the vector.

    Raises
    ------
    ValueError
        If `simulation` is not True, or a vector is not of norm one.

    Examples
    --------
    >>> import numpy as np
    >>> v = np.tile([0.6, 0.0, -0.8], (20000, 1))
    >>> z = privunit_encode(v, 2.0, simulation=True, random_state=0)
    >>> bool(np.abs(z.mean(axis=0) - v[0]).max() < 0.1)
    True
    """
    if simulation is not True:
        raise ValueError(f"simulation must be True: messages of PrivUnit leak in floating point; got {simulation!r}")
    rows = finite_array("V", V, ndim=2).astype(np.float64)
    if not np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6):
        raise ValueError("V must have rows of norm 1; got others")
    rng = generator(random_state)
    n, p = rows.shape
    cap = privunit_params(p, eps)
    inside = rng.random(n) < cap.cap_probability
    # The cosine has a Beta law, cut at the cap; its quantiles are those of a uniform number in one part of [0, 1].
    share = np.where(inside, cap.outside + (1 - cap.outside) * rng.random(n), cap.outside * rng.random(n))
    cosine = 2 * betaincinv((p - 1) / 2, (p - 1) / 2, share) - 1
    across = rng.standard_normal((n, p))
    across -= np.einsum("ij,ij->i", across, rows)[:, None] * rows
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return (cosine[:, None] * rows + np.sqrt(1 - cosine**2)[:, None] * across) / cap.shrinkage
