"""The denoising loss of a mixture of low-rank Gaussians."""

import torch
from torch import Tensor

from sparsetheory.gpu.representation.molrg.denoiser import MoLRGDenoiser

__all__ = ["molrg_loss"]


def molrg_loss(
    denoiser: MoLRGDenoiser,
    X: Tensor,
    noise_std: float | Tensor,
    *,
    scale: float | Tensor = 1.0,
    expected: bool = False,
    generator: torch.Generator | int | None = None,
) -> Tensor:
    """Return the mean squared error of denoised points."""
    raise NotImplementedError
