"""A small vision transformer for pictures of digits."""

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.core.models.initialisation import initialise
from sparsetheory.gpu.core.models.transformer import Attention, FeedForward, PreNormBlock
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["VisionTransformer"]

_POSITION_STD = 0.02


class VisionTransformer(nn.Module):
    """A vision transformer: patches are tokens, blocks normalise first, the mean token is classified.

    Parameters
    ----------
    image_size : int
        Height and width of a picture, a multiple of the patch size.
    patch_size : int
        Height and width of a patch.
    n_channels : int
        Colours of a picture.
    n_classes : int
    width : int
        Features of a token.
    n_layers : int
        Blocks.
    n_heads : int
        Attention heads of a block.
    hidden : int
        Hidden units of a feed-forward network.
    initialisation : str
        Of linear layers, as :func:`initialise` takes it. Position embeddings are normal with standard deviation 0.02.
    generator : torch.Generator, int or None
        Source of the initial weights, drawn on the CPU.

    Notes
    -----
    Source: A. Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021; with the mean token in place of a class
    token, as L. Beyer et al., "Better plain ViT baselines for ImageNet-1k", arXiv 2205.01580.

    Examples
    --------
    >>> import torch
    >>> model = VisionTransformer(28, 4, width=16, n_layers=1, n_heads=2, hidden=32)
    >>> model(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        *,
        n_channels: int = 1,
        n_classes: int = 10,
        width: int = 64,
        n_layers: int = 4,
        n_heads: int = 4,
        hidden: int = 128,
        initialisation: str = "lecun_normal",
        generator: torch.Generator | int | None = 0,
    ) -> None:
        super().__init__()
        COUNT.require(image_size=image_size, patch_size=patch_size, n_channels=n_channels, n_classes=n_classes)
        COUNT.require(width=width, n_layers=n_layers)
        if image_size % patch_size:
            raise ValueError(f"image_size must be a multiple of patch_size={patch_size}; got {image_size!r}")
        self.patch_size = patch_size
        self.patches = nn.Linear(n_channels * patch_size**2, width)
        self.positions = nn.Parameter(torch.empty((image_size // patch_size) ** 2, width))
        self.blocks = nn.ModuleList(
            PreNormBlock(Attention(width, n_heads, causal=False), FeedForward(width, hidden), width)
            for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_classes)
        source = cpu_generator(generator)
        nn.init.normal_(self.positions, std=_POSITION_STD, generator=source)
        initialise(self, initialisation, source)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of shape (batch, n_classes).

        Parameters
        ----------
        images : Tensor of shape (batch, n_channels, image_size, image_size)
            An axis of one channel may be missing.
        """
        images = images.unsqueeze(1) if images.ndim == 3 else images
        cells = nn.functional.unfold(images, self.patch_size, stride=self.patch_size).transpose(1, 2)
        x = self.patches(cells) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(dim=1))
