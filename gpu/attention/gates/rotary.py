"""Rotary positions: pairs of features turned by angles that grow with the position, and the turn undone.

Feature i of the first half of a head is paired with feature i of the second half, as ``transformers`` does it.
"""

import torch
from torch import Tensor

from sparsetheory.constraints import POSITIVE

__all__ = ["Rotary", "rotary_tables", "rotate", "unrotate"]

Rotary = tuple[Tensor, Tensor]


def rotary_tables(positions: Tensor, head_dim: int, base: float = 10_000.0) -> Rotary:
    """Return cosines and sines of the angles ``position * base ** (-2 i / head_dim)``.

    Parameters
    ----------
    positions : Tensor of integers of shape (..., n)
    head_dim : int
        Features of a head; even.
    base : float
        Ratio of the fastest to the slowest turn, nearly.

    Returns
    -------
    tuple of Tensor of shape (..., n, head_dim)
        Cosines and sines, each twice: once for each half of the features.

    Raises
    ------
    ValueError
        If `head_dim` is odd.

    Notes
    -----
    Source: J. Su et al., "RoFormer", arXiv 2104.09864.

    Examples
    --------
    >>> import torch
    >>> cosine, sine = rotary_tables(torch.arange(3), 4)
    >>> cosine.shape, sine[0].tolist()
    (torch.Size([3, 4]), [0.0, 0.0, 0.0, 0.0])
    """
    if head_dim < 2 or head_dim % 2:
        raise ValueError(f"head_dim must be even and at least 2; got {head_dim!r}")
    POSITIVE.check("base", base)
    steps = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float64) / head_dim
    # Far positions lose digits of their angle in single precision, so the angles are made in double precision.
    angles = positions.double().unsqueeze(-1) * base**-steps
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Turn pairs of features; features beyond those of the tables stay as they are.

    Parameters
    ----------
    x : Tensor of shape (batch, heads, n, features)
    rotary : tuple of Tensor of shape (batch or 1, n, turned features)
        Cosines and sines.
    """
    cosine, sine = (table.unsqueeze(-3).to(x.dtype) for table in rotary)
    turned, rest = x[..., : cosine.shape[-1]], x[..., cosine.shape[-1] :]
    return torch.cat([turned * cosine + _quarter_turn(turned) * sine, rest], dim=-1)


def unrotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Undo :func:`rotate`, also where both tables carry a common factor.

    The tables turn a pair by an angle and stretch it by ``s = sqrt(cosine**2 + sine**2)``. Turning back with the same
    tables stretches by s once more, so a division by s**2 is left.
    """
    cosine, sine = rotary
    squared = cosine.square() + sine.square()
    return rotate(x, (cosine / squared, -sine / squared))


def _quarter_turn(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)
