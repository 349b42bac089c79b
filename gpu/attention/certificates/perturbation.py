"""What errors of scores and values do to the output of attention."""

import torch
from torch import Tensor

__all__ = ["composed_error_bound", "perturbation_bound", "value_diameter"]


def perturbation_bound(score_errors: Tensor, *, visible: Tensor | None = None) -> Tensor:
    """Return a bound of the total variation between softmax of scores and of the same scores with errors.

    A common shift of all scores changes nothing, so half the range of the errors counts, eta. Scores of the keys of a
    set gain at most eta and the others lose at most eta: if the set has mass a, the new mass is at most
    ``a e^eta / (a e^eta + (1 - a) e^-eta)``. The difference is largest at ``a = 1 / (1 + e^eta)``, where it is
    ``tanh(eta / 2)``; two groups of keys attain it.

    Parameters
    ----------
    score_errors : Tensor of shape (..., n, m)
        Computed minus exact scores.
    visible : Tensor of bool, broadcast to that shape, optional
        What each query may see; everything by default.

    Returns
    -------
    Tensor of shape (..., n)
        Half the l1 distance of the two distributions is at most this.

    Examples
    --------
    >>> import torch
    >>> perturbation_bound(torch.tensor([5.0, 7.0]))  # tanh(1 / 2)
    tensor(0.4621)
    """
    seen = torch.ones_like(score_errors, dtype=torch.bool) if visible is None else visible
    high = torch.where(seen, score_errors, -torch.inf).amax(-1)
    low = torch.where(seen, score_errors, torch.inf).amin(-1)
    return torch.tanh((high - low) / 4)


def composed_error_bound(
    perturbation: Tensor, dropped: Tensor, diameter: Tensor, value_error: Tensor | None = None
) -> Tensor:
    """Return a bound of the error of an output whose scores, keys and values are all approximate.

    Scores have errors, then keys are dropped by the scores with errors, and the kept values have errors of their own.

    Parameters
    ----------
    perturbation : Tensor of shape (..., n)
        From :func:`perturbation_bound`.
    dropped : Tensor of shape (..., n)
        Mass that is dropped from the softmax of the scores with errors.
    diameter : Tensor of shape (...)
        Largest distance between two exact values; see :func:`value_diameter`.
    value_error : Tensor of shape (..., n), optional
        Mean length of the errors of the kept values, weighted by the softmax that is used; none by default.

    Returns
    -------
    Tensor of shape (..., n)
        Bound of the distance to exact attention. After a projection of the output multiply it by the largest singular
        value of the projection, and add the heads in squares where they are projected apart.

    Examples
    --------
    >>> import torch
    >>> composed_error_bound(torch.tensor([0.1]), torch.tensor([0.05]), torch.tensor(2.0))
    tensor([0.3000])
    """
    bound = (perturbation + dropped) * diameter[..., None]
    return bound if value_error is None else bound + value_error


def value_diameter(v: Tensor, *, key_mask: Tensor | None = None) -> Tensor:
    """Return the largest distance between two values.

    Parameters
    ----------
    v : Tensor of shape (..., m, d)
    key_mask : Tensor of bool, broadcast to (..., m), optional
        True for values that exist.

    Returns
    -------
    Tensor of shape (...)
        At ``O(m^2 d)`` operations.

    Examples
    --------
    >>> import torch
    >>> value_diameter(torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0]]))
    tensor(5.)
    """
    # Through products of matrices half of the digits would be lost.
    distances = torch.cdist(v, v, compute_mode="donot_use_mm_for_euclid_dist")
    if key_mask is not None:
        distances = distances.masked_fill(~(key_mask[..., :, None] & key_mask[..., None, :]), 0.0)
    return distances.amax((-1, -2))
