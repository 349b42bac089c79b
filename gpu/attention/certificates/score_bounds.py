"""Bounds of inner products over a ball, a box and a set of bounded norm, without computing the products."""

import torch
from torch import Tensor

__all__ = ["box_bound", "upper_bound"]


def upper_bound(center: Tensor, radius: Tensor, q: Tensor) -> Tensor:
    """Return the largest inner product of each query with a point of each ball.

    For ``|k - c| <= r`` the inequality of Cauchy and Schwarz gives ``q'k = q'c + q'(k - c) <= q'c + |q| r``, and the
    point ``c + r q / |q|`` attains it. Attention screens blocks of keys with it. The lasso screens features with it:
    there the ball holds the best dual point, and the queries are the columns of the design.

    Parameters
    ----------
    center : Tensor of shape (..., balls, d)
    radius : Tensor of shape (..., balls)
        Zero bounds the product with the centre itself.
    q : Tensor of shape (..., n, d)

    Returns
    -------
    Tensor of shape (..., n, balls)
        At a cost of ``2 n balls d`` operations. Rounding is not allowed for.

    References
    ----------
    O. Fercoq, A. Gramfort, J. Salmon, "Mind the duality gap: safer rules for the Lasso", 2015, arXiv:1505.03410.

    Examples
    --------
    >>> import torch
    >>> upper_bound(torch.tensor([[1.0, 0.0]]), torch.tensor([0.5]), torch.tensor([[3.0, 4.0], [-3.0, 4.0]]))
    tensor([[ 5.5000],
            [-0.5000]])
    """
    return q @ center.mT + q.norm(dim=-1, keepdim=True) * radius[..., None, :]


def box_bound(low: Tensor, high: Tensor, q: Tensor) -> Tensor:
    """Return the largest inner product of each query with a point of each box.

    Every coordinate is chosen for itself: ``sum_i max(q_i low_i, q_i high_i)``. The positive parts of a query meet the
    upper corner and the negative parts the lower one, so two matrix products do.

    Parameters
    ----------
    low, high : Tensor of shape (..., boxes, d)
        The least and the largest coordinates of the points of each box.
    q : Tensor of shape (..., n, d)

    Returns
    -------
    Tensor of shape (..., n, boxes)
        At a cost of ``4 n boxes d`` operations. Rounding is not allowed for.

    Examples
    --------
    >>> import torch
    >>> box_bound(torch.tensor([[0.0, -1.0]]), torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, -3.0]]))
    tensor([[5.]])
    """
    return torch.relu(q) @ high.mT - torch.relu(-q) @ low.mT
