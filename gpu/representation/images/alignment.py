"""Scale and shift between a prior and a depth map, and the rotation between normals."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import FLAG
from sparsetheory.gpu.solvers.arguments import finite_tensor, together

__all__ = ["Alignment", "align_scale_shift", "kabsch"]

# Share of the largest distances that the robust loss leaves out.
_TRIMMED = 0.2
# Spreads within this many roundings of the largest value are those of a constant.
_ROUNDINGS = 16


@dataclass(frozen=True, eq=False)
class Alignment:
    """How a prior is brought to the scale of a depth map: ``scale * prior + shift``.

    Attributes
    ----------
    scale, shift : float
        The scale is 0 for a constant prior.
    loss : float
        What is left: the weighted mean of the squares, or in the robust form the mean distance without the largest
        fifth, in the (squared) unit of the depth.
    """

    scale: float
    shift: float
    loss: float

    @property
    def is_degenerate(self) -> bool:
        """Whether the scale is not positive, so that the prior tells nothing of the depth, or tells it upside down."""
        return self.scale <= 0

    def apply(self, prior: Tensor) -> Tensor:
        """Return the prior on the scale of the depth map."""
        return self.scale * prior + self.shift


def align_scale_shift(prior: Tensor, depth: Tensor, weights: Tensor | None = None, robust: bool = False) -> Alignment:
    r"""Bring a prior, which is known up to scale and shift, to the scale of a depth map.

    Minimises :math:`\sum_j w_j (a p_j + b - z_j)^2` over a and b. The robust form matches medians, and mean distances
    from them; its scale is never negative.

    Parameters
    ----------
    prior, depth : Tensor of one shape
        Entries without weight may be anything.
    weights : Tensor of the same shape, optional
        At least 0, or a mask; 1 by default.
    robust : bool
        Whether to use medians.

    Returns
    -------
    Alignment
        Computed in double precision.

    Raises
    ------
    TypeError, ValueError
        If shapes or devices differ, fewer than two entries have weight, or one that has is not finite.

    Notes
    -----
    Means are taken away before the slope is computed: normal equations with raw sums lose all digits where the prior
    has a large offset. The loss does not change if the prior is replaced by ``c prior + e``, for c other than 0, in the
    robust form for c above 0. It is zero if and only if scale and shift can explain the depth, in the robust form four
    fifths of it. O(n), the robust form O(n log n). Ranftl and others, "Towards Robust Monocular Depth Estimation",
    TPAMI 2022, for the robust form.

    Examples
    --------
    >>> import torch
    >>> depth = torch.tensor([1.0, 2.0, 3.0, 4.0])
    >>> found = align_scale_shift(10 - 2 * depth, depth)
    >>> found.scale, found.shift, found.loss, found.is_degenerate
    (-0.5, 5.0, 0.0, True)
    """
    FLAG.check("robust", robust)
    p, z, w = _valid(prior, depth, weights)
    return _by_medians(p, z, w) if robust else _by_means(p, z, w)


def _valid(prior: Tensor, depth: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    for name, part in (("prior", prior), ("depth", depth), ("weights", weights)):
        if not isinstance(part, Tensor) and (part is not None or name != "weights"):
            raise TypeError(f"{name} must be a tensor; got {type(part).__name__}")
    together(prior=prior, depth=depth, weights=weights)
    given = torch.ones(prior.shape, device=prior.device) if weights is None else weights
    if prior.shape != depth.shape or given.shape != prior.shape:
        raise ValueError(
            f"prior, depth and weights must have one shape; "
            f"got {tuple(prior.shape)}, {tuple(depth.shape)} and {tuple(given.shape)}"
        )
    w = finite_tensor("weights", given.double()).flatten()
    if bool((w < 0).any()):
        raise ValueError(f"weights must be at least 0; got {float(w.min()):g}")
    kept = w > 0
    if int(kept.sum()) < 2:
        raise ValueError(f"weights must be positive for at least two entries; got {int(kept.sum())}")
    p, z = (finite_tensor(name, part.flatten()[kept]).double() for name, part in (("prior", prior), ("depth", depth)))
    return p, z, w[kept]


def _by_means(p: Tensor, z: Tensor, w: Tensor) -> Alignment:
    share = w / w.sum()
    middle_p, middle_z = _mean(p, share), _mean(z, share)
    dp, dz = p - middle_p, z - middle_z
    spread = (share * dp.square()).sum()
    scale = 0.0 if _is_constant(spread.sqrt(), p) else float((share * dp * dz).sum() / spread)
    loss = float((share * (scale * dp - dz).square()).sum())
    return Alignment(scale, float(middle_z - scale * middle_p), loss)


def _mean(x: Tensor, share: Tensor) -> Tensor:
    """Return a weighted mean, whose own rounding is taken out by a second one."""
    first = (share * x).sum()
    return first + (share * (x - first)).sum()


def _by_medians(p: Tensor, z: Tensor, w: Tensor) -> Alignment:
    share = w / w.sum()
    middle_p, middle_z = _median(p, share), _median(z, share)
    dp, dz = p - middle_p, z - middle_z
    spread_p, spread_z = (share * dp.abs()).sum(), (share * dz.abs()).sum()
    scale = 0.0 if _is_constant(spread_p, p) else float(spread_z / spread_p)
    distances, order = (scale * dp - dz).abs().sort()
    # The weight of each of the smallest distances that is within the part to keep.
    counted = share[order].cumsum(0).clamp(max=1 - _TRIMMED).diff(prepend=share.new_zeros(1))
    return Alignment(scale, float(middle_z - scale * middle_p), float((counted * distances).sum() / (1 - _TRIMMED)))


def _median(x: Tensor, share: Tensor) -> Tensor:
    """Return the weighted median, the middle of two where both are."""
    values, order = x.sort()
    below = share[order].cumsum(0)
    eps = torch.finfo(x.dtype).eps * len(x)
    first = int((below < 0.5 - eps).sum())
    second = min(int((below <= 0.5 + eps).sum()), len(x) - 1)
    return (values[first] + values[second]) / 2


def _is_constant(spread: Tensor, x: Tensor) -> bool:
    return bool(spread <= _ROUNDINGS * torch.finfo(x.dtype).eps * x.abs().max())


def kabsch(n: Tensor, m: Tensor) -> Tensor:
    r"""Return the rotation R that brings vectors nearest to others: it minimises :math:`\sum_i \|R n_i - m_i\|^2`.

    Parameters
    ----------
    n, m : Tensor of shape (..., n_samples, 3)
        Such as unit normals of a surface, seen from two places.

    Returns
    -------
    Tensor of shape (..., 3, 3)
        Orthogonal, of determinant 1. Where vectors lie in a line, several rotations are best, and this is one of them.

    Raises
    ------
    TypeError, ValueError
        If shapes or devices do not fit, or an entry is not finite.

    Notes
    -----
    From the singular value decomposition of the sum of ``m n'``, whose last direction is turned round where the best
    orthogonal matrix is a reflection. Kabsch (1976).

    Examples
    --------
    >>> import torch
    >>> turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    >>> normals = torch.eye(3)
    >>> torch.allclose(kabsch(normals, normals @ turn.T), turn, atol=1e-6)
    True
    """
    together(n=n, m=m)
    first, second = finite_tensor("n", n, least_axes=2), finite_tensor("m", m, least_axes=2)
    if first.shape != second.shape or first.shape[-1] != 3 or not first.numel():
        raise ValueError(
            f"n and m must have one shape (..., n_samples, 3); got {tuple(first.shape)} and {tuple(second.shape)}"
        )
    dtype = torch.promote_types(torch.promote_types(first.dtype, second.dtype), torch.float32)
    left, _, right = torch.linalg.svd(second.to(dtype).mT @ first.to(dtype))
    sign = torch.linalg.det(left @ right).sign()
    turned = torch.cat([left[..., :2], left[..., 2:] * sign[..., None, None]], -1)
    return (turned @ right).to(torch.promote_types(n.dtype, m.dtype))
