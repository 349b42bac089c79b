"""CRATE for images: patches become tokens, and the class token is classified."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, Choice
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.representation.crate.blocks import CrateBlock, new_linear

__all__ = ["CRATE_SIZES", "Crate", "CrateSize"]


@dataclass(frozen=True)
class CrateSize:
    """Widths and depth of a published network.

    Parameters
    ----------
    dim : int
        Features of a token.
    n_heads : int
    n_layers : int
    """

    dim: int
    n_heads: int
    n_layers: int


CRATE_SIZES = {
    "tiny": CrateSize(384, 6, 12),
    "small": CrateSize(576, 12, 12),
    "base": CrateSize(768, 12, 12),
    "large": CrateSize(1024, 16, 24),
}


class Crate(nn.Module):
    """A white-box transformer for images, made of :class:`CrateBlock` layers.

    A patch is normalised, mapped and normalised again; a class token stands before the patches; positions are learned.

    Parameters
    ----------
    image_size : int
        Height and width of a picture, a multiple of the patch size.
    patch_size : int
        Height and width of a patch.
    n_channels : int
        Colours of a picture.
    n_classes : int
    dim : int
        Features of a token.
    n_heads : int
        Subspaces of a layer.
    n_layers : int
    mode : str
        Of the layers, as :class:`CrateBlock` takes it.
    step_size, alpha : float
        Of the sparse coding of the layers.
    eps : float
        Distortion that modes other than "code" allow.
    generator : torch.Generator, int or None
        Source of the initial weights, drawn on the CPU.

    Raises
    ------
    ValueError
        If sizes do not fit, or a number is out of range.

    See Also
    --------
    sparsetheory.gpu.core.models.VisionTransformer : The usual transformer.

    Notes
    -----
    Source: Y. Yu et al., "White-Box Transformers via Sparse Rate Reduction", NeurIPS 2023, arXiv 2306.01129.

    Examples
    --------
    >>> import torch
    >>> model = Crate(8, 2, dim=16, n_heads=4, n_layers=2)
    >>> model(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    >>> with torch.device("meta"):  # sizes without memory
    ...     tiny = Crate.of_size("tiny")
    >>> len(tiny.blocks), sum(parameter.numel() for parameter in tiny.parameters())
    (12, 6090856)
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        *,
        n_channels: int = 1,
        n_classes: int = 10,
        dim: int = 32,
        n_heads: int = 4,
        n_layers: int = 4,
        mode: str = "code",
        step_size: float = 0.1,
        alpha: float = 0.1,
        eps: float = 0.5,
        generator: torch.Generator | int | None = 0,
    ) -> None:
        super().__init__()
        COUNT.require(image_size=image_size, patch_size=patch_size, n_channels=n_channels, n_classes=n_classes)
        COUNT.require(dim=dim, n_layers=n_layers)
        if image_size % patch_size:
            raise ValueError(f"image_size must be a multiple of patch_size={patch_size}; got {image_size!r}")
        source, entries = cpu_generator(generator), n_channels * patch_size**2
        self.patch_size, self.image_shape = patch_size, (n_channels, image_size, image_size)
        self.patches = nn.Sequential(
            nn.LayerNorm(entries), new_linear(entries, dim, bias=True, generator=source), nn.LayerNorm(dim)
        )
        self.class_token = nn.Parameter(torch.randn(dim, generator=source))
        self.positions = nn.Parameter(torch.randn((image_size // patch_size) ** 2 + 1, dim, generator=source))
        self.blocks = nn.ModuleList(
            CrateBlock(dim, n_heads, mode, step_size=step_size, alpha=alpha, eps=eps, generator=source)
            for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.head = new_linear(dim, n_classes, bias=True, generator=source)

    @classmethod
    def of_size(
        cls,
        size: str,
        image_size: int = 224,
        patch_size: int = 16,
        *,
        n_channels: int = 3,
        n_classes: int = 1000,
        **options: Any,
    ) -> "Crate":
        """Return a network of a published size: "tiny", "small", "base" or "large".

        Other arguments are those of the class.
        """
        chosen = CRATE_SIZES[Choice(*CRATE_SIZES).check("size", size)]
        widths = {"dim": chosen.dim, "n_heads": chosen.n_heads, "n_layers": chosen.n_layers}
        return cls(image_size, patch_size, n_channels=n_channels, n_classes=n_classes, **{**widths, **options})

    def embed(self, images: Tensor) -> Tensor:
        """Return tokens of shape (batch, 1 + n_patches, dim), the class token first."""
        images = images.unsqueeze(1) if images.ndim == 3 else images
        if images.shape[1:] != self.image_shape:
            raise ValueError(f"images must have shape (batch, *{self.image_shape}); got {tuple(images.shape)}")
        cells = nn.functional.unfold(images, self.patch_size, stride=self.patch_size).transpose(1, 2)
        patches = self.patches(cells)
        return torch.cat([self.class_token.expand(len(patches), 1, -1), patches], dim=1) + self.positions

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of shape (batch, n_classes).

        Parameters
        ----------
        images : Tensor of shape (batch, n_channels, image_size, image_size)
            An axis of one channel may be missing.

        Raises
        ------
        ValueError
            If the pictures have another shape.
        """
        x = self.embed(images)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x[:, 0]))
        return logits
