"""How well vectors are approximated by few of their entries, and what their norms say of it."""

import torch
from torch import Tensor

from sparsetheory.constraints import Integer, Real
from sparsetheory.gpu.core.selection import check_scores

__all__ = ["sigma_k", "stechkin_bound"]

_POWER = Real(0.0, 2.0, closed="neither")


def sigma_k(x: Tensor, n_nonzero: int) -> Tensor:
    """Return the least Euclidean error with which vectors are approximated by `n_nonzero` of their entries.

    Parameters
    ----------
    x : Tensor of shape (..., width)
    n_nonzero : int
        From 0 to the width.

    Returns
    -------
    Tensor of shape (...)
        Norms of the entries that are left, the smallest ones.

    Examples
    --------
    >>> import torch
    >>> sigma_k(torch.tensor([3.0, -5.0, 4.0]), 1)
    tensor(5.)
    """
    magnitudes = check_scores(x, "x").abs()
    k = Integer(0, x.shape[-1]).check("n_nonzero", n_nonzero)
    return torch.linalg.vector_norm(magnitudes.sort(dim=-1).values[..., : x.shape[-1] - k], dim=-1)


def stechkin_bound(x: Tensor, n_nonzero: int, q: float = 1.0) -> Tensor:
    """Bound :func:`sigma_k` by a norm, or quasi-norm, that is small where few entries are large.

    With k = `n_nonzero`, ``sigma_k <= c ||x||_q / k**(1/q - 1/2)``, where ``c = sqrt(q/2) * (1 - q/2)**(1/q - 1/2)``,
    which is 1/2 for q = 1. The constant cannot be smaller: vectors of equal entries attain it where the share
    ``1 - q/2`` of them is kept. The smaller q can be chosen with a moderate norm, the faster the error falls with k:
    the vector is compressible.

    Parameters
    ----------
    x : Tensor of shape (..., width)
    n_nonzero : int
        From 1 to the width.
    q : float
        Exponent of the norm, above 0 and below 2.

    Returns
    -------
    Tensor of shape (...)

    Notes
    -----
    Source: S. Foucart, H. Rauhut, "A Mathematical Introduction to Compressive Sensing", 2013, Theorem 2.5.

    Examples
    --------
    >>> import torch
    >>> x = torch.ones(8)
    >>> bool(torch.isclose(stechkin_bound(x, 4), sigma_k(x, 4)))
    True
    """
    q = _POWER.check("q", q)
    k = Integer(1, x.shape[-1]).check("n_nonzero", n_nonzero)
    constant = (q / 2) ** 0.5 * (1 - q / 2) ** (1 / q - 0.5)
    return constant * torch.linalg.vector_norm(check_scores(x, "x"), ord=q, dim=-1) / k ** (1 / q - 0.5)
