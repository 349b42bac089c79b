"""Coordinates in which keys or values have few large entries: those of their second moments."""

import torch
from torch import Tensor

from sparsetheory.gpu.core.selection import check_scores

__all__ = ["head_rotation"]


def head_rotation(x: Tensor, *, key_mask: Tensor | None = None) -> Tensor:
    """Return for each head the orthogonal matrix that sorts the energy of its vectors by coordinates.

    The columns are eigenvectors of the sum of ``x x'``, those of the largest eigenvalues in front. With ``x @ R`` the
    first coordinates hold as much energy as any coordinates can, so that few large entries carry a vector. Scores do
    not change if queries turn with keys, ``(q R)(k R)' = q k'``; outputs of turned values turn back with ``R'``.

    Parameters
    ----------
    x : Tensor of shape (batch, heads, tokens, width)
        Keys or values of some texts, not those that are pruned later.
    key_mask : Tensor of bool of shape (batch, tokens), optional
        True for tokens that count; padding should not.

    Returns
    -------
    Tensor of shape (heads, width, width)
        Of the dtype and device of `x`; computed in double precision, with the largest entry of each column positive.

    Raises
    ------
    TypeError
        If `x` is not a tensor of floating-point numbers.
    ValueError
        If its shape is another one, it holds NaN, or no token counts.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[1.0, 1.0], [2.0, 2.0], [0.1, -0.1]]).reshape(1, 1, 3, 2)
    >>> (x @ head_rotation(x)).round(decimals=3).squeeze()
    tensor([[1.4140, 0.0000],
            [2.8280, 0.0000],
            [0.0000, 0.1410]])
    """
    if check_scores(x, "x").ndim != 4:
        raise ValueError(f"x must have shape (batch, heads, tokens, width); got {tuple(x.shape)}")
    counted = x.detach().double()
    if key_mask is not None:
        counted = counted * key_mask[:, None, :, None]
    if not counted.numel() or (key_mask is not None and not bool(key_mask.any())):
        raise ValueError("x must have a token that counts; got none")
    vectors = counted.transpose(0, 1).flatten(1, 2)
    columns = torch.linalg.eigh(vectors.mT @ vectors).eigenvectors.flip(-1)
    largest = columns.gather(-2, columns.abs().argmax(-2, keepdim=True))
    return (columns * torch.where(largest < 0, -1.0, 1.0)).to(x.dtype)
