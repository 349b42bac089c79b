"""Certified bounds of the dropped mass and of the error of the output, from the statistics of the dropped blocks."""

import torch
from torch import Tensor

from sparsetheory.gpu.attention.certificates.block_masses import Masses, log_mass_bounds, log_mass_lower, scale_of
from sparsetheory.gpu.attention.certificates.key_blocks import KeyBlocks
from sparsetheory.gpu.attention.certificates.rounding import (
    DOUBLE,
    kept_error,
    lengths,
    share,
    share_lower,
    unit_roundoff,
)

__all__ = ["dropped_mass_bound", "dropped_mass_lower", "output_error_bound", "rounding_of_kept", "total"]


def dropped_mass_bound(
    q: Tensor,
    blocks: KeyBlocks,
    log_kept: Tensor,
    *,
    dropped: Tensor | None = None,
    masses: Masses = "variance",
    own_keys: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Return an upper bound of the dropped mass of each query, without computing a dropped score.

    With the sum l of the exponentials of the kept scores, and bounds of the masses of the dropped blocks that sum to
    ``rho l``, the dropped mass is at most ``rho / (1 + rho)``. Rounding is allowed for, that of `log_kept` included.

    Parameters
    ----------
    q : Tensor of shape (..., n, d)
    blocks : KeyBlocks
        All blocks.
    log_kept : Tensor of shape (..., n)
        ``log sum exp`` of the scores of the kept keys, as an attention computed it in at least float32.
    dropped : Tensor of bool of shape (..., n, blocks), optional
        The dropped blocks of which a query may see a key; all by default. Keys of these blocks that a query may not
        see only make the bound larger.
    masses : {"plain", "chord", "deviation", "variance"}
        What bounds the mass of a block, from the cheapest to the sharpest: see :func:`log_mass_bounds`.
    own_keys : Tensor of shape (..., m, d), optional
        Kept keys that are in no block, where there are any; `log_kept` counts them.
    scale : float, optional
        Factor of the scores; ``1 / sqrt(d)`` by default.

    Returns
    -------
    Tensor of shape (..., n)

    Examples
    --------
    >>> import torch
    >>> q, k = torch.tensor([[4.0, 0.0]]), torch.tensor([[4.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    >>> blocks = KeyBlocks.from_keys(k, torch.tensor([0, 1, 1]))
    >>> log_kept = torch.tensor([11.3137])  # the score of the first key
    >>> bound = dropped_mass_bound(q, blocks, log_kept, dropped=torch.tensor([[False, True]]))
    >>> round(float(bound), 6)
    2.8e-05
    """
    bounds = log_mass_bounds(q, blocks, masses=masses, scale=scale)
    error = rounding_of_kept(q, blocks, log_kept.dtype, own_keys, scale)
    return share(total(bounds, dropped), log_kept - error)


def dropped_mass_lower(
    q: Tensor,
    blocks: KeyBlocks,
    log_kept: Tensor,
    *,
    dropped: Tensor | None = None,
    own_keys: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Return a lower bound of the dropped mass of each query: no choice of a bound above can do better.

    It holds where every key of a dropped block is visible.

    Parameters
    ----------
    q, blocks, log_kept, dropped, own_keys, scale
        As in :func:`dropped_mass_bound`.

    Returns
    -------
    Tensor of shape (..., n)
    """
    bounds = log_mass_lower(q, blocks, scale=scale)
    error = rounding_of_kept(q, blocks, log_kept.dtype, own_keys, scale)
    slack = 2 * (bounds.shape[-1] + 16) * unit_roundoff(bounds.dtype)
    return share_lower(total(bounds, dropped) - slack, log_kept + error)


def total(log_masses: Tensor, chosen: Tensor | None = None) -> Tensor:
    """Return the logarithm of the sum of the masses of the chosen blocks, enlarged by the rounding of the sum."""
    if chosen is not None:
        log_masses = torch.where(chosen, log_masses, -torch.inf)
    return torch.logsumexp(log_masses, dim=-1) + (log_masses.shape[-1] + 16) * unit_roundoff(log_masses.dtype)


def rounding_of_kept(
    q: Tensor, blocks: KeyBlocks, log_kept_dtype: torch.dtype, own_keys: Tensor | None, scale: float | None
) -> Tensor:
    """Return how far `log_kept`, as computed in its dtype, may be from the exact value, of shape (..., n)."""
    if torch.finfo(log_kept_dtype).bits < 32:
        raise ValueError(
            f"log_kept must be of float32 or wider: sums are to be accumulated there; got {log_kept_dtype}"
        )
    norm, n_keys = blocks.largest_norm, blocks.members.shape[-1] * blocks.members.shape[-2]
    if own_keys is not None and own_keys.shape[-2]:
        norm = torch.maximum(norm, lengths(own_keys.to(norm.dtype)).amax(-1))
        n_keys += own_keys.shape[-2]
    return kept_error(q.to(log_kept_dtype), norm, scale_of(q, scale), n_keys, blocks.sizes.shape[-1] + 1)


def output_error_bound(log_ratios: Tensor, distances: Tensor) -> Tensor:
    """Return the largest error of the output over all masses of the dropped blocks within their bounds.

    The error is ``sum_B r_B y_B / (1 + sum_B r_B)``: r is the mass of a block over the kept mass, and y the distance
    of a mean value of the block to the output of the kept keys. It is linear over linear in each r, so the largest
    one has every r at zero or at its bound; and a block belongs to it exactly if its distance exceeds the value of the
    whole. So the blocks are those of the largest distances, and all numbers of them are tried.

    Parameters
    ----------
    log_ratios : Tensor of shape (..., blocks)
        Logarithms of the bounds of r; minus infinity for what was kept.
    distances : Tensor of shape (..., blocks)
        Bounds of y.

    Returns
    -------
    Tensor of shape (...)

    Examples
    --------
    >>> import torch
    >>> output_error_bound(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0]))  # only the first: 1 / (1 + 1)
    tensor(0.5000)
    """
    order = torch.argsort(distances, dim=-1, descending=True, stable=True)
    ratios, far = log_ratios.gather(-1, order).double(), distances.gather(-1, order).double()
    # Ratios may be beyond the range of exp, and near blocks may be heavier than far ones by any factor: in logarithms.
    above = torch.logcumsumexp(ratios + far.log(), dim=-1)
    below = torch.logcumsumexp(torch.cat([torch.zeros_like(ratios[..., :1]), ratios], dim=-1), dim=-1)[..., 1:]
    size = torch.maximum(torch.where(above.isfinite(), above.abs(), 0.0), below).amax(-1)
    rounding = 4 * (distances.shape[-1] + 4) * (size + 4) * DOUBLE + 2 * unit_roundoff(distances.dtype)
    bound = ((above - below).amax(-1).exp() * (1 + rounding)).to(distances.dtype)
    # No error exceeds the largest distance; all that is known where a mass has no finite bound.
    farthest = distances.amax(-1)
    return torch.where(bound < farthest, bound, farthest)
