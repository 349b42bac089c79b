"""What rounding can change: the part of a certificate that makes it hold for computed numbers.

All bounds are of first order in the unit roundoff u, and count operations: an inner product of d terms errs by at most
``d u |q| |k|``, a sum of n positive terms by the factor ``1 + n u``. They hold for every order of summation.
"""

import torch
from torch import Tensor

__all__ = ["DOUBLE", "arithmetic_of", "kept_error", "lengths", "score_error", "share", "share_lower", "unit_roundoff"]

# The exponents -10 and -7 of the spacing of TF32 and bfloat16, and half of that.
_TF32, _BFLOAT16 = 2.0**-11, 2.0**-8
DOUBLE = 2.0**-53


def arithmetic_of(*tensors: Tensor) -> torch.dtype:
    """Return the dtype in which bounds of these tensors are computed: the widest of theirs, at least float32."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def unit_roundoff(dtype: torch.dtype, device: torch.device | str = "cpu") -> float:
    """Return the largest relative error of one operation, matrix products included.

    Products of float32 matrices may run in fewer bits where a user allowed it
    (:func:`torch.set_float32_matmul_precision`); the answer follows that setting.

    Examples
    --------
    >>> import torch
    >>> unit_roundoff(torch.float64) == 2.0**-53
    True
    """
    own = torch.finfo(dtype).eps / 2
    if dtype != torch.float32:
        return own
    precision = torch.get_float32_matmul_precision()
    if torch.device(device).type == "cuda" and torch.backends.cuda.matmul.allow_tf32:
        own = max(own, _TF32)
    return max(own, {"highest": own, "high": _TF32, "medium": _BFLOAT16}[precision])


def lengths(vectors: Tensor) -> Tensor:
    """Return the norms of vectors, of shape (...) for vectors of shape (..., d).

    Squares of very large or small entries leave the range of their dtype, so the largest entry is divided out first.
    """
    largest = vectors.abs().amax(-1)
    unit = vectors / torch.where(largest > 0, largest, 1.0)[..., None]
    return unit.norm(dim=-1) * largest


def share(log_dropped: Tensor, log_kept: Tensor) -> Tensor:
    """Return the share ``d / (d + k)`` of a dropped mass, rounded upwards.

    It is zero only where nothing is dropped, also where the share is below the range of the dtype. It is 1 where masses
    are beyond their range.

    Parameters
    ----------
    log_dropped : Tensor
        Upper bound of log d; minus infinity where nothing is dropped.
    log_kept : Tensor
        Lower bound of log k.

    Examples
    --------
    >>> import torch
    >>> share(torch.tensor([-torch.inf, -1000.0, 1000.0]), torch.tensor(0.0)) > 0
    tensor([False,  True,  True])
    """
    ratio = log_dropped - log_kept
    limits = torch.finfo(ratio.dtype)
    rounded = (torch.sigmoid(ratio) * (1 + 8 * limits.eps)).clamp(limits.tiny, 1.0)
    return torch.where(log_dropped == -torch.inf, 0.0, torch.where(ratio.isnan(), 1.0, rounded))


def share_lower(log_dropped: Tensor, log_kept: Tensor) -> Tensor:
    """Return the share of a dropped mass, rounded downwards, from a lower bound of log d and an upper one of log k."""
    ratio = log_dropped - log_kept
    limits = torch.finfo(ratio.dtype)
    rounded = torch.sigmoid(ratio) * (1 - 8 * limits.eps)
    return torch.where(rounded >= limits.tiny, rounded, 0.0)


def score_error(q: Tensor, norm: Tensor, scale: float, n_terms: Tensor | int = 0) -> Tensor:
    """Return how far a computed ``scale q'k`` with ``|k| <= norm`` may be from the exact one, and a little more.

    An inner product takes d roundings, the scale two. Six more cover subtracting a maximum of scores, exponents that
    telescope while that maximum moves, and adding it back to the logarithm of the sum; all of these are relative to
    the largest score.

    Parameters
    ----------
    q : Tensor of shape (..., n, d)
    norm : Tensor of shape (..., blocks)
    scale : float
    n_terms : int or Tensor of int64 of shape (..., blocks)
        Keys in a mean that takes the place of k; means are summed in float64.

    Returns
    -------
    Tensor of shape (..., n, blocks)
    """
    steps = (q.shape[-1] + 8) * unit_roundoff(q.dtype, q.device)
    # The norms in front err themselves, by fewer steps than the product.
    # What leaves the range of the dtype below loses more than its relative rounding.
    norm = (norm * ((steps + n_terms * DOUBLE) / (1 - 2 * steps)) + torch.finfo(q.dtype).tiny) * scale
    return lengths(q)[..., :, None] * norm[..., None, :]


def kept_error(q: Tensor, norm: Tensor, scale: float, n_keys: int, n_blocks: int) -> Tensor:
    """Return how far the logarithm of a computed sum of exponentials of scores may be from the exact one.

    Parameters
    ----------
    q : Tensor of shape (..., n, d)
    norm : Tensor of shape (...)
        The largest norm of a key of the sum.
    scale : float
    n_keys : int
        Terms of the sum.
    n_blocks : int
        How often the sum was rescaled to a new maximum: at most six roundings each.

    Returns
    -------
    Tensor of shape (..., n)
    """
    sums = (n_keys + 6 * n_blocks + 16) * unit_roundoff(q.dtype, q.device)
    return score_error(q, norm[..., None], scale)[..., 0] + sums / (1 - sums)
