"""Projection on the simplex, also with few nonzeros."""

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.solvers.arguments import finite_tensor, working_dtype

__all__ = ["simplex_project"]


def simplex_project(W: Tensor, n_nonzero: int | None = None) -> Tensor:
    """Return the nearest vectors that are not negative, sum to one, and have at most so many nonzeros.

    Parameters
    ----------
    W : Tensor of shape (..., n)
        Vectors to project, one per row.
    n_nonzero : int, optional
        Largest number of nonzeros of a row; by default all.

    Returns
    -------
    Tensor
        In the shape, dtype and device of `W`. It has gradients where `W` has them.

    Raises
    ------
    TypeError
        If `W` is not a tensor of floating-point numbers.
    ValueError
        If `W` is not finite or has no entries in its last axis, or `n_nonzero` is not an integer from 1 to n.

    Notes
    -----
    The nearest vector with few nonzeros is that on the largest entries [1]_: keeping the largest ones and projecting
    them on their own simplex is exact, not a heuristic. Where entries tie at the cut, several vectors are nearest.
    Time O(n log n) per row.

    References
    ----------
    .. [1] Kyrillidis, Becker, Cevher, Koch: Sparse projections onto the simplex, ICML 2013, arXiv:1206.1529.

    Examples
    --------
    >>> import torch
    >>> simplex_project(torch.tensor([0.75, 0.5, 0.25, -1.0]))
    tensor([0.5833, 0.3333, 0.0833, 0.0000])
    >>> simplex_project(torch.tensor([0.75, 0.5, 0.25, -1.0]), n_nonzero=2)
    tensor([0.6250, 0.3750, 0.0000, 0.0000])
    """
    finite_tensor("W", W, least_axes=1)
    n = W.shape[-1]
    if not n:
        raise ValueError(f"W must have at least one entry in its last axis; got shape {tuple(W.shape)}")
    if n_nonzero is not None and COUNT.check("n_nonzero", n_nonzero) > n:
        raise ValueError(f"n_nonzero must be at most the length of a row of W, {n}; got {n_nonzero!r}")
    values, places = W.to(working_dtype(W)).topk(n_nonzero or n, dim=-1)
    # A constant in all entries changes nothing, and without the largest one sums are of numbers near one.
    values = values - values[..., :1].detach()
    counts = torch.arange(1, values.shape[-1] + 1, device=W.device)
    thresholds = (values.cumsum(-1) - 1) / counts
    n_kept = (values > thresholds).sum(-1, keepdim=True)
    kept = (values - thresholds.gather(-1, n_kept - 1)).clamp(min=0)
    return values.new_zeros(W.shape).scatter(-1, places, kept).to(W.dtype)
