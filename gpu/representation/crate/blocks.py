"""Layers of a white-box transformer, in the conventions of its authors: an encoder block and a decoder block."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.constraints import COUNT, FLAG, MISSING, NONNEGATIVE, POSITIVE, Choice
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.representation.crate.mssa import MSSA_MODES, mssa_step, subspace_attention
from sparsetheory.gpu.representation.crate.tokens import check_mask, without_masked

__all__ = ["CrateBlock", "CrateDecoderBlock", "SubspaceAttention", "new_linear"]


class SubspaceAttention(nn.Module):
    """Attention whose queries, keys and values are one projection of the tokens on subspaces.

    Parameters
    ----------
    dim : int
        Features of a token.
    n_heads : int
        Subspaces.
    n_components : int
        Dimension of a subspace.
    softmax : bool
        Whether weights are a softmax; otherwise they are the scaled inner products themselves.
    output : bool
        Whether the heads are joined by a free affine layer. It is left out where one head has all features.
    generator : torch.Generator
        Source of the initial weights, those of :class:`torch.nn.Linear`.
    """

    def __init__(
        self, dim: int, n_heads: int, n_components: int, *, softmax: bool, output: bool, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.n_heads, self.softmax, self.scale = n_heads, softmax, n_components**-0.5
        self.qkv = new_linear(dim, n_heads * n_components, bias=False, generator=generator)
        self.to_out: nn.Module = nn.Identity()
        if output and not (n_heads == 1 and n_components == dim):
            self.to_out = new_linear(n_heads * n_components, dim, bias=True, generator=generator)

    @property
    def bases(self) -> Tensor:
        """Bases of the subspaces, of shape (n_heads, dim, n_components): consecutive rows of the projection."""
        return self.qkv.weight.unflatten(0, (self.n_heads, -1)).mT

    def project(self, x: Tensor) -> Tensor:
        """Return coordinates of shape (..., n_heads, n_tokens, n_components)."""
        projected: Tensor = self.qkv(x)
        return projected.unflatten(-1, (self.n_heads, -1)).transpose(-3, -2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return outputs of the shape of ``x``, (..., n_tokens, dim); tokens off the mask are not seen."""
        check_mask("x", x, mask)
        # Zeros, as a weight of zero does not hide what is not a number.
        W = self.project(without_masked(x, mask))
        mixed = subspace_attention(W, self.scale, mask) if self.softmax else self.scale * (W @ (W.mT @ W))
        joined: Tensor = self.to_out(mixed.transpose(-3, -2).flatten(-2))
        return joined


class CrateBlock(nn.Module):
    """A layer of CRATE: attention within subspaces is added to the tokens, then they become sparse codes.

    In mode "code" tokens x become ``y = x + attention(norm(x))``, and with ``h = norm(y)`` the output is
    ``relu(h + step_size * (D^T h - D^T D h) - step_size * alpha)``, without a residual connection.

    Parameters
    ----------
    dim : int
        Features of a token.
    n_heads : int
        Subspaces, the heads.
    mode : {"code", "exact", "paper_step", "paper_unscaled", "negative"}
        "code" is the layer of the authors: the projection is on normalised tokens, and a free affine layer joins the
        heads. In the other modes the tokens themselves take the step of :func:`mssa_step` in the subspaces that the
        projection holds, with its default step size.
    head_dim : int, optional
        Dimension of a subspace; by default ``dim // n_heads``.
    step_size : float
        Of the sparse coding, at least 0.
    alpha : float
        Strength of the penalty of the sparse coding, at least 0.
    eps : float
        Distortion that the modes other than "code" allow, above 0.
    generator : torch.Generator, int or None
        Source of the initial weights, drawn on the CPU.

    Attributes
    ----------
    weight : Parameter of shape (dim, dim)
        The dictionary, one atom per column as in the authors' code: ``D h`` is ``functional.linear(h, weight)``. Its
        transpose is what :func:`ista_block` takes. At the start its squared spectral norm is about 8, so that the
        default step of 0.1 is shorter than the longest one with a guarantee.

    Raises
    ------
    ValueError
        If sizes do not fit, or a number is out of range.

    Notes
    -----
    ``2 dim (dim + 2 n_heads head_dim)`` operations for each token, and ``4 n_heads head_dim`` for each pair of tokens.

    Source: Y. Yu et al., "White-Box Transformers via Sparse Rate Reduction", NeurIPS 2023, arXiv 2306.01129, with the
    conventions of the authors' code: the factor p / (N eps^2) is dropped, and the bases do not join the heads.

    Examples
    --------
    >>> import torch
    >>> block = CrateBlock(16, n_heads=4)
    >>> codes = block(torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0)))
    >>> codes.shape, bool((codes >= 0).all())
    (torch.Size([2, 5, 16]), True)
    """

    def __init__(
        self,
        dim: int,
        n_heads: int,
        mode: str = "code",
        *,
        head_dim: int | None = None,
        step_size: float = 0.1,
        alpha: float = 0.1,
        eps: float = 0.5,
        generator: torch.Generator | int | None = 0,
    ) -> None:
        super().__init__()
        n_components = _head_dim(dim, n_heads, head_dim)
        Choice(*MSSA_MODES).require(mode=mode)
        NONNEGATIVE.require(step_size=step_size, alpha=alpha)
        POSITIVE.require(eps=eps)
        self.mode, self.step_size, self.alpha, self.eps = mode, step_size, alpha, eps
        source = cpu_generator(generator)
        # Steps on the rate of the tokens take the tokens as they are.
        self.attention_norm = nn.LayerNorm(dim) if mode == "code" else nn.Identity()
        self.coding_norm = nn.LayerNorm(dim)
        self.attention = SubspaceAttention(
            dim, n_heads, n_components, softmax=True, output=mode == "code", generator=source
        )
        self.weight = nn.Parameter(torch.empty(dim, dim))
        nn.init.kaiming_uniform_(self.weight, generator=source)

    def compress(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the tokens after attention, before sparse coding."""
        if self.mode == "code":
            attended: Tensor = self.attention(self.attention_norm(x), mask)
            return x + attended
        return mssa_step(x, self.attention.bases, self.eps, mode=self.mode, mask=mask)

    def sparsify(self, x: Tensor) -> Tensor:
        """Return the sparse codes of tokens, after normalisation."""
        h = self.coding_norm(x)
        residual = h - functional.linear(h, self.weight)
        moved = h + self.step_size * functional.linear(residual, self.weight.t())
        return functional.relu(moved - self.step_size * self.alpha)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return sparse tokens.

        Parameters
        ----------
        x : Tensor of shape (..., n_tokens, dim)
        mask : Tensor of bool of shape (..., n_tokens), optional
            Which tokens count. Others, as padding, are not seen by any token.

        Returns
        -------
        Tensor of shape (..., n_tokens, dim)
        """
        return self.sparsify(self.compress(x, mask))


class CrateDecoderBlock(nn.Module):
    """A layer of the decoder of CRATE's autoencoder: a linear map, then attention is subtracted.

    Tokens x become ``y = A norm(x)`` and then ``y - attention(norm(y))``; the linear map has no residual connection.

    Parameters
    ----------
    dim : int
        Features of a token.
    n_heads : int
        Subspaces, the heads.
    head_dim : int, optional
        Dimension of a subspace; by default ``dim // n_heads``.
    softmax : bool
        Whether the weights of attention are a softmax; otherwise they are the scaled inner products.
    generator : torch.Generator, int or None
        Source of the initial weights, drawn on the CPU.

    Attributes
    ----------
    weight : Parameter of shape (dim, dim)
        The map A.

    Raises
    ------
    ValueError
        If sizes do not fit.

    Notes
    -----
    Source: D. Pai et al., "Masked Completion via Structured Diffusion with White-Box Transformers", ICLR 2024, arXiv
    2404.02446, with the conventions of the authors' code.

    Examples
    --------
    >>> import torch
    >>> CrateDecoderBlock(16, n_heads=4)(torch.ones(2, 5, 16)).shape
    torch.Size([2, 5, 16])
    """

    def __init__(
        self,
        dim: int,
        n_heads: int,
        *,
        head_dim: int | None = None,
        softmax: bool = True,
        generator: torch.Generator | int | None = 0,
    ) -> None:
        super().__init__()
        n_components = _head_dim(dim, n_heads, head_dim)
        FLAG.require(softmax=softmax)
        source = cpu_generator(generator)
        self.linear_norm, self.attention_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.weight = nn.Parameter(torch.empty(dim, dim))
        nn.init.kaiming_uniform_(self.weight, generator=source)
        self.attention = SubspaceAttention(dim, n_heads, n_components, softmax=softmax, output=True, generator=source)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return tokens of the shape of ``x``, (..., n_tokens, dim); tokens off the mask are not seen by any."""
        y = functional.linear(self.linear_norm(x), self.weight)
        attended: Tensor = self.attention(self.attention_norm(y), mask)
        return y - attended


def _head_dim(dim: int, n_heads: int, head_dim: int | None) -> int:
    """Return the dimension of a subspace, after checks."""
    COUNT.require(dim=dim, n_heads=n_heads)
    (MISSING | COUNT).require(head_dim=head_dim)
    if head_dim is None and dim % n_heads:
        raise ValueError(f"dim must be a multiple of n_heads={n_heads} unless head_dim is given; got {dim!r}")
    return head_dim or dim // n_heads


def new_linear(n_inputs: int, n_outputs: int, *, bias: bool, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer with the initial weights of torch, from a generator."""
    # Without torch's own draw, which would move its global generator.
    layer = nn.utils.skip_init(nn.Linear, n_inputs, n_outputs, bias=bias)
    nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=generator)
    if bias:
        nn.init.uniform_(layer.bias, -(n_inputs**-0.5), n_inputs**-0.5, generator=generator)
    return layer
