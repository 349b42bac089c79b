"""How private Gaussian noise is, exactly: the analytic calibration, with the standard library alone."""

import math

__all__ = ["gaussian_delta", "gaussian_mu"]

# Beyond this, terms of the formula leave the range of doubles while delta itself does not.
_LARGEST_EPS = 100.0
_LOG_MU = (-30.0, 10.0)


def gaussian_delta(eps: float, mu: float) -> float:
    r"""Return the smallest delta for which Gaussian noise is (eps, delta)-private.

    For sensitivity :math:`\Delta` and noise of standard deviation s in every coordinate, with :math:`\mu = \Delta / s`,

    .. math:: \delta(\varepsilon) = \Phi(\mu/2 - \varepsilon/\mu) - e^\varepsilon \Phi(-\mu/2 - \varepsilon/\mu).

    Parameters
    ----------
    eps : float
        Privacy parameter, in [0, 100].
    mu : float
        Sensitivity over standard deviation, at least 0.

    Returns
    -------
    float
        delta in [0, 1]; 0 where it is below the range of doubles.

    Notes
    -----
    Balle and Wang (2018), ICML. Messages of one user compose exactly: their squares of mu add up.

    Examples
    --------
    >>> round(gaussian_delta(0.0, 1.0), 6)
    0.382925
    >>> f"{gaussian_delta(1.0, gaussian_mu(1.0, 1e-6)):.6e}"
    '1.000000e-06'
    """
    if not 0 <= eps <= _LARGEST_EPS:
        raise ValueError(f"eps must be a number in [0, {_LARGEST_EPS:g}]; got {eps!r}")
    if not 0 <= mu < math.inf:
        raise ValueError(f"mu must be a finite non-negative number; got {mu!r}")
    if mu == 0:
        return 0.0
    root = math.sqrt(0.5)
    low, high = root * (mu / 2 - eps / mu), root * (mu / 2 + eps / mu)
    if low > -1:
        # Both terms are near 1/2 for small mu and eps; their difference is that of two small numbers.
        delta = 0.5 * (math.erf(low) + math.erf(high)) - 0.5 * math.expm1(eps) * math.erfc(high)
    else:
        delta = 0.5 * (math.erfc(-low) - math.exp(eps) * math.erfc(high))
    return min(max(delta, 0.0), 1.0)


def gaussian_mu(eps: float, delta: float) -> float:
    """Return the largest mu for which Gaussian noise is (eps, delta)-private; the noise is the sensitivity over it.

    Parameters
    ----------
    eps : float
        Privacy parameter, in [0, 100].
    delta : float
        Privacy parameter, in (0, 1).

    Returns
    -------
    float
        The last double on the private side: ``gaussian_delta(eps, mu) <= delta``.

    Raises
    ------
    ValueError
        If a parameter is out of range, or if no mu above exp(-30) is private.

    Examples
    --------
    >>> print(f"{gaussian_mu(1.0, 1e-6):.10f} {gaussian_mu(4.0, 1e-6):.10f}")
    0.2367043807 0.8378587571
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta must be a number in (0, 1); got {delta!r}")
    low, high = (math.exp(end) for end in _LOG_MU)
    if gaussian_delta(eps, low) > delta:
        raise ValueError(f"delta must be larger for eps={eps!r}: no mu above {low:.3g} is private; got {delta!r}")
    # delta grows with mu. Bisection keeps a private lower end, which a root finder would not promise.
    while True:
        middle = math.sqrt(low * high)
        if not low < middle < high:
            return low
        if gaussian_delta(eps, middle) <= delta:
            low = middle
        else:
            high = middle
