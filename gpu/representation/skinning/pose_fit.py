"""Skinning weights from poses: sparse least squares on the simplex, one problem per vertex."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["SkinningFit", "skinning_from_poses"]


@dataclass(frozen=True, eq=False)
class SkinningFit:
    """Skinning weights that were fitted to poses.

    Parameters
    ----------
    weights : Tensor of shape (n_vertices, n_bones)
    """

    weights: Tensor


def skinning_from_poses(poses: Tensor, transforms: Tensor, rest: Tensor, n_nonzero: int = 4) -> SkinningFit:
    """Fit skinning weights to poses."""
    raise NotImplementedError
