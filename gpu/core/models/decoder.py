"""A small decoder over characters: pre-normalised blocks with a gated feed-forward network."""

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.core.models.initialisation import initialise
from sparsetheory.gpu.core.models.transformer import Attention, GatedFFN, PreNormBlock
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["CharacterDecoder"]

_EMBEDDING_STD = 0.02


class CharacterDecoder(nn.Module):
    """A causal decoder with learned positions, pre-normalised blocks and gated feed-forward networks.

    Parameters
    ----------
    n_characters : int
        Size of the alphabet.
    width : int
        Features of a position.
    n_layers : int
        Blocks.
    n_heads : int
        Attention heads of a block.
    hidden : int
        Hidden units of a feed-forward network.
    context : int
        Most positions of a text.
    activation : str
        Of the gates: "silu", "relu" or another name that :class:`GatedFFN` takes.
    initialisation : str
        Of linear layers, as :func:`initialise` takes it. Embeddings are normal with standard deviation 0.02.
    generator : torch.Generator, int or None
        Source of the initial weights, drawn on the CPU.

    Examples
    --------
    >>> import torch
    >>> model = CharacterDecoder(27, width=16, n_layers=1, n_heads=2, hidden=32, context=8)
    >>> model(torch.zeros(3, 8, dtype=torch.long)).shape
    torch.Size([3, 8, 27])
    """

    def __init__(
        self,
        n_characters: int,
        *,
        width: int = 64,
        n_layers: int = 2,
        n_heads: int = 4,
        hidden: int = 160,
        context: int = 64,
        activation: str = "silu",
        initialisation: str = "lecun_normal",
        generator: torch.Generator | int | None = 0,
    ) -> None:
        super().__init__()
        COUNT.require(n_characters=n_characters, width=width, n_layers=n_layers, context=context)
        self.characters, self.positions = nn.Embedding(n_characters, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(
            PreNormBlock(Attention(width, n_heads, causal=True), GatedFFN(width, hidden, activation), width)
            for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_characters, bias=False)
        source = cpu_generator(generator)
        for table in (self.characters, self.positions):
            nn.init.normal_(table.weight, std=_EMBEDDING_STD, generator=source)
        initialise(self, initialisation, source)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits of the next character, of shape (batch, positions, n_characters).

        Parameters
        ----------
        tokens : Tensor of int64 of shape (batch, positions)
            Numbers of characters; at most ``context`` positions.
        """
        if tokens.shape[1] > self.positions.num_embeddings:
            raise ValueError(
                f"tokens must have at most {self.positions.num_embeddings} positions; got {tokens.shape[1]}"
            )
        x = self.characters(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))
