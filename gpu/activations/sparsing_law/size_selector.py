"""Selectors of neurons by size: by a threshold on sizes or norms, and by one cut through all tokens of a layer."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from sparsetheory.constraints import Real
from sparsetheory.gpu.activations.selectors import check_scale
from sparsetheory.gpu.activations.sparsing_law.neurons import THRESHOLD
from sparsetheory.gpu.core.selection import check_scores, keep_largest, kept_count

__all__ = ["LargestOfLayer", "SizeThreshold", "fat_threshold"]

_SHARE = Real(0.0, 1.0)


@dataclass(frozen=True, eq=False)
class SizeThreshold:
    """Keep what is not zero and at least as large as a threshold, by size or by size times a scale of its feature.

    With the scales of :meth:`of_norms` it is the rule of CETT; without scales, on the outputs of gates, that of
    FATReLU; with 0 it keeps what is not zero exactly. What lies at the threshold is kept here, and dropped by
    :class:`sparsetheory.gpu.activations.ColumnScaled`.

    Parameters
    ----------
    threshold : float
        At least 0; infinity never keeps.
    scale : Tensor of shape (n_neurons,), optional
        Not negative.

    Examples
    --------
    >>> import torch
    >>> SizeThreshold(2.0, torch.tensor([1.0, 2.0, 0.0]))(torch.tensor([-1.0, 1.0, 9.0]))
    tensor([False,  True, False])
    """

    threshold: float
    scale: Tensor | None = None

    def __post_init__(self) -> None:
        THRESHOLD.require(threshold=self.threshold)
        if self.scale is not None:
            check_scale(self.scale)

    @classmethod
    def of_norms(cls, eps: float, w_out: Tensor) -> Self:
        """Return the rule that leaves out neurons whose norm is below `eps`.

        Parameters
        ----------
        eps : float
            As :func:`cett_threshold` returns it.
        w_out : Tensor of shape (width, n_neurons)
            Weight of the down projection. A neuron whose column is zero adds nothing and is never kept.
        """
        THRESHOLD.require(eps=eps)
        weight = check_scores(w_out, "w_out").detach()
        return cls(eps, weight.to(torch.promote_types(weight.dtype, torch.float32)).norm(dim=0))

    def __call__(self, x: Tensor) -> Tensor:
        """Return the mask of activations of shape (..., n_neurons)."""
        # Products with norms are those that thresholds came from: at a threshold, quotients round to either side.
        sizes = x.detach().abs() if self.scale is None else x.detach().abs() * self.scale.to(x.device)
        return (sizes != 0) & ~(sizes < self.threshold)


@dataclass(frozen=True)
class LargestOfLayer:
    """Keep a share of all entries of a call, the largest in size: one cut for all tokens together.

    This is how the code of "Sparsing Law" keeps the "top k". Tokens may keep different numbers; to give each token the
    same, take :class:`sparsetheory.gpu.activations.Largest`. Padding takes part.

    Parameters
    ----------
    density : float
        Share of entries to keep.

    Examples
    --------
    >>> import torch
    >>> LargestOfLayer(0.5)(torch.tensor([[4.0, -3.0], [1.0, 2.0]]))
    tensor([[ True,  True],
            [False, False]])
    """

    density: float

    def __post_init__(self) -> None:
        _SHARE.require(density=self.density)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the mask of activations of any shape."""
        sizes = check_scores(x, "x").abs().flatten()
        return keep_largest(sizes, kept_count(self.density, sizes.numel())).reshape(x.shape)


def fat_threshold(hidden: Iterable[Tensor], density: float) -> float:
    """Return the size that a share of the activations of several layers reaches, all layers together.

    Parameters
    ----------
    hidden : iterable of Tensor
        Activations of each layer, of any shapes: outputs of gates, or of activation functions where there is no gate.
    density : float
        Share of entries that :class:`SizeThreshold` keeps with it; more where entries tie at the cut.

    Returns
    -------
    float
        Infinity for a density of 0.

    Examples
    --------
    >>> import torch
    >>> fat_threshold([torch.tensor([1.0, -4.0]), torch.tensor([2.0, 3.0])], 0.5)
    3.0
    """
    _SHARE.require(density=density)
    sizes = torch.cat([check_scores(x, "hidden").abs().flatten() for x in hidden])
    count = kept_count(density, sizes.numel())
    return float(sizes.kthvalue(sizes.numel() - count + 1).values) if count else float("inf")
