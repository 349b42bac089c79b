"""What a weight is worth to a learner of several tasks."""

from collections.abc import Sequence

from torch import Tensor

from sparsetheory.constraints import NONNEGATIVE, Choice
from sparsetheory.gpu.core.hooks.snapshots import Snapshot

__all__ = ["ContinualImportance"]


class ContinualImportance:
    """Drop score of a continual learner, from the weight w and its gradient g.

    ==========  ===========================  =====================================================================
    importance  score                        what it is
    ==========  ===========================  =====================================================================
    "sparcl"    ``|w| + gradient_weight|g|`` as published; a sum of two different units, so it depends on the scale
                                             of the inputs
    "taylor"    ``|w g|``                    size of the change of the loss to first order when w becomes 0
    "price"     ``-w g + w**2 h / 2``        the change itself to second order, with its sign
    ==========  ===========================  =====================================================================

    The loss of a replaying learner is a sum over new and stored samples, and so is g. On a quadratic whose second
    derivatives are the h, the price is what removing the one weight costs, exactly, at any point. At a minimum, where
    g is 0, it is :func:`curvature_price`; with all other weights solved for again the cost is that of
    :class:`SupportedQuadratic`.

    The price is for one weight at a time, or a few. Those of the smallest prices all push the loss down, so they push
    the network the same way, and together far too far: dropped at once, one weight in a thousand can double the loss.
    To drop many at once leave the first order out, and take :func:`curvature_price`.

    Parameters
    ----------
    gradient_weight : float
        Of "sparcl": weight of the gradient, at least 0; with 0 the score is the magnitude.
    importance : {"sparcl", "taylor", "price"}
        Which score.
    curvatures : sequence of Tensor, optional
        Of "price", and needed there: for each mask of the controller second derivatives of the loss, of a shape that
        broadcasts to that of the weight; see :func:`gauss_newton_diagonal`.

    Raises
    ------
    ValueError
        If an argument is out of range, or `curvatures` are missing or given without use.

    References
    ----------
    Wang et al., "SparCL: Sparse Continual Learning on the Edge", NeurIPS 2022, arXiv 2209.09476; LeCun, Denker, Solla,
    "Optimal Brain Damage", NIPS 1989, for the second order.

    Examples
    --------
    >>> import torch
    >>> ContinualImportance(0.5).score(torch.tensor([1.0, -2.0]), torch.tensor([4.0, 1.0]))
    tensor([3.0000, 2.5000])
    >>> price = ContinualImportance(importance="price", curvatures=[torch.tensor([2.0, 2.0])])
    >>> price.score(torch.tensor([1.0, -2.0]), torch.tensor([4.0, 1.0]))
    tensor([-3.,  6.])
    """

    def __init__(
        self,
        gradient_weight: float = 0.5,
        *,
        importance: str = "sparcl",
        curvatures: Sequence[Tensor] | None = None,
    ) -> None:
        self.gradient_weight = NONNEGATIVE.check("gradient_weight", gradient_weight)
        self.importance = Choice("sparcl", "taylor", "price").check("importance", importance)
        if (curvatures is None) == (importance == "price"):
            got = "none" if curvatures is None else f"{len(curvatures)} for {importance!r}"
            raise ValueError(f"curvatures must be given for the importance 'price', and only for it; got {got}")
        self._curvatures = curvatures

    def __call__(self, snapshot: Snapshot) -> Tensor:
        """Return the score of a snapshot."""
        return self.score(snapshot.weight, snapshot.gradient, snapshot.index)

    def score(self, weight: Tensor, gradient: Tensor, index: int = 0) -> Tensor:
        """Return the score of a weight from its gradient.

        Parameters
        ----------
        weight, gradient : Tensor of one shape
        index : int
            Of the mask, for its curvatures.

        Returns
        -------
        Tensor of that shape
        """
        if self.importance == "sparcl":
            return weight.abs() + self.gradient_weight * gradient.abs()
        if self._curvatures is None:
            return (weight * gradient).abs()
        return weight.square() * self._curvatures[index] / 2 - weight * gradient
