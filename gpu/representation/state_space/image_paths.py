"""Four paths through an image."""

from torch import Tensor, nn

__all__ = ["LowRankSS2D", "ss2d_merge", "ss2d_scan"]


def ss2d_scan(x: Tensor) -> Tensor:
    """Return the pixels of images along four paths."""
    raise NotImplementedError


def ss2d_merge(sequences: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return images that add up what four paths say of each pixel."""
    raise NotImplementedError


class LowRankSS2D(nn.Module):
    """A layer that runs a state space model along each of four paths."""
