"""Sparse Factorized: two sparse factors with a nonlinearity between them, at the cost of a dense layer.

Provenance: authors' code of Sparse-IFT.
"""

import torch
from torch import Tensor, nn

from sparsetheory.constraints import FLAG
from sparsetheory.gpu.core.models.activation import activation_module
from sparsetheory.gpu.weights.factors.drawn_layers import fix_masks, sparse_linears
from sparsetheory.gpu.weights.factors.iso_flop import iso_flop_width
from sparsetheory.gpu.weights.factors.merging import merged_linear
from sparsetheory.gpu.weights.factors.normalisation import normalisation_module

__all__ = ["SparseFactorizedLinear"]


class SparseFactorizedLinear(nn.Sequential):
    r"""A linear layer as :math:`V \sigma(U x) + b` with sparse factors, at the cost of a dense one.

    The weights are ``inner.weight`` and ``outer.weight``. Their masks are fixed; :func:`live_masks` reads them, and
    :func:`finalize` hands them over to a method that changes masks.

    Parameters
    ----------
    in_features, out_features, sparsity
        As in :func:`iso_flop_width`, which says how wide the layer is inside.
    activation : {"relu", "gelu", "identity", "silu", "tanh"}
        Between the factors; "relu" is the published choice.
    normalisation : {"batch", "layer", "none"}
        Before the activation. Without it and with "identity" the factors merge into one matrix.
    dense_outer : bool
        Whether the second factor is dense.
    bias : bool
        Whether there is a bias; it starts at 0.
    generator : torch.Generator, int or None
        Source of the weights and masks, drawn on the CPU.

    Notes
    -----
    Linear factors are low rank only if the inner width, ``d_in d_out / (q (d_in + d_out))``, is below both sides. For a
    square layer it is at sparsities under one half; above, the product can be any matrix.

    References
    ----------
    V. Thangarasa, S. Saxena, A. Gupta, S. Lie, "Sparse-IFT: Sparse Iso-FLOP Transformations for Maximizing Training
    Efficiency", ICML 2024, arXiv 2303.11525.

    Examples
    --------
    >>> import torch
    >>> layer = SparseFactorizedLinear(64, 64, 0.75, generator=0)
    >>> layer(torch.zeros(5, 64)).shape, int(layer.inner.weight.count_nonzero() + layer.outer.weight.count_nonzero())
    (torch.Size([5, 64]), 4096)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        sparsity: float,
        *,
        activation: str = "relu",
        normalisation: str = "batch",
        dense_outer: bool = False,
        bias: bool = True,
        generator: torch.Generator | int | None = None,
    ) -> None:
        super().__init__()
        sizes = iso_flop_width(in_features, out_features, sparsity, "factorized", dense_outer=dense_outer)
        layers, masks = sparse_linears(sizes, "outer" if FLAG.check("bias", bias) else None, generator)
        # A sequence runs its modules in the order in which they are set.
        self.inner = layers["inner"]
        self.normalisation = normalisation_module(normalisation, sizes.width)
        self.activation = activation_module(activation)
        self.outer = layers["outer"]
        fix_masks(self, masks)

    def merged(self) -> nn.Linear:
        """Return one dense layer with the same outputs.

        Raises
        ------
        ValueError
            If there is a normalisation or an activation between the factors.
        """
        if not isinstance(self.activation, nn.Identity) or not isinstance(self.normalisation, nn.Identity):
            raise ValueError("activation must be 'identity' and normalisation 'none' for factors to merge")
        return merged_linear(self.product(), self.outer.bias)

    def product(self) -> Tensor:
        """Return the product of the factors, of shape (out_features, in_features)."""
        product: Tensor = self.outer.weight @ self.inner.weight
        return product
