"""Parts of our own transformers: attention, two feed-forward networks, and a block that normalises first."""

from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.core.models.activation import activation_module

__all__ = ["Attention", "FeedForward", "GatedFFN", "PreNormBlock"]


class GatedFFN(nn.Module):
    """A gated feed-forward network, ``down(activation(gate(x)) * up(x))``, without biases.

    Its hidden activations are the inputs of the layer ``down``; hooks read them there.

    Parameters
    ----------
    width : int
        Features of inputs and outputs.
    hidden : int
        Hidden units.
    activation : str
        Of the gate: "silu" gives SwiGLU, "relu" gives ReGLU.

    Notes
    -----
    Source: N. Shazeer, "GLU Variants Improve Transformer", arXiv 2002.05202.

    Examples
    --------
    >>> import torch
    >>> network = GatedFFN(8, 20)
    >>> x = torch.ones(3, 8)
    >>> hidden = torch.nn.functional.silu(network.gate(x)) * network.up(x)
    >>> torch.equal(network(x), network.down(hidden))
    True
    """

    def __init__(self, width: int, hidden: int, activation: str = "silu") -> None:
        super().__init__()
        COUNT.require(width=width, hidden=hidden)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        self.activation = activation_module(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs of the shape of ``x``, (..., width)."""
        return self.down(self.activation(self.gate(x)) * self.up(x))


class FeedForward(nn.Module):
    """A feed-forward network with one hidden layer, ``down(activation(up(x)))``, with biases.

    Parameters
    ----------
    width : int
        Features of inputs and outputs.
    hidden : int
        Hidden units.
    activation : str
    """

    def __init__(self, width: int, hidden: int, activation: str = "gelu") -> None:
        super().__init__()
        COUNT.require(width=width, hidden=hidden)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.activation = activation_module(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs of the shape of ``x``, (..., width)."""
        return self.down(self.activation(self.up(x)))


class Attention(nn.Module):
    """Attention with several heads; query, key, value and output are linear layers of their own, without biases.

    Parameters
    ----------
    width : int
        Features, a multiple of the number of heads.
    n_heads : int
    causal : bool
        Whether a position sees only itself and those before it.
    """

    def __init__(self, width: int, n_heads: int, *, causal: bool) -> None:
        super().__init__()
        COUNT.require(width=width, n_heads=n_heads)
        if width % n_heads:
            raise ValueError(f"width must be a multiple of n_heads={n_heads}; got {width!r}")
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.n_heads, self.causal = n_heads, causal

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs of the shape of ``x``, (batch, positions, width)."""
        q, k, v = (
            part(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).flatten(2))


class PreNormBlock(nn.Module):
    """Two residual steps, each with layer normalisation before it: attention, then a feed-forward network.

    Parameters
    ----------
    attention : torch.nn.Module
    feed_forward : torch.nn.Module
        As attention from (batch, positions, width) to the same shape.
    width : int
    """

    def __init__(self, attention: nn.Module, feed_forward: nn.Module, width: int) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(width), attention
        self.feed_forward_norm, self.feed_forward = nn.LayerNorm(width), feed_forward

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs of the shape of ``x``, (batch, positions, width)."""
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(self.feed_forward_norm(x))
