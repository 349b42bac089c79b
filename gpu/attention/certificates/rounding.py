"""What rounding can change: the part of a certificate that makes it hold for computed numbers.

All bounds are of first order in the unit roundoff u, and count operations: an inner product of d terms errs by at most
``d u |q| |k|``, a sum of n positive terms by the factor ``1 + n u``. They hold for every order of summation.
"""

import torch
from torch import Tensor

__all__ = ["DOUBLE", "arithmetic_of", "kept_error", "score_error", "unit_roundoff"]

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
    norm = norm * (scale * (steps + n_terms * DOUBLE) / (1 - 2 * steps))
    return q.norm(dim=-1)[..., :, None] * norm[..., None, :]


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
