"""The best values on a given mask: least squares for each row, by batches of Cholesky factors."""

from typing import Any

import torch
from torch import Tensor

from sparsetheory.gpu.solvers.restricted import restricted_least_squares
from sparsetheory.gpu.weights.layerwise.pruned import check_gram, check_mask, check_weight

__all__ = ["refit"]

# A squared pivot, relative to a diagonal of 1, that rounding errors may have made.
_SMALLEST_PIVOT = 1e-12


def refit(W: Tensor, H: Any, mask: Tensor) -> Tensor:
    """Return the values on a mask that minimise ``tr (W - S) H (W - S)'``.

    For each row w with kept entries K and pruned entries P the minimiser is ``w_K + inv(H_KK) H_KP w_P``. Where the
    block ``H_KK`` is singular to working precision, the change that is smallest in normalised coordinates is taken,
    among those that minimise.

    Parameters
    ----------
    W : Tensor of shape (out, features)
        Dense weights of a layer, one row per output, in any floating-point precision.
    H : Tensor of shape (features, features), or Gram
        The Gram matrix of the objective, damped as the objective is. A positive factor changes nothing.
    mask : Tensor of shape (out, features)
        Which entries are kept; rows may keep different numbers.

    Returns
    -------
    Tensor of shape (out, features)
        In the precision of `W`; zero where nothing is kept, and for inputs that are always zero.

    Raises
    ------
    TypeError, ValueError
        If `W` is not a finite real matrix, `H` is not symmetric and finite, or shapes do not fit.

    Notes
    -----
    ``O(k**3)`` operations for a row that keeps k entries, in double precision. Memory beyond that of the arguments is
    some 10 MB, or a few blocks of k x k numbers if these are larger.

    Examples
    --------
    >>> import torch
    >>> H = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    >>> refit(torch.tensor([[1.0, 2.0]]), H, torch.tensor([[False, True]]))
    tensor([[0.0000, 2.5000]])
    """
    weight = check_weight(W)
    kept = check_mask(mask, weight)
    gram = check_gram(H, weight, name="H")
    d = gram.diagonal().sqrt()
    alive = d > 0
    d = torch.where(alive, d, 1.0)
    unit, kept = gram / d / d[:, None], kept & alive
    values = torch.where(alive, weight * d, 0.0)
    changes = restricted_least_squares(unit, (values * ~kept) @ unit, kept, smallest=_SMALLEST_PIVOT)
    values = values * kept + changes
    return torch.where(kept, values / d, 0.0).to(W.dtype)
