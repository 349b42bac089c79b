"""Scores by which active weights with normal laws are kept, for tensors: the smallest are removed."""

from torch import Tensor

from sparsetheory.bayesian.subspace.removal_formulas import check_removal, removal_formula
from sparsetheory.gpu.bayesian.subspace.folded_normal import normal_tensors
from sparsetheory.gpu.bayesian.subspace.torch_functions import TORCH

__all__ = ["removal_score"]


def removal_score(
    mu: Tensor, sigma: Tensor, criterion: str = "snr", *, rate: float = 1.0, prior_std: float | None = None
) -> Tensor:
    r"""Return how much is lost with each weight of law :math:`N(\mu, \sigma^2)`: the smallest scores are removed.

    The twin of :func:`sparsetheory.bayesian.removal_score`, which explains the criteria, on any device. Only weights
    that may be removed should be compared. Entries off a mask have no score of their own, and they are no lower than
    all others: :func:`sparsetheory.gpu.core.rewire` compares active entries only.

    Parameters
    ----------
    mu : Tensor
        Means of the weights.
    sigma : Tensor, broadcastable against `mu`
        Standard deviations, at least zero.
    criterion : {"mean", "snr", "mean_abs", "snr_abs", "exp_abs", "snr_exp_abs", "savage_dickey"}
        What is compared. "snr_abs" is a strictly increasing function of "snr", by which it is sorted: both return
        ``|mu| / sigma``. The exponential criteria return logarithms.
    rate : float
        Of the exponential criteria, in one over the unit of the weights.
    prior_std : float, optional
        Standard deviation of the prior; needed for "savage_dickey", else without effect.

    Returns
    -------
    Tensor of the shape of both arguments together
        Without NaN and without gradients. The exponential criteria are in float64, whatever the arguments; others in
        float64 if an argument is, else in float32.

    Raises
    ------
    TypeError
        If `mu` or `sigma` is not a tensor of floating-point numbers.
    ValueError
        If an entry is not finite, a deviation is negative, shapes do not fit, devices differ, the criterion is not
        known, or a number is not positive or missing.

    Notes
    -----
    O(size) operations; the exponential criteria take some hundred of them per entry.

    Examples
    --------
    >>> import torch
    >>> mu, sigma = torch.tensor([0.1, -1.0, 0.1]), torch.tensor([0.001, 0.1, 0.1])
    >>> removal_score(mu, sigma).argsort().tolist()
    [2, 1, 0]
    >>> removal_score(mu, sigma, "snr_exp_abs").argsort().tolist()
    [1, 2, 0]
    """
    log_prior = check_removal(criterion, rate, prior_std)
    means, deviations = normal_tensors(mu, sigma)
    formula, in_double = removal_formula(criterion)
    if in_double:
        means, deviations = means.double(), deviations.double()
    score: Tensor = formula(TORCH, means.abs(), deviations, rate, log_prior)
    return score
