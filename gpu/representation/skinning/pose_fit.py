"""Skinning weights from poses: sparse least squares on the simplex, one problem per vertex."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, Choice
from sparsetheory.gpu.representation.skinning.blending import affine_maps, moved_by_bones
from sparsetheory.gpu.representation.skinning.pose_certificate import PoseFitCertificate, certify_fit
from sparsetheory.gpu.solvers.arguments import finite_tensor, in_memory_chunks
from sparsetheory.gpu.solvers.nonnegative import nnls_and_few
from sparsetheory.gpu.solvers.nonnegative_compiled import compiled_simplex_fits
from sparsetheory.gpu.solvers.nonnegative_swaps import swap_nonnegative

__all__ = ["SkinningFit", "skinning_from_poses"]

# Of a sum of products of misses.
_ROUNDINGS = 30


@dataclass(frozen=True, eq=False)
class SkinningFit:
    """Skinning weights that were fitted to poses.

    Parameters
    ----------
    weights : Tensor of shape (n_vertices, n_bones)
        Not negative; rows sum to one.
    residuals : Tensor of shape (n_vertices,)
        Root of the sum over poses of the squared distances between a vertex and where the weights carry it.
    lower_bounds : Tensor of shape (n_vertices,)
        What no weights that are not negative and sum to one fall below, with however many bones.
    certificate : PoseFitCertificate
    """

    weights: Tensor
    residuals: Tensor
    lower_bounds: Tensor
    certificate: PoseFitCertificate


def skinning_from_poses(
    poses: Tensor, transforms: Tensor, rest: Tensor, n_nonzero: int = 4, *, method: str = "swap"
) -> SkinningFit:
    r"""Find the skinning weights with which bones carry each vertex closest to where it is seen.

    For a vertex seen at :math:`v_f` in pose f, with :math:`T_{bf} x` where bone b alone would carry it, the weights
    minimise :math:`\sum_f |v_f - \sum_b s_b T_{bf} x|^2` over :math:`s \ge 0`, :math:`\sum_b s_b = 1` with at most
    `n_nonzero` nonzeros: sparse regression on the simplex. This is the weight step of smooth skinning decomposition
    [1]_. Each problem is solved without the limit; while too many bones are left, the one of smallest weight is
    dropped and the others are fitted again. Exchanges of one bone for another one may follow.

    Parameters
    ----------
    poses : Tensor of shape (n_poses, n_vertices, n_dims)
        Where vertices are seen.
    transforms : Tensor of shape (n_poses, n_bones, n_dims, n_dims + 1)
        Maps of the bones from rest to each pose; square ones of ``n_dims + 1`` rows are allowed.
    rest : Tensor of shape (n_vertices, n_dims)
        Vertices at rest.
    n_nonzero : int
        Largest number of bones per vertex.
    method : {"drop", "swap"}
        Whether to stop there, or to go on until no exchange of one bone for another one helps. That takes longer,
        several times on an accelerator, and finds the true bones from fewer poses.

    Returns
    -------
    SkinningFit
        In the dtype and device of `poses`, without gradients.

    Raises
    ------
    ValueError
        If shapes, dtypes or devices do not fit, values are not finite, or `n_nonzero` is not at least 1.

    Notes
    -----
    A residual says how well poses are explained, not that the weights are the true ones. Weights are identified only
    where no two mixtures of bones carry the vertex to the same places in all poses; each pose gives n_dims equations,
    so few poses, or bones that never turn against each other, leave many mixtures. Computed in double precision.
    Gram matrices of all bones take ``n_poses n_dims n_bones**2`` operations per vertex, the larger part of the time
    for many poses. A processor fits one vertex after the other, compiled, and keeps no Gram matrix.

    References
    ----------
    .. [1] Le, Deng: Smooth skinning decomposition with rigid bones, ACM Transactions on Graphics 31(6), 2012.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.representation import linear_blend_skinning, make_tube_rig, random_bone_motions
    >>> rig = make_tube_rig()
    >>> rest, maps = rig.vertices.double(), random_bone_motions(rig.heads.double(), n_poses=5)
    >>> poses = linear_blend_skinning(rest, rig.weights.double(), maps)
    >>> fit = skinning_from_poses(poses, maps, rest)
    >>> bool((fit.weights - rig.weights).abs().max() < 1e-5)
    True
    >>> print(fit.certificate.check(poses, maps, rest).status)
    valid
    """
    poses, maps, rest = _checked(poses, transforms, rest)
    n_poses, n_bones = maps.shape[:2]
    Choice("drop", "swap").check("method", method)
    limit = min(COUNT.check("n_nonzero", n_nonzero), n_bones)
    weights = torch.empty(len(rest), n_bones, dtype=torch.float64, device=poses.device)
    relaxed, lower_bounds = torch.empty_like(weights), weights.new_empty(len(rest))
    residuals = torch.empty_like(lower_bounds)
    each = (3 * n_poses * maps.shape[2] + 2 * n_bones) * n_bones * weights.element_size()
    for part in in_memory_chunks(len(rest), each, poses.device):
        # With weights that sum to one, what counts is by how much each bone alone misses the vertex.
        moved = moved_by_bones(rest[part].to(torch.float64), maps)
        misses = (moved - poses[:, part].unsqueeze(2)).permute(1, 0, 3, 2).flatten(1, 2)
        relaxed[part], weights[part] = _fitted(misses, limit, swaps=method == "swap")
        residuals[part] = (misses @ weights[part].unsqueeze(2)).squeeze(2).norm(dim=1)
        lower_bounds[part] = _lower_bounds(misses, relaxed[part])
    weights, residuals, lower_bounds = (part.to(poses.dtype) for part in (weights, residuals, lower_bounds))
    certificate = certify_fit(weights, relaxed, limit, residuals, lower_bounds)
    return SkinningFit(weights, residuals, lower_bounds, certificate)


def _fitted(misses: Tensor, limit: int, *, swaps: bool) -> tuple[Tensor, Tensor]:
    """Return the weights of the shortest mixtures of the misses, and of short ones of few bones."""
    if misses.device.type == "cpu":
        return compiled_simplex_fits(misses, limit, swaps=swaps)
    zeros, gram = misses.new_zeros(len(misses), misses.shape[2]), misses.mT @ misses
    minimum, few = nnls_and_few(gram, zeros, limit, sum_to_one=True)
    return minimum, swap_nonnegative(gram, zeros, few, limit, sum_to_one=True) if swaps else few


def _lower_bounds(misses: Tensor, relaxed: Tensor) -> Tensor:
    """Return how far all mixtures of the misses stay from zero in the direction of the least one, at least.

    The direction of a short mixture of long columns is uncertain, which is taken off.
    """
    least = (misses @ relaxed.unsqueeze(2)).squeeze(2)
    length = least.norm(dim=1)
    reached = (misses.mT @ least.unsqueeze(2)).squeeze(2).amin(1)
    rounding = _ROUNDINGS * torch.finfo(misses.dtype).eps * misses.square().sum(1).amax(1)
    return torch.where(length > 0, (reached - rounding) / length, 0.0).clamp(min=0)


def _checked(poses: Tensor, transforms: Tensor, rest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return poses, maps in double precision, one set per pose, and vertices at rest, after checks; no gradients."""
    for name, value in (("poses", poses), ("transforms", transforms), ("rest", rest)):
        finite_tensor(name, value)
        if value.dtype != poses.dtype or value.device != poses.device:
            raise ValueError(f"{name} must have the dtype and device of poses, {poses.dtype} on {poses.device}")
    maps = affine_maps(rest, transforms)
    if maps.ndim != 4 or not maps.shape[1] or poses.shape != (len(maps), *rest.shape) or not poses.numel():
        raise ValueError(
            "poses, transforms and rest must have shapes (n_poses, n_vertices, n_dims), "
            "(n_poses, n_bones, n_dims, n_dims + 1) and (n_vertices, n_dims) with at least one of each; "
            f"got {tuple(poses.shape)}, {tuple(transforms.shape)} and {tuple(rest.shape)}"
        )
    return poses.detach(), maps.detach().to(torch.float64), rest.detach()
