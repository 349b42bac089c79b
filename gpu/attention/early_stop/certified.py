"""The certified rule: stop when the keys not yet visited provably hold little mass."""
from dataclasses import dataclass
import torch
from torch import Tensor

from sparsetheory.gpu.attention.certificates.block_masses import Masses, log_mass_bounds, scale_of
from sparsetheory.gpu.attention.certificates.key_blocks import KeyBlocks

__all__ = ["RemainingMass", "remaining_mass"]


@dataclass(frozen=True, eq=False)
class RemainingMass:
    """Bounds of the mass of the blocks that were not visited.

    Parameters
    ----------
    log_mass : Tensor of shape (..., n, blocks + 1)
        Entry b bounds the logarithm of the mass of blocks b, b + 1, ...; the last one is minus infinity.
    rounding : Tensor of shape (..., n)
        What the logarithm of the computed sum over the kept keys may be too large by.
    """

    log_mass: Tensor
    rounding: Tensor

    def dropped(self, visited: int, log_kept: Tensor) -> Tensor:
        """Return the bound of the dropped mass of each query, (..., n), after `visited` blocks.

        `log_kept` is ``m + log l`` of the online softmax, over all keys that were visited, own segment included.
        """
        return torch.sigmoid(self.log_mass[..., visited] - (log_kept - self.rounding))


def remaining_mass(
    q: Tensor, blocks: KeyBlocks, *, masses: Masses = "variance", key_norm: Tensor | None = None,
    scale: float | None = None,
) -> RemainingMass:
    """Return the bounds for blocks that are visited in their order, 0, 1, ...

    `key_norm`: largest norm of a kept key that is in no block (the own segment).
    """
    raise NotImplementedError
