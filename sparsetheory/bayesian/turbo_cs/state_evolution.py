"""The state evolution of Turbo-CS: its mean squared error for large row-orthogonal matrices."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.bayesian.turbo_cs.denoiser import BernoulliGaussian
from sparsetheory.constraints import COUNT, FLAG, FRACTION, POSITIVE, Real
from sparsetheory.typing import Float64Array

__all__ = ["StateEvolution", "turbo_cs_evolution"]


@dataclass(frozen=True, eq=False)
class StateEvolution:
    """Predicted variances per exchange."""

    linear_variance: Float64Array
    """Of the message to the denoiser."""
    denoiser_variance: Float64Array
    """Of the message back."""
    mse: Float64Array
    """Mean squared error of a coefficient after the denoiser."""


def turbo_cs_evolution(
    measurement_ratio: float,
    *,
    noise_variance: float,
    density: float = 0.1,
    signal_variance: float = 1.0,
    complex_data: bool = True,
    n_iter: int = 20,
) -> StateEvolution:
    r"""Predict the errors of :class:`TurboCS` for a matrix with orthonormal rows.

    .. math::
        \tau_t = \frac{N}{M} (v_t + \sigma^2) - v_t, \qquad
        \frac{1}{v_{t+1}} = \frac{1}{\mathrm{mmse}(\tau_t)} - \frac{1}{\tau_t}

    Parameters
    ----------
    measurement_ratio : float
        Rows over columns, M / N, in (0, 1].
    noise_variance : float
        Variance of the noise per observation.
    density, signal_variance : float
        Prior of the coefficients, which is also their law.
    complex_data : bool
        Whether coefficients are complex.
    n_iter : int
        Exchanges.

    Returns
    -------
    StateEvolution

    Raises
    ------
    ValueError
        If a number is out of its range.

    Notes
    -----
    One quadrature per exchange. J. Ma, X. Yuan and L. Ping, IEEE Signal Process. Lett. 22(2), 2015, for partial Fourier
    matrices.

    Examples
    --------
    >>> from sparsetheory.bayesian import turbo_cs_evolution
    >>> path = turbo_cs_evolution(0.5, noise_variance=1e-3)
    >>> bool(path.mse[0] > path.mse[-1] > 1e-4), float(path.linear_variance[0].round(4))
    (True, 0.102)
    """
    ratio = Real(0.0, 1.0, closed="right").check("measurement_ratio", measurement_ratio)
    noise = POSITIVE.check("noise_variance", noise_variance)
    FRACTION.check("density", density)
    FLAG.check("complex_data", complex_data)
    variance = POSITIVE.check("signal_variance", signal_variance)
    prior = BernoulliGaussian(density, variance, 1.0 if complex_data else 0.5)
    v, rows = density * variance, []
    for _ in range(COUNT.check("n_iter", n_iter)):
        tau = (v + noise) / ratio - v
        mse = prior.mmse(tau)
        v = mse / (1.0 - mse / tau)
        rows.append((tau, v, mse))
    return StateEvolution(*np.array(rows).T)
