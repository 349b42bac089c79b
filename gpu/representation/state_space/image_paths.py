"""Four paths through an image, and a layer that runs a state space model along each of them."""

from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, SIZE, Instance, Several
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.representation.state_space.low_rank_model import LowRankSSM

__all__ = ["LowRankSS2D", "ss2d_merge", "ss2d_scan"]

_SIZES = Several(SIZE)


def ss2d_scan(x: Tensor) -> Tensor:
    """Return the pixels of images along four paths: by rows, by columns, and both from the end.

    Parameters
    ----------
    x : Tensor of shape (..., n_channels, height, width)

    Returns
    -------
    Tensor of shape (..., 4, height * width, n_channels)
        Sequences as state space models take them.

    Raises
    ------
    ValueError
        If `x` is not a tensor with three axes at least.

    References
    ----------
    Y. Liu et al., "VMamba: Visual State Space Model", NeurIPS 2024, arXiv 2401.10166.

    Examples
    --------
    >>> import torch
    >>> ss2d_scan(torch.arange(6).reshape(1, 2, 3)).squeeze(-1).tolist()
    [[0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5], [5, 4, 3, 2, 1, 0], [5, 2, 4, 1, 3, 0]]
    """
    _require_axes("x", x)
    ways = torch.stack([x.flatten(-2), x.mT.flatten(-2)], -3).mT
    return torch.cat([ways, ways.flip(-2)], -3)


def ss2d_merge(sequences: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return images that add up, for each pixel, what the four paths say of it.

    Parameters
    ----------
    sequences : Tensor of shape (..., 4, height * width, n_channels)
        In the order of :func:`ss2d_scan`.
    shape : tuple of int
        Height and width.

    Returns
    -------
    Tensor of shape (..., n_channels, height, width)

    Raises
    ------
    ValueError
        If the sequences do not have four paths of ``height * width`` pixels.

    Notes
    -----
    The adjoint of the scan. Merging what was scanned gives four times the image.

    Examples
    --------
    >>> import torch
    >>> image = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(ss2d_merge(ss2d_scan(image), (5, 4)), 4 * image)
    True
    """
    _require_axes("sequences", sequences)
    if not _SIZES.accepts(shape) or len(shape) != 2:
        raise ValueError(f"shape must hold two integers from 0, height and width; got {shape!r}")
    height, width = shape
    if sequences.shape[-3] != 4 or sequences.shape[-2] != height * width:
        raise ValueError(
            f"sequences must have shape (..., 4, {height * width}, n_channels) for images of {height} x {width}; "
            f"got {tuple(sequences.shape)}"
        )
    forth, back = sequences.split(2, -3)
    ways = (forth + back.flip(-2)).mT
    return ways[..., 0, :, :].unflatten(-1, (height, width)) + ways[..., 1, :, :].unflatten(-1, (width, height)).mT


class LowRankSS2D(nn.Module):
    """A layer for images that adds up a state space model of low rank along each of four paths.

    Parameters
    ----------
    n_channels : int
    n_states, rank : int
        Of each of the four models, see :class:`LowRankSSM`.
    generator : torch.Generator, int or None
        Source of the weights, drawn on the CPU.
    **options
        Further options of :class:`LowRankSSM`.

    Notes
    -----
    A transition of low rank saves nothing where it is diagonal, as in VMamba: there a truncation deletes states. This
    layer is for transitions that mix states.

    References
    ----------
    Zhang, Tabaro, Abdelmoniem, An, "DLRMamba: Distilling Low-Rank Mamba for Edge Multispectral Fusion Object
    Detection", arXiv 2603.06920, 2026.

    Examples
    --------
    >>> import torch
    >>> layer = LowRankSS2D(3, 16, 4, generator=0)
    >>> layer(torch.zeros(2, 3, 7, 5)).shape
    torch.Size([2, 3, 7, 5])
    """

    def __init__(
        self,
        n_channels: int,
        n_states: int,
        rank: int,
        *,
        generator: torch.Generator | int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        COUNT.check("n_channels", n_channels)
        self.n_channels, source = n_channels, cpu_generator(generator)
        self.paths = nn.ModuleList(
            LowRankSSM(n_states, rank, n_inputs=n_channels, n_outputs=n_channels, generator=source, **options)
            for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return images of the shape (..., n_channels, height, width) of those given."""
        sequences = ss2d_scan(x).unbind(-3)
        if x.shape[-3] != self.n_channels:
            raise ValueError(f"x must have shape (..., {self.n_channels}, height, width); got {tuple(x.shape)}")
        found = [path(sequence) for path, sequence in zip(self.paths, sequences, strict=True)]
        return ss2d_merge(torch.stack(found, -3), (x.shape[-2], x.shape[-1]))


def _require_axes(name: str, value: Tensor) -> None:
    Instance(Tensor, "a tensor").check(name, value)
    if value.ndim < 3:
        raise ValueError(f"{name} must have at least 3 axes; got shape {tuple(value.shape)}")
