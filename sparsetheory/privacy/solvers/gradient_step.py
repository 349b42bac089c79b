"""One step of iterative hard thresholding on a released gradient, and how many of them pay."""

import numpy as np

from sparsetheory.privacy.solvers.moment_iht import hard_threshold
from sparsetheory.typing import Float64Array

__all__ = ["automatic_rounds", "into_ball", "thresholded_step"]

# Rounds beyond which nobody waits for an answer.
_MOST_ROUNDS = 1000


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


def automatic_rounds(step: float, eigenvalues: tuple[float, float], one_round_noise: float, most: int) -> int:
    r"""Return how many rounds to split users into.

    A round shrinks the error by the factor :math:`\rho = \|I - \eta \Sigma\|`. But T rounds have the noise of a T-th of
    all users each, and the noise of earlier rounds shrinks like the error. With the noise s of one round of all users
    the squared error after T rounds is about

    .. math:: \rho^{2T} + s^2\, T \sum_{t<T} \rho^{2t},

    over the squared norm of the coefficients. The number of rounds makes that least.

    Parameters
    ----------
    step : float
        Length :math:`\eta`.
    eigenvalues : tuple of float
        Public guess of the smallest and the largest eigenvalue of the second moments :math:`\Sigma` of the features.
    one_round_noise : float
        Norm of the noise of k' entries of a gradient times the step, if all users spoke in one round, over the bound of
        the norm of the coefficients.
    most : int
        Largest number of rounds.

    Returns
    -------
    int

    Notes
    -----
    Ours, without the factor that hard thresholding can cost. One round is the marginal estimate :math:`E[x y]`, and
    right for :math:`\Sigma = I` and step 1. Of correlated features one round is biased however many users there are.
    """
    factor = max(abs(1 - step * eigenvalue) for eigenvalue in eigenvalues)
    rounds = np.arange(1, min(most, _MOST_ROUNDS) + 1)
    left = np.minimum(factor, 1.0) ** (2.0 * rounds)
    piled_up = rounds if factor >= 1 else (1 - left) / (1 - factor**2)
    # In units of the noise where that is large: its square might leave the range of doubles.
    unit = max(1.0, one_round_noise)
    return int(rounds[np.argmin(left * (1 / unit) ** 2 + (one_round_noise / unit) ** 2 * rounds * piled_up)])
