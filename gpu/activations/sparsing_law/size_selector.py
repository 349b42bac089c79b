"""Selectors of neurons by size: by thresholds of their own, and by one cut through all tokens of a layer."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from sparsetheory.constraints import Real
from sparsetheory.gpu.activations.sparsing_law.neurons import THRESHOLD
from sparsetheory.gpu.core.selection import check_scores, keep_largest, kept_count

__all__ = ["LargestOfLayer", "SizeThreshold", "fat_threshold"]

_SHARE = Real(0.0, 1.0)


@dataclass(frozen=True, eq=False)
class SizeThreshold:
    """Keep what is not zero and at least as large as a threshold, of each neuron or of all.

    With the thresholds of :meth:`of_norms` it is the rule of CETT; with one threshold on the outputs of gates that of
    FATReLU; with 0 it keeps what is not zero exactly.

    Parameters
    ----------
    threshold : Tensor of shape (n_neurons,), or float
        Sizes at least 0; infinity never keeps.

    Examples
    --------
    >>> import torch
    >>> SizeThreshold(torch.tensor([1.0, 2.0, 0.0]))(torch.tensor([-1.0, 1.0, 0.0]))
    tensor([ True, False, False])
    """

    threshold: Tensor | float

    def __post_init__(self) -> None:
        if not isinstance(self.threshold, Tensor):
            THRESHOLD.require(threshold=self.threshold)
        elif self.threshold.ndim != 1 or not bool((check_scores(self.threshold, "threshold") >= 0).all()):
            raise ValueError(
                "threshold must be a vector without negative entries; "
                f"got shape {tuple(self.threshold.shape)} with {int((self.threshold < 0).sum())} of them"
            )

    @classmethod
    def of_norms(cls, eps: float, w_out: Tensor) -> Self:
        """Return the rule that leaves out neurons whose norm is below `eps`, with a threshold for each.

        Parameters
        ----------
        eps : float
            As :func:`cett_threshold` returns it.
        w_out : Tensor of shape (width, n_neurons)
            Weight of the down projection. A neuron whose column is zero adds nothing and is never kept.
        """
        THRESHOLD.require(eps=eps)
        weight = check_scores(w_out, "w_out")
        norms = weight.to(torch.promote_types(weight.dtype, torch.float32)).norm(dim=0)
        return cls(torch.where(norms > 0, eps / norms, torch.inf))

    def __call__(self, x: Tensor) -> Tensor:
        """Return the mask of activations of shape (..., n_neurons)."""
        threshold = self.threshold.to(x.device) if isinstance(self.threshold, Tensor) else self.threshold
        return (x != 0) & (x.abs() >= threshold)


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
