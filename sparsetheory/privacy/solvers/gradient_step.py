"""One step of iterative hard thresholding on a released gradient, and how many of them pay."""

import math

import numpy as np

from sparsetheory.privacy.planning.bounds import hard_threshold_nu
from sparsetheory.privacy.solvers.moment_iht import hard_threshold
from sparsetheory.typing import Float64Array

__all__ = ["automatic_rounds", "into_ball", "thresholded_step"]

# Share of the norm of the coefficients that remains of the first error when the rounds of a noiseless run end.
_TARGET = 0.1


def into_ball(values: Float64Array, norm_bound: float) -> Float64Array:
    """Return values, shortened to a Euclidean norm; squares of large ones do not overflow.

    Parameters
    ----------
    values : ndarray of shape (n_features,)
    norm_bound : float
        Above 0.

    Returns
    -------
    ndarray of shape (n_features,)
    """
    largest = float(np.max(np.abs(values), initial=0.0))
    if largest == 0:
        return values
    norm = float(np.linalg.norm(values / largest))
    return values / largest * (norm_bound / norm) if norm > norm_bound / largest else values


def thresholded_step(
    coef: Float64Array, gradient: Float64Array, step: float, n_kept: int, norm_bound: float
) -> Float64Array:
    r"""Return :math:`\Pi_{\|\cdot\| \le C}\, H_{k'}(\theta - \eta g)`.

    Parameters
    ----------
    coef : ndarray of shape (n_features,)
        Iterate.
    gradient : ndarray of shape (n_features,)
        Released mean gradient g.
    step : float
        Length :math:`\eta`.
    n_kept : int
        Number k' of entries kept; of equal ones the first stay.
    norm_bound : float
        Bound C.

    Returns
    -------
    ndarray of shape (n_features,)
    """
    return into_ball(hard_threshold(coef - step * gradient, n_kept), norm_bound)


def automatic_rounds(
    n_features: int, n_nonzero: int, n_kept: int, step: float, eigenvalues: tuple[float, float], one_round_noise: float
) -> int:
    r"""Return how many rounds to split users into.

    Without noise a round shrinks the error by :math:`\kappa = \sqrt\nu\, \|I - \eta \Sigma\|`, so that
    :math:`\log 10 / \log(1 / \kappa)` rounds leave a tenth; where that shrinks nothing, as many as the condition number
    :math:`\lambda_{\max} / \lambda_{\min}`. But T rounds have the noise of a T-th of all users each. So there are no
    more than leave that noise below a third of the tenth, and at least one.

    Parameters
    ----------
    n_features, n_nonzero, n_kept : int
        Numbers d, k and k' of features, of non-zeros, and of non-zeros of the iterates.
    step : float
        Length :math:`\eta`.
    eigenvalues : tuple of float
        Public guess of the smallest and the largest eigenvalue of the second moments :math:`\Sigma` of the features.
    one_round_noise : float
        Norm of the noise of k' entries of a gradient times the step, if all users spoke in one round, over the bound of
        the norm of the coefficients.

    Returns
    -------
    int

    Notes
    -----
    Ours. One round is the marginal estimate :math:`E[x y]`, and right for :math:`\Sigma = I` and step 1.
    """
    smallest, largest = eigenvalues
    nu = hard_threshold_nu(n_features, n_nonzero, n_kept)
    factor = math.sqrt(nu) * max(abs(1 - step * smallest), abs(1 - step * largest))
    if factor >= 1:
        wanted = math.ceil(largest / smallest)
    else:
        wanted = math.ceil(math.log(1 / _TARGET) / math.log(1 / factor)) if factor > 0 else 1
    if one_round_noise == 0:
        return max(1, wanted)
    affordable = (_TARGET / 3 / one_round_noise) ** 2
    return max(1, min(wanted, int(min(affordable, 2.0**30))))
