"""Sparse Doped: a sparse weight plus a dense product of low rank, at the cost of a dense layer.

Provenance: authors' code of Sparse-IFT.
"""

import torch
from torch import Tensor, nn

from sparsetheory.constraints import FLAG
from sparsetheory.gpu.weights.factors.drawn_layers import fix_masks, sparse_linears
from sparsetheory.gpu.weights.factors.iso_flop import iso_flop_width
from sparsetheory.gpu.weights.factors.merging import merged_linear

__all__ = ["SparseDopedLinear"]


class SparseDopedLinear(nn.Module):
    r"""A linear layer as :math:`(W_s + V U) x + b`, with a sparse :math:`W_s` and thin dense factors.

    The weights are ``sparse.weight``, whose mask is fixed, and ``inner.weight`` and ``outer.weight``.
    :func:`live_masks` reads the mask, and :func:`finalize` hands it over to a method that changes masks.

    Parameters
    ----------
    in_features, out_features, sparsity
        As in :func:`iso_flop_width`, which says what rank the product has.
    bias : bool
        Whether there is a bias; it starts at 0.
    generator : torch.Generator, int or None
        Source of the weights and the mask, drawn on the CPU.

    Raises
    ------
    ValueError
        If the sparsity is above 0, but too small for a product of rank 1. At 0 the layer is a dense one.

    See Also
    --------
    low_rank_plus_columns : The same kind of sum, with whole columns in the place of a sparse matrix, fitted to a given
        weight with bounds on the error.

    References
    ----------
    V. Thangarasa, S. Saxena, A. Gupta, S. Lie, "Sparse-IFT: Sparse Iso-FLOP Transformations for Maximizing Training
    Efficiency", ICML 2024, arXiv 2303.11525.

    Examples
    --------
    >>> import torch
    >>> layer = SparseDopedLinear(64, 64, 0.75, generator=0)
    >>> layer.rank, int(layer.sparse.weight.count_nonzero())
    (24, 1024)
    >>> x = torch.ones(5, 64)
    >>> torch.allclose(layer.merged()(x), layer(x), atol=1e-5)
    True
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        sparsity: float,
        *,
        bias: bool = True,
        generator: torch.Generator | int | None = None,
    ) -> None:
        super().__init__()
        sizes = iso_flop_width(in_features, out_features, sparsity, "doped")
        if sparsity > 0 and not sizes.width:
            least = (in_features + out_features) / (in_features * out_features)
            raise ValueError(f"sparsity must be 0, or at least {least:.6g} for a product of rank 1; got {sparsity!r}")
        layers, masks = sparse_linears(sizes, "sparse" if FLAG.check("bias", bias) else None, generator)
        self.sparse = layers["sparse"]
        self.inner = layers.get("inner")
        self.outer = layers.get("outer")
        fix_masks(self, masks)

    @property
    def rank(self) -> int:
        """Rank of the dense product."""
        return 0 if self.inner is None else self.inner.out_features

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs of shape (..., out_features) for inputs of shape (..., in_features)."""
        output: Tensor = self.sparse(x)
        return output if self.inner is None or self.outer is None else output + self.outer(self.inner(x))

    def merged(self) -> nn.Linear:
        """Return one dense layer with the same outputs."""
        return merged_linear(self.product(), self.sparse.bias)

    def product(self) -> Tensor:
        """Return the sum of the sparse weight and the product, of shape (out_features, in_features)."""
        weight: Tensor = self.sparse.weight
        return weight if self.inner is None or self.outer is None else weight + self.outer.weight @ self.inner.weight
