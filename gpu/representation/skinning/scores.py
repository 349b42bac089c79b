"""How far skinning weights are from others: in weights, in supports, and in what they do to a surface."""

from dataclasses import dataclass

from torch import Tensor

from sparsetheory.constraints import NONNEGATIVE
from sparsetheory.gpu.representation.skinning.blending import linear_blend_skinning

__all__ = ["SkinningScore", "blend_error", "skinning_score"]


@dataclass(frozen=True)
class SkinningScore:
    """Distances between two tables of skinning weights.

    Parameters
    ----------
    l1_per_vertex : float
        Mean over vertices of the sum of absolute differences; at most 2 where rows sum to one.
    l1_per_active : float
        The sum of all absolute differences over the number of true weights above zero.
    iou : float
        Intersection over union of the supports: the weights above the threshold.
    """

    l1_per_vertex: float
    l1_per_active: float
    iou: float


def skinning_score(weights: Tensor, true_weights: Tensor, *, threshold: float = 0.01) -> SkinningScore:
    """Compare skinning weights with the true ones.

    Parameters
    ----------
    weights, true_weights : Tensor of shape (..., n_vertices, n_bones)
    threshold : float
        Weights above it count as support.

    Returns
    -------
    SkinningScore

    Raises
    ------
    ValueError
        If the tables are not of one shape, or no true weight is above zero.

    Examples
    --------
    >>> import torch
    >>> skinning_score(torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]]))
    SkinningScore(l1_per_vertex=1.0, l1_per_active=1.0, iou=0.5)
    """
    NONNEGATIVE.check("threshold", threshold)
    if weights.shape != true_weights.shape or not weights.numel():
        raise ValueError(
            f"weights and true_weights must have one shape with entries; "
            f"got {tuple(weights.shape)} and {tuple(true_weights.shape)}"
        )
    n_active = int((true_weights > 0).sum())
    if not n_active:
        raise ValueError("true_weights must have an entry above zero; got none")
    differences = (weights - true_weights).abs()
    found, there = weights > threshold, true_weights > threshold
    union = int((found | there).sum())
    return SkinningScore(
        float(differences.sum(-1).mean()),
        float(differences.sum()) / n_active,
        int((found & there).sum()) / union if union else 1.0,
    )


def blend_error(vertices: Tensor, weights: Tensor, true_weights: Tensor, transforms: Tensor) -> float:
    """Return the mean distance between where two tables of weights carry the vertices.

    Parameters
    ----------
    vertices : Tensor of shape (n_vertices, n_dims)
    weights, true_weights : Tensor of shape (n_vertices, n_bones)
    transforms : Tensor
        As in :func:`linear_blend_skinning`.

    Returns
    -------
    float
        In the unit of the vertices.
    """
    ours, true = (linear_blend_skinning(vertices, table, transforms) for table in (weights, true_weights))
    return float((ours - true).norm(dim=-1).mean())
