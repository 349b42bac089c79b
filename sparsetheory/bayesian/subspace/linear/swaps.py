"""What every exchange of an active column for another one does to the evidence lower bound."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import finite_array
from sparsetheory.bayesian.subspace.linear.checks import check_active, check_linear
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["SwapGains", "swap_gains"]


@dataclass(frozen=True, eq=False)
class SwapGains:
    """Changes of the bound, in nats.

    Attributes
    ----------
    candidates : ndarray of int of shape (N - s,)
        Columns that are not active, in increasing order.
    gain : ndarray of shape (s, N - s)
        Row i: what the bound gains when the i-th active column leaves and the candidate enters with the best normal
        factor, all other factors fixed.
    """

    candidates: IndexArray
    gain: Float64Array


def swap_gains(
    F: ArrayLike,
    y: ArrayLike,
    kappa: float,
    prior_std: float,
    active: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
) -> SwapGains:
    r"""Return the exact change of the evidence lower bound for all s (N - s) exchanges.

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
        Columns of the subspace.
    mean, variance : array-like of shape (s,)
        Moments of the factors of the active columns, in the order of `active`; any, not only the best ones.

    Returns
    -------
    SwapGains

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite, or a number is not positive.

    Notes
    -----
    With :math:`g = \kappa F^\top(y - F_A\mu)` and :math:`h_j = \kappa\|f_j\|^2`, column j alone gains
    :math:`g_j^2/(2(h_j + \sigma_p^{-2})) - \frac12\log(1 + \sigma_p^2 h_j)`. Once i has left, the gradient of j is
    :math:`g_j + \kappa f_j^\top f_i\,\mu_i`; and leaving costs what the factor of i adds to the bound. One product of
    s and N - s columns holds all that pairs need: O(MsN). A column of zeros gains nothing, and an exchange for it is
    worth what leaving is worth.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import subspace_posterior, swap_gains
    >>> F, y = np.eye(3), np.array([0.1, 0.0, 3.0])
    >>> now = subspace_posterior(F, y, 1.0, 1.0, [0])
    >>> swap_gains(F, y, 1.0, 1.0, now.active, now.mean, now.variance).gain.round(4)
    array([[-0.0025,  2.2475]])
    """
    F, y = check_linear(F, y, kappa, prior_std)
    active = check_active(active, F.shape[1])
    moments = finite_array("mean", mean, 1), finite_array("variance", variance, 1)
    for name, values in zip(("mean", "variance"), moments, strict=True):
        if values.size != active.size:
            raise ValueError(f"{name} must have one entry per active column, {active.size}; got {values.size}")
    if np.any(moments[1] <= 0):
        raise ValueError(f"variance must be positive; got {variance!r}")
    mu, v = (values.astype(np.float64) for values in moments)
    kappa, prior = float(kappa), float(prior_std) ** 2
    candidates = np.setdiff1d(np.arange(F.shape[1]), active)
    left = y - F[:, active] @ mu
    curvature = kappa * np.einsum("ij,ij->j", F, F)
    h, others = curvature[active], curvature[candidates]
    # What the factors of the active columns add to the bound, given all others.
    alone = kappa * (F[:, active].T @ left) + h * mu
    divergence = 0.5 * ((v + mu**2) / prior - 1.0 - np.log(v / prior))
    leaving = divergence - (alone * mu - 0.5 * h * (mu**2 + v))
    gradient = kappa * (F[:, candidates].T @ left) + kappa * mu[:, None] * (F[:, active].T @ F[:, candidates])
    entering = 0.5 * (gradient**2 * (prior / (1.0 + prior * others)) - np.log1p(prior * others))
    return SwapGains(candidates, leaving[:, None] + entering)
