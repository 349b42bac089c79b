"""Pruning by a score, without any change of what is kept: magnitude, and Wanda of Sun et al. (2023)."""

from typing import Any

from torch import Tensor

from sparsetheory.constraints import Instance
from sparsetheory.gpu.core.patterns import Pattern
from sparsetheory.gpu.weights.layerwise.pruned import Pruned, check_gram, check_weight

__all__ = ["magnitude", "wanda"]

_PATTERN = Instance(Pattern, "a pattern such as NM(2, 4) or PerRow(density=0.5)")


def magnitude(W: Tensor, pattern: Pattern) -> Pruned:
    """Keep the entries of largest magnitude.

    Parameters
    ----------
    W : Tensor of shape (out, features)
        Weights of a layer, one row per output, in any floating-point precision.
    pattern : Pattern
        Which sets of entries may be kept.

    Returns
    -------
    Pruned
        Kept values are those of `W`, bit by bit.

    Raises
    ------
    TypeError, ValueError
        If `W` is not a finite real matrix, or does not fit the pattern.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import NM
    >>> magnitude(torch.tensor([[1.0, -3.0, 2.0, 0.5]]), NM(2, 4)).weight
    tensor([[ 0., -3.,  2.,  0.]])
    """
    _PATTERN.check("pattern", pattern)
    return Pruned.of(W, pattern.mask(check_weight(W).abs(), name="W"), W.dtype)


def wanda(W: Tensor, gram: Any, pattern: Pattern) -> Pruned:
    """Keep the entries that contribute most to the output, each taken alone.

    The score of an entry is its magnitude times the root mean square of its input, ``|W_ij| sqrt(G_jj)``. The published
    method compares the entries of a row, or of a group of an N:M pattern, with each other, and prunes
    ``int(features * sparsity)`` entries of a row. Here the pattern says what is compared and how many are kept. If
    inputs are uncorrelated, the result has the smallest output error of all matrices with this N:M or per-row pattern.

    Parameters
    ----------
    W : Tensor of shape (out, features)
        Weights of a layer, one row per output, in any floating-point precision.
    gram : Tensor of shape (features, features), or Gram
        ``X'X / n`` of the inputs of the layer, or any multiple of it. Only its diagonal counts.
    pattern : Pattern
        Which sets of entries may be kept.

    Returns
    -------
    Pruned
        Kept values are those of `W`, bit by bit.

    Raises
    ------
    TypeError, ValueError
        If `W` is not a finite real matrix, the Gram matrix is not symmetric and finite, or shapes do not fit.

    References
    ----------
    M. Sun, Z. Liu, A. Bair, J. Z. Kolter, A simple and effective pruning approach for large language models,
    ICLR 2024.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import NM
    >>> wanda(torch.tensor([[1.0, -3.0, 2.0, 0.5]]), torch.diag(torch.tensor([16.0, 1.0, 1.0, 1.0])), NM(2, 4)).weight
    tensor([[ 1., -3.,  0.,  0.]])
    """
    _PATTERN.check("pattern", pattern)
    weight = check_weight(W)
    scale = check_gram(gram, weight).diagonal().sqrt()
    return Pruned.of(W, pattern.mask(weight.abs() * scale, name="W"), W.dtype)
