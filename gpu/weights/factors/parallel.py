"""Sparse Parallel: several sparse branches side by side, at the cost of a dense layer.

Provenance: authors' code of Sparse-IFT.
"""

import torch
from torch import Tensor, nn

from sparsetheory.constraints import Choice
from sparsetheory.gpu.core.models.activation import activation_module
from sparsetheory.gpu.weights.factors.drawn_layers import fix_masks, sparse_linears
from sparsetheory.gpu.weights.factors.iso_flop import iso_flop_width
from sparsetheory.gpu.weights.factors.merging import merged_linear
from sparsetheory.gpu.weights.factors.normalisation import FeatureNorm, normalisation_module

__all__ = ["SparseParallelLinear"]


class SparseParallelLinear(nn.Module):
    r"""Sparse branches whose normalised outputs are summed before an activation: :math:`\sigma(\sum_j N_j(W_j x))`.

    Without a normalisation in each branch the sum would be one sparse matrix. The biases are those of the
    normalisations. The weights are ``branches.0.weight`` and so on; their masks are fixed: :func:`live_masks` reads
    them, and :func:`finalize` hands them over to a method that changes masks.

    Parameters
    ----------
    in_features, out_features, sparsity
        As in :func:`iso_flop_width`, which says how many branches there are.
    activation : {"relu", "gelu", "identity", "silu", "tanh"}
    normalisation : {"batch", "layer"}
        Of each branch; "batch" is the published choice.
    generator : torch.Generator, int or None
        Source of the weights and masks, drawn on the CPU.

    Warns
    -----
    UserWarning
        If ``1 / (1 - sparsity)`` is not an integer.

    References
    ----------
    V. Thangarasa, S. Saxena, A. Gupta, S. Lie, "Sparse-IFT: Sparse Iso-FLOP Transformations for Maximizing Training
    Efficiency", ICML 2024, arXiv 2303.11525.

    Examples
    --------
    >>> import torch
    >>> layer = SparseParallelLinear(64, 48, 0.75, generator=0)
    >>> len(layer.branches), sum(int(branch.weight.count_nonzero()) for branch in layer.branches)
    (4, 3072)
    >>> layer(torch.ones(5, 64)).shape
    torch.Size([5, 48])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        sparsity: float,
        *,
        activation: str = "relu",
        normalisation: str = "batch",
        generator: torch.Generator | int | None = None,
    ) -> None:
        super().__init__()
        Choice("batch", "layer").check("normalisation", normalisation)
        sizes = iso_flop_width(in_features, out_features, sparsity, "parallel")
        layers, masks = sparse_linears(sizes, None, generator)
        self.branches = nn.ModuleList(layers.values())
        self.normalisations = nn.ModuleList(normalisation_module(normalisation, out_features) for _ in layers)
        self.activation = activation_module(activation)
        fix_masks(self, masks)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs of shape (..., out_features) for inputs of shape (..., in_features)."""
        parts = [norm(branch(x)) for branch, norm in zip(self.branches, self.normalisations, strict=True)]
        output: Tensor = self.activation(torch.stack(parts).sum(0))
        return output

    def merged(self) -> nn.Sequential:
        """Return one dense layer and the activation, with the outputs that this layer has in evaluation mode.

        Raises
        ------
        ValueError
            If branches are normalised over features: what they are divided by depends on the input then.
        """
        weights, biases = [], []
        for branch, norm in zip(self.branches, self.normalisations, strict=True):
            if not isinstance(norm, FeatureNorm):
                raise ValueError("normalisation must be 'batch' for branches to merge into one matrix")
            scale, shift = norm.frozen()
            assert isinstance(branch, nn.Linear)
            weights.append(scale[:, None] * branch.weight)
            biases.append(shift)
        linear = merged_linear(torch.stack(weights).sum(0), torch.stack(biases).sum(0))
        return nn.Sequential(linear, self.activation)
