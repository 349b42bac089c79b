"""An autoencoder of skinning weights with discrete codes: a few tokens for each bone."""

from collections.abc import Sequence

from torch import nn

__all__ = ["SkinningVAE", "skinning_loss"]


class SkinningVAE(nn.Module):
    """Code the weights of each bone in a few tokens."""

    def __init__(self, levels: Sequence[int] = (8, 5, 5, 5), *, n_tokens: int = 4, width: int = 96) -> None:
        super().__init__()


def skinning_loss() -> None:
    """Return cross-entropy plus soft Dice loss."""
