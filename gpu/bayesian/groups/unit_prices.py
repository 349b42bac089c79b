"""What whole units of normal weights are worth to the evidence bound, in nats."""

from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import POSITIVE
from sparsetheory.gpu.bayesian.subspace.addition_scores import addition_score
from sparsetheory.gpu.bayesian.subspace.removal_scores import removal_score
from sparsetheory.gpu.core.patterns import mask_units
from sparsetheory.gpu.solvers.arguments import finite_tensor, together, working_dtype

__all__ = ["unit_gain", "unit_price"]


def unit_price(
    mu: Tensor, sigma: Tensor, *, prior_std: float, units: Any = "rows", curvature: Tensor | None = None
) -> Tensor:
    r"""Return how much the evidence bound falls when a whole unit leaves, all other weights as they are, in nats.

    Parameters
    ----------
    mu, sigma : Tensor of shape (out, in, ...)
        Means and positive standard deviations of the weights.
    prior_std : float
        Standard deviation of the prior.
    units : str, tuple or pattern
        See :func:`sparsetheory.gpu.core.mask_units`.
    curvature : Tensor of shape (in, in) or (out, in, in), optional
        Second derivatives of minus the expected log likelihood by the means of one row, in nats, for matrices and
        ``units="rows"``; only their entries off the diagonal are read. Without them the price is the sum of the prices
        of single weights.

    Returns
    -------
    Tensor
        One price for each unit, in the order of the units along the axes. Negative ones are gains.

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is not finite, or a number is out of range.

    Notes
    -----
    Let the bound be quadratic in the means, with curvatures :math:`h_{ij}` of the likelihood, and each factor the best
    one for the others. Removing a group G of factors then costs

    .. math:: \sum_{i \in G} \left(\frac{\mu_i^2}{2 \sigma_i^2} - \ln\frac{\sigma_p}{\sigma_i}\right)
              + \frac12 \sum_{i \ne j \in G} h_{ij} \mu_i \mu_j,

    exactly. The first sum has the Savage-Dickey prices of the weights. It is the price of the group where no two of its
    weights share curvature: the columns of a linear layer under squared errors are such groups, since the weights of an
    input act on different outputs; rows are so only if inputs are orthogonal.

    Examples
    --------
    >>> mu, sigma = torch.tensor([[2.0, 1.0], [0.1, 0.0]]), torch.full((2, 2), 0.5)
    >>> unit_price(mu, sigma, prior_std=1.0)
    tensor([[ 8.6137],
            [-1.3663]])

    Weights that point the same way through equal inputs are worth more together.

    >>> unit_price(mu, sigma, prior_std=1.0, curvature=torch.ones(2, 2))
    tensor([[10.6137],
            [-1.3663]])
    """
    prices = removal_score(mu, sigma, "savage_dickey", prior_std=POSITIVE.check("prior_std", prior_std))
    totals = mask_units(units, prices.shape, name="mu").totals(prices)
    if curvature is None:
        return totals
    matrices = finite_tensor("curvature", curvature)
    together(mu=mu, curvature=matrices)
    shapes = ((mu.shape[-1],) * 2, (mu.shape[0], *(mu.shape[-1],) * 2))
    if mu.ndim != 2 or units != "rows" or tuple(matrices.shape) not in shapes:
        raise ValueError(
            "curvature must be of shape (in, in) or (out, in, in), for matrices and units of rows; "
            f"got shape {tuple(matrices.shape)} for mu of shape {tuple(mu.shape)} and units {units!r}"
        )
    dtype = working_dtype(totals, matrices)
    shared = matrices.to(dtype) - torch.diag_embed(matrices.diagonal(dim1=-2, dim2=-1)).to(dtype)
    means = mu.detach().to(dtype)
    pulled = means @ shared if shared.ndim == 2 else torch.einsum("oi,oij->oj", means, shared)
    return totals.to(dtype) + (pulled * means).sum(1, keepdim=True) / 2


def unit_gain(grad: Tensor, curvature: Tensor, *, prior_std: float, units: Any = "rows") -> Tensor:
    r"""Return how much the evidence bound rises when a whole unit enters, all other weights as they are, in nats.

    Parameters
    ----------
    grad : Tensor of shape (out, in, ...)
        Gradient of the loss by the means where the unit is not there, in nats.
    curvature : Tensor of the shape of `grad`
        Second derivatives of the loss, at least zero, in nats.
    prior_std : float
        Standard deviation of the prior.
    units : str, tuple or pattern
        See :func:`sparsetheory.gpu.core.mask_units`.

    Returns
    -------
    Tensor
        One gain for each unit: the sum of the gains of its weights, exact where no two of them share curvature.

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is not finite, or a number is out of range.

    Examples
    --------
    >>> unit_gain(torch.tensor([[3.0, 0.0], [1.0, 1.0]]), torch.ones(2, 2), prior_std=1.0)
    tensor([[ 1.5569],
            [-0.1931]])
    """
    gains = addition_score(grad, curvature, prior_std=prior_std, rule="gain")
    return mask_units(units, gains.shape, name="grad").totals(gains)
