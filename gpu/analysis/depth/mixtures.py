"""The variance of weighted sums of independent vectors: attention over values, and mixtures of experts."""

from torch import Tensor

from sparsetheory.constraints import NONNEGATIVE

__all__ = ["mixture_variance"]


def mixture_variance(weights: Tensor, variance: float = 1.0) -> Tensor:
    r"""Return the variance of a weighted sum of independent vectors.

    Parameters
    ----------
    weights : Tensor of shape (..., n)
        Weights of the vectors, such as the probabilities with which a query attends to positions, or the gates of the
        experts that a token is sent to.
    variance : float
        Variance of the entries of one vector, at least 0.

    Returns
    -------
    Tensor of shape (...)
        ``variance * sum(weights**2)``.

    Notes
    -----
    Let the weights be given, and the vectors have mean 0 and no correlation. Then squares of weights add up. Weights
    that sum to 1 give the variance over the effective number of vectors, :math:`1 / \sum_j a_j^2`: at most n, which
    flat weights reach, and at least 1. So flat attention over a long context, and k experts with equal gates, lower
    the variance of a branch to the n-th or k-th part, before anything is learned.

    Examples
    --------
    >>> import torch
    >>> mixture_variance(torch.tensor([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0]]))
    tensor([0.2500, 1.0000])
    """
    NONNEGATIVE.require(variance=variance)
    return variance * weights.square().sum(-1)
