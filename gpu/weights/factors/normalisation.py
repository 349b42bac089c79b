"""Normalisations within layers made of factors, over any number of leading axes."""

import torch
from torch import Tensor, nn

from sparsetheory.constraints import Choice

__all__ = ["FeatureNorm", "normalisation_module"]


class FeatureNorm(nn.BatchNorm1d):
    """Batch normalisation of the last axis; all other axes are rows of the batch."""

    def forward(self, x: Tensor) -> Tensor:
        """Return normalised inputs of shape (..., n_features)."""
        return super().forward(x.reshape(-1, x.shape[-1])).reshape(x.shape)

    def frozen(self) -> tuple[Tensor, Tensor]:
        """Return by what outputs are multiplied, and what is added, in evaluation mode."""
        mean, variance = self.running_mean, self.running_var
        assert mean is not None
        assert variance is not None
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return scale, self.bias - scale * mean


def normalisation_module(normalisation: str, n_features: int) -> nn.Module:
    """Return a new module that normalises each feature over a batch, or each row over its features, or nothing."""
    Choice("batch", "layer", "none").check("normalisation", normalisation)
    if normalisation == "none":
        return nn.Identity()
    return FeatureNorm(n_features) if normalisation == "batch" else nn.LayerNorm(n_features)
