"""Scores by which active weights with normal laws are kept: the smallest are removed."""

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bayesian.subspace.elementwise import NUMPY
from sparsetheory.bayesian.subspace.folded_normal import normal_arrays
from sparsetheory.bayesian.subspace.removal_formulas import check_removal, removal_formula
from sparsetheory.typing import FloatArray

__all__ = ["removal_score"]


def removal_score(
    mu: ArrayLike, sigma: ArrayLike, criterion: str = "snr", *, rate: float = 1.0, prior_std: float | None = None
) -> FloatArray:
    r"""Return how much is lost with each weight of law :math:`N(\mu, \sigma^2)`: the smallest scores are removed.

    Only weights that may be removed should be compared. An entry without a weight has no score: the caller leaves it
    out, as ``sparsetheory.gpu.core.rewire`` does with its mask. Numbers at such entries, say zero for both arguments,
    do no harm, but they are no lower than all others: under "snr" an active weight with mean zero has the same one.

    Parameters
    ----------
    mu : array-like
        Means of the weights.
    sigma : array-like, broadcastable against `mu`
        Standard deviations, at least zero. Zero stands for a constant.
    criterion : {"mean", "snr", "mean_abs", "snr_abs", "exp_abs", "snr_exp_abs", "savage_dickey"}
        With :math:`r = |\mu| / \sigma`, which is 0 wherever :math:`\mu = 0`:

        - "mean": :math:`|\mu|`.
        - "snr": r, the signal-to-noise ratio; infinite for constants.
        - "mean_abs": :math:`E|\theta|`, the same order as "mean" up to :math:`2.5 \cdot 10^{-4}` once r is above 3.
        - "snr_abs": mean over standard deviation of :math:`|\theta|`. That is a strictly increasing function of r, but
          a flat one at zero, where rounding would make ties. Returned is r itself.
        - "exp_abs": :math:`\ln E e^{\lambda |\theta|}`.
        - "snr_exp_abs": logarithm of mean over standard deviation of :math:`e^{\lambda |\theta|}`; infinite for
          constants. Where :math:`\lambda |\mu|` and :math:`\lambda \sigma` are small it is close to :math:`-\ln(\lambda
          \, \mathrm{sd} |\theta|)`, so the widest weights are removed, whatever their means.
        - "savage_dickey": :math:`r^2 / 2 - \ln(\sigma_p / \sigma)`, by how many nats the evidence bound of a linear
          model falls if the weight is removed and the others stay. It may be negative.
    rate : float
        :math:`\lambda` of the exponential criteria, in one over the unit of the weights.
    prior_std : float, optional
        Standard deviation :math:`\sigma_p` of the prior; needed for "savage_dickey", else without effect.

    Returns
    -------
    ndarray of the shape of both arguments together
        Without NaN. The exponential criteria are in double precision; others in single precision if both arguments are.

    Raises
    ------
    ValueError
        If an entry is not finite, a deviation is negative, shapes do not fit, the criterion is not known, or a number
        is not positive or missing.

    Notes
    -----
    O(size) operations. Scores are infinite only for constants, or where r, or the square of r or of rate times sigma
    that a score has as a term, leaves the range of its type.
    The means of :math:`e^{\lambda |\theta|}` are taken as logarithms and the cancelling terms of their ratio by series,
    which leaves relative errors below 1e-13 at all scales.

    References
    ----------
    Li, Miao, Qiu, Zhang, "Training Bayesian neural networks with sparse subspace variational inference", ICLR 2024,
    arXiv:2402.11025: the criteria but the last. Dickey, "The weighted likelihood ratio, linear hypotheses on normal
    location parameters", Annals of Mathematical Statistics 1971: the last one.

    Examples
    --------
    Three weights: a precise one, a large one, and one that says little.

    >>> mu, sigma = [0.1, 1.0, 0.1], [0.001, 0.1, 0.1]
    >>> removal_score(mu, sigma).round(6).tolist()
    [100.0, 10.0, 1.0]
    >>> removal_score(mu, sigma, "savage_dickey", prior_std=1.0).round(2).tolist()
    [4993.09, 47.7, -1.8]

    The standard deviation of an exponential is what decides at small scales, not its mean:

    >>> removal_score(mu, sigma, "snr_exp_abs").argsort().tolist()
    [1, 2, 0]
    """
    log_prior = check_removal(criterion, rate, prior_std)
    means, deviations = normal_arrays(mu, sigma)
    formula, in_double = removal_formula(criterion)
    if in_double:
        means, deviations = means.astype(np.float64), deviations.astype(np.float64)
    with np.errstate(all="ignore"):
        return np.asarray(formula(NUMPY, np.abs(means), deviations, rate, log_prior))
