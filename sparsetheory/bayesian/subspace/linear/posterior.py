"""The best normal posterior with independent coefficients on one subspace of a linear model, and its bound."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular

from sparsetheory.bayesian.subspace.linear.checks import check_active, check_linear
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["SubspacePosterior", "subspace_posterior"]


@dataclass(frozen=True, eq=False)
class SubspacePosterior:
    """What y says of the coefficients of one subspace.

    Attributes
    ----------
    active : ndarray of int of shape (s,)
        The columns, in the order given.
    mean, variance : ndarray of shape (s,)
        Moments of the best independent normal factors. The mean is that of the exact posterior too.
    exact_variance : ndarray of shape (s,)
        Variances of the exact posterior, never below `variance`.
    elbo : float
        Evidence lower bound in nats.
    log_evidence : float
        Log density of y, which the bound does not exceed.
    """

    active: IndexArray
    mean: Float64Array
    variance: Float64Array
    exact_variance: Float64Array
    elbo: float
    log_evidence: float


def subspace_posterior(
    F: ArrayLike, y: ArrayLike, kappa: float, prior_std: float, active: ArrayLike
) -> SubspacePosterior:
    r"""Return the posterior of :math:`y = F_A\theta + n`, :math:`\theta \sim N(0, \sigma_p^2 I)`, noise of precision κ.

    Parameters
    ----------
    F : array-like of shape (M, N)
        Design.
    y : array-like of shape (M,)
        Data.
    kappa : float
        Precision of the noise, one over its variance.
    prior_std : float
        Standard deviation of the prior.
    active : array-like of int of shape (s,), or of bool of shape (N,)
        The columns A of the subspace.

    Returns
    -------
    SubspacePosterior

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite, or a number is not positive.

    Notes
    -----
    Of all products of normals, the one with the largest bound has the precisions
    :math:`\kappa\|f_i\|^2 + 1/\sigma_p^2` and the mean of ridge regression. O((M + s) s^2), by an orthogonal
    factorisation of data and prior stacked, which squares no condition number.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import subspace_posterior
    >>> found = subspace_posterior(np.eye(3), [2.0, 0.0, 1.0], kappa=1.0, prior_std=1.0, active=[0, 2])
    >>> found.mean, found.variance, round(found.elbo - found.log_evidence, 12)
    (array([1. , 0.5]), array([0.5, 0.5]), 0.0)
    """
    F, y = check_linear(F, y, kappa, prior_std)
    return posterior_on(F, y, float(kappa), float(prior_std), check_active(active, F.shape[1]))


def posterior_on(
    F: Float64Array, y: Float64Array, kappa: float, prior_std: float, active: IndexArray
) -> SubspacePosterior:
    """Return the posterior for arguments that were checked."""
    columns, size = F[:, active], active.size
    root = math.sqrt(kappa) * prior_std
    # In units of the prior: the precision matrix is R'R, with R'R = I + kappa sigma^2 F'F.
    Q, R = np.linalg.qr(np.concatenate([root * columns, np.eye(size)]))
    inverse = solve_triangular(R, np.eye(size))
    mean = prior_std * (inverse @ (Q[: y.size].T @ (math.sqrt(kappa) * y)))
    curvature = root**2 * np.sum(columns**2, axis=0)
    left = y - columns @ mean
    fit = -0.5 * (kappa * float(left @ left) + float(mean @ mean) / prior_std**2)
    constant = 0.5 * y.size * math.log(kappa / (2.0 * math.pi))
    return SubspacePosterior(
        active,
        mean,
        prior_std**2 / (1.0 + curvature),
        prior_std**2 * np.sum(inverse**2, axis=1),
        # Where factors are at their best, their spread and their entropy leave half a logarithm each.
        constant + fit - 0.5 * float(np.log1p(curvature).sum()),
        constant + fit - float(np.log(np.abs(np.diagonal(R))).sum()),
    )
