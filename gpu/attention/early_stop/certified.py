"""The certified rule: stop when the keys not yet visited provably hold little mass."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.gpu.attention.certificates.block_masses import Masses, log_mass_bounds
from sparsetheory.gpu.attention.certificates.key_blocks import KeyBlocks
from sparsetheory.gpu.attention.certificates.mass_bounds import rounding_of_kept
from sparsetheory.gpu.attention.certificates.rounding import DOUBLE, share, unit_roundoff

__all__ = ["RemainingMass", "remaining_mass", "suffix_log_sums"]


@dataclass(frozen=True, eq=False)
class RemainingMass:
    """Bounds of the mass of the blocks that were not visited yet, for every number of visited blocks.

    Parameters
    ----------
    log_mass : Tensor of shape (..., n, blocks + 1)
        Entry b bounds the logarithm of the mass of the blocks b, b + 1, and so on; the last one is minus infinity.
    rounding : Tensor of shape (..., n)
        What the logarithm of the sum over the visited keys, as computed, may be too large by.
    """

    log_mass: Tensor
    rounding: Tensor

    def dropped(self, visited: int, log_kept: Tensor) -> Tensor:
        """Return a bound of the mass that every query drops if it stops after some blocks.

        Parameters
        ----------
        visited : int
            How many blocks were visited.
        log_kept : Tensor of shape (..., n)
            ``log sum exp`` of the scores of all visited keys, those before the first block included: ``m + log l`` in
            the terms of an online softmax.

        Returns
        -------
        Tensor of shape (..., n)
        """
        return share(self.log_mass[..., visited], log_kept - self.rounding)


def remaining_mass(
    q: Tensor,
    blocks: KeyBlocks,
    *,
    masses: Masses = "variance",
    own_keys: Tensor | None = None,
    scale: float | None = None,
) -> RemainingMass:
    """Return the bounds for blocks that are visited in their order.

    Computed once for a tile of queries, before its loop: at ``4 d`` operations a query and block for "plain" masses,
    and ``2 d^2`` more for "variance".

    Parameters
    ----------
    q : Tensor of shape (..., n, d)
    blocks : KeyBlocks
        In the order in which they are visited. Every query of the tile sees all of their keys, or fewer.
    masses : {"plain", "chord", "deviation", "variance"}
        As in :func:`log_mass_bounds`.
    own_keys : Tensor of shape (..., m, d), optional
        Keys that are visited before the first block, in no block themselves.
    scale : float, optional
        Factor of the scores; ``1 / sqrt(d)`` by default.

    Returns
    -------
    RemainingMass

    Examples
    --------
    >>> import torch
    >>> q, k = torch.tensor([[4.0, 0.0]]), torch.tensor([[4.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    >>> rest = remaining_mass(q, KeyBlocks.from_keys(k, torch.tensor([0, 1, 1])))
    >>> bound = rest.dropped(1, torch.tensor([11.3137]))  # after the first block, whose only score is this
    >>> round(float(bound), 6)
    2.8e-05
    """
    bounds = log_mass_bounds(q, blocks, masses=masses, scale=scale)
    return RemainingMass(suffix_log_sums(bounds), rounding_of_kept(q, blocks, bounds.dtype, own_keys, scale))


def suffix_log_sums(log_masses: Tensor) -> Tensor:
    """Return the logarithm of the sum of all masses from each block on, enlarged by the rounding of the sums.

    Parameters
    ----------
    log_masses : Tensor of shape (..., blocks)

    Returns
    -------
    Tensor of shape (..., blocks + 1)
        The last entry is minus infinity: no block is left.
    """
    # From the end, every block adds to the sum of those behind it: as many roundings as blocks, so in float64.
    sums = torch.logcumsumexp(log_masses.double().flip(-1), dim=-1).flip(-1)
    size = torch.where(torch.isfinite(sums), sums.abs(), 0.0)
    steps = log_masses.shape[-1] * (size.amax(-1, keepdim=True) + 4) * DOUBLE
    sums = (sums + 4 * steps + (2 * size + 16) * unit_roundoff(log_masses.dtype)).to(log_masses.dtype)
    return torch.cat([sums, torch.full_like(sums[..., :1], -torch.inf)], dim=-1)
