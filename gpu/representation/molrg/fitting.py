"""From points to a denoiser: a start, K-subspaces, and a few steps of gradient descent."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.gpu.representation.molrg.alternation import KSubspaces
from sparsetheory.gpu.representation.molrg.denoiser import MoLRGDenoiser

__all__ = ["MoLRGFit", "molrg_fit"]


@dataclass(frozen=True, eq=False)
class MoLRGFit:
    """A fitted mixture of low-rank Gaussians."""

    denoiser: MoLRGDenoiser
    subspaces: KSubspaces


def molrg_fit(
    X: Tensor,
    n_subspaces: int,
    n_components: int | Sequence[int] | None,
    *,
    init: str = "ssc_omp",
    n_init: int = 1,
    generator: torch.Generator | int | None = 0,
) -> MoLRGFit:
    """Fit a mixture of low-rank Gaussians to points."""
    raise NotImplementedError
