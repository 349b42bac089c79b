"""The posterior mean of a mixture of low-rank Gaussians, as a layer whose subspaces can be trained."""

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["MoLRGDenoiser"]


class MoLRGDenoiser(nn.Module):
    """Posterior mean of points of a mixture of low-rank Gaussians."""

    def __init__(self, bases: Sequence[Tensor], weights: Tensor | None = None, *, assignment: str = "soft") -> None:
        super().__init__()
        raise NotImplementedError

    def forward(self, x: Tensor, noise_std: float | Tensor, scale: float | Tensor = 1.0) -> Tensor:
        """Return the posterior mean."""
        raise NotImplementedError
