"""A layer of an encoder that computes foreground tokens only; the most telling of them attend to each other."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.constraints import COUNT, FLAG, MISSING
from sparsetheory.gpu.attention.tokens.token_sets import TokenSet, top_tokens
from sparsetheory.gpu.core.models.initialisation import initialise

__all__ = ["FineAttention", "FocusEncoderLayer"]


class _Attention(nn.Module):
    """Attention of several heads, over the keys that exist."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))

    def split(self, x: Tensor, layer: nn.Linear) -> Tensor:
        """Return the heads of a projection, of shape (batch, heads, n, dim // heads)."""
        return layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, exists: Tensor) -> Tensor:
        q, k, v = self.split(queries, self.query), self.split(keys, self.key), self.split(values, self.value)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=exists[:, None, None])
        return self.out(mixed.transpose(1, 2).flatten(2))


@dataclass(frozen=True, eq=False)
class FineAttention:
    """The attention among fine tokens as a selection of keys, as certificates take it.

    Parameters
    ----------
    q : Tensor of shape (batch, heads, fine, head_dim)
        Queries of the fine tokens.
    k, v : Tensor of shape (batch, heads, foreground, head_dim)
        Keys and values of all foreground tokens.
    kept : Tensor of bool of shape (batch, 1, 1, foreground)
        The fine tokens among them.
    visible : Tensor of bool of shape (batch, 1, 1, foreground)
        Those that exist, where images have different numbers of them.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    kept: Tensor
    visible: Tensor


class FocusEncoderLayer(nn.Module):
    """Compute the foreground tokens of each image and leave all others as they are [1]_.

    The tokens of the largest foreground scores are gathered. Of these, the `topk` largest products of foreground score
    and largest class score attend to each other, with a residual and a normalisation. Then all gathered tokens attend
    to the whole map and pass a feed-forward network, again with residuals and normalisations, and are written back.
    The attention to the map is the usual one, where the authors use a deformable one.

    Parameters
    ----------
    dim : int
        Features of a token.
    heads : int
        Heads of both attentions, a divisor of `dim`.
    topk : int
        Tokens that attend to each other, at most; all gathered ones where there are fewer.
    ffn_dim : int, optional
        Hidden units of the feed-forward network, ``4 * dim`` by default.
    sigmoid : bool
        Multiply probabilities, the logistic functions of both scores. The authors multiply the logits themselves, so
        that two negative ones make a large product; that is the default.
    generator : torch.Generator, int or None
        Source of the initial weights, drawn on the CPU.

    Raises
    ------
    ValueError
        If `heads` does not divide `dim`, or a number is not allowed.

    References
    ----------
    .. [1] D. Zheng, W. Dong, H. Hu, X. Chen, Y. Wang, "Less is more: focus attention for efficient DETR", ICCV 2023,
       arXiv:2307.12612; the authors' code for torch.

    Examples
    --------
    >>> import torch
    >>> layer = FocusEncoderLayer(8, heads=2, topk=3)
    >>> tokens = torch.randn(1, 10, 8)
    >>> output = layer(tokens, scores=torch.arange(10.0)[None], class_scores=torch.randn(1, 10, 4), budget=4)
    >>> torch.equal(output[:, :6], tokens[:, :6]), torch.equal(output[:, 6:], tokens[:, 6:])
    (True, False)
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        topk: int = 300,
        *,
        ffn_dim: int | None = None,
        sigmoid: bool = False,
        generator: torch.Generator | int | None = 0,
    ) -> None:
        super().__init__()
        COUNT.require(dim=dim, heads=heads, topk=topk)
        (MISSING | COUNT).check("ffn_dim", ffn_dim)
        if dim % heads:
            raise ValueError(f"dim must be a multiple of heads={heads}; got {dim}")
        self.topk, self.sigmoid = topk, FLAG.check("sigmoid", sigmoid)
        self.fine_attention, self.map_attention = _Attention(dim, heads), _Attention(dim, heads)
        hidden = 4 * dim if ffn_dim is None else ffn_dim
        self.feed_forward = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.fine_norm, self.map_norm, self.norm = (nn.LayerNorm(dim) for _ in range(3))
        initialise(self, "glorot_uniform", generator)

    def forward(
        self,
        tokens: Tensor,
        scores: Tensor,
        class_scores: Tensor,
        budget: int | Tensor,
        *,
        pos: Tensor | None = None,
        valid: Tensor | None = None,
        memory: Tensor | None = None,
        memory_valid: Tensor | None = None,
    ) -> Tensor:
        """Return the tokens after the layer.

        Parameters
        ----------
        tokens : Tensor of shape (batch, n, dim)
        scores : Tensor of shape (batch, n)
            Foreground scores, as logits.
        class_scores : Tensor of shape (batch, n, classes)
            Scores of classes for the tokens as they are now, as logits.
        budget : int, or Tensor of integers of shape (batch,)
            Tokens to compute in each image, as :func:`cascade_budgets` gives them.
        pos : Tensor of shape (batch, n, dim), optional
            Codes of positions, added to queries and to the keys of tokens.
        valid : Tensor of bool of shape (batch, n), optional
            True where a token is no padding.
        memory : Tensor of shape (batch, m, dim), optional
            What gathered tokens attend to, such as a :func:`pooled_map`; by default all valid tokens.
        memory_valid : Tensor of bool of shape (batch, m), optional
            True where `memory` is no padding.

        Returns
        -------
        Tensor of shape (batch, n, dim)
            Tokens that were not gathered are the same bits as before.

        Raises
        ------
        ValueError
            If an image has fewer valid tokens than its budget, or a score is not a number.
        """
        chosen = top_tokens(scores, budget, valid=valid)
        place = torch.zeros_like(tokens) if pos is None else pos
        x, at = chosen.gather(tokens), chosen.gather(place)
        x = self._mix_fine(x, at, self.fine_tokens(chosen, scores, class_scores))
        if memory is None:
            keys, values, exists = tokens + place, tokens, valid
        else:
            keys, values, exists = memory, memory, memory_valid
        if exists is None:
            exists = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        x = self.map_norm(x + self.map_attention(x + at, keys, values, exists))
        x = self.norm(x + self.feed_forward(x))
        return chosen.scatter(tokens, x)

    def fine_tokens(self, chosen: TokenSet, scores: Tensor, class_scores: Tensor) -> TokenSet:
        """Return the tokens that attend to each other, by their places among the gathered ones.

        Parameters
        ----------
        chosen : TokenSet
            The gathered tokens.
        scores : Tensor of shape (batch, n)
            Foreground scores of all tokens.
        class_scores : Tensor of shape (batch, n, classes)
            Scores of classes of all tokens.

        Returns
        -------
        TokenSet
        """
        foreground, classes = scores, class_scores.amax(-1)
        if self.sigmoid:
            foreground, classes = foreground.sigmoid(), classes.sigmoid()
        products = chosen.gather(foreground * classes)
        return top_tokens(products, chosen.exists.sum(1).clamp(max=self.topk), valid=chosen.exists)

    def attention_problem(
        self,
        tokens: Tensor,
        scores: Tensor,
        class_scores: Tensor,
        budget: int | Tensor,
        *,
        pos: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> FineAttention:
        """Return the attention among fine tokens as a selection from all foreground keys.

        :func:`attention_error_certificate` then says how much mass it drops, and how far its outputs are from those of
        attention to all foreground tokens.

        Parameters
        ----------
        tokens, scores, class_scores, budget, pos, valid
            As in :meth:`forward`.

        Returns
        -------
        FineAttention
        """
        chosen = top_tokens(scores, budget, valid=valid)
        x = chosen.gather(tokens)
        placed = x if pos is None else x + chosen.gather(pos)
        fine = self.fine_tokens(chosen, scores, class_scores)
        kept = torch.zeros_like(chosen.exists).scatter(1, fine.index, fine.exists)
        attention = self.fine_attention
        return FineAttention(
            attention.split(fine.gather(placed), attention.query),
            attention.split(placed, attention.key),
            attention.split(x, attention.value),
            kept[:, None, None],
            chosen.exists[:, None, None],
        )

    def _mix_fine(self, x: Tensor, at: Tensor, fine: TokenSet) -> Tensor:
        own = fine.gather(x)
        placed = own + fine.gather(at)
        return fine.scatter(x, self.fine_norm(own + self.fine_attention(placed, placed, own, fine.exists)))
