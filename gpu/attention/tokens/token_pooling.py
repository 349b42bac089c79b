"""Means of tokens over windows of their levels, as a shorter memory to attend to."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from sparsetheory.constraints import COUNT

__all__ = ["pooled_map"]


def pooled_map(
    tokens: Tensor, shapes: Sequence[tuple[int, int]], pool: int, *, valid: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return means of tokens over windows of each level, as a shorter memory to attend to.

    Parameters
    ----------
    tokens : Tensor of shape (batch, n, dim)
        Levels after each other, each row by row.
    shapes : sequence of (int, int)
        Rows and columns of each level.
    pool : int
        Rows and columns of a window; those at the ends may be smaller.
    valid : Tensor of bool of shape (batch, n), optional
        True where a token is no padding. Means are over these.

    Returns
    -------
    memory : Tensor of shape (batch, m, dim)
        Zero for windows of padding only.
    exists : Tensor of bool of shape (batch, m)
        Windows that hold a valid token.

    Raises
    ------
    ValueError
        If the levels do not have n tokens together.

    Examples
    --------
    >>> import torch
    >>> pooled_map(torch.arange(6.0).view(1, 6, 1), [(2, 3)], pool=2)[0].flatten().tolist()
    [2.0, 3.5]
    """
    COUNT.check("pool", pool)
    sizes = [rows * columns for rows, columns in shapes]
    if sum(sizes) != tokens.shape[1]:
        raise ValueError(f"shapes must have {tokens.shape[1]} tokens together; got {sum(sizes)}")
    exists = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device) if valid is None else valid
    means, held = [], []
    for x, inside, shape in zip(tokens.split(sizes, 1), exists.split(sizes, 1), shapes, strict=True):
        weights = inside.to(tokens.dtype)[:, None].unflatten(-1, shape)
        grid = torch.where(inside[..., None], x, 0.0).mT.unflatten(-1, shape)
        # Both means divide by the same sizes of windows.
        share = avg_pool2d(weights, pool, ceil_mode=True).flatten(2).mT
        sums = avg_pool2d(grid, pool, ceil_mode=True).flatten(2).mT
        held.append(share[..., 0] > 0)
        means.append(torch.where(share > 0, sums / share.clamp(min=torch.finfo(share.dtype).tiny), 0.0))
    return torch.cat(means, 1), torch.cat(held, 1)
