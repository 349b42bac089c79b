"""The proximal operator of the Euclidean norm: groups of entries shrink together, and small groups become zero."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import NONNEGATIVE
from sparsetheory.gpu.solvers.arguments import finite_tensor, together, working_dtype

__all__ = ["group_soft_threshold", "shrunk"]


def group_soft_threshold(W: Tensor, threshold: float | Tensor, dim: int | Sequence[int] = 0) -> Tensor:
    r"""Return the minimiser over v of ``||v - w||^2 / 2 + threshold ||v||_2`` for every group w of entries of W.

    That is ``w max(0, 1 - threshold / ||w||)``: a group is zero if and only if its norm is at most the threshold, and
    keeps its direction otherwise.

    Parameters
    ----------
    W : Tensor
        Real floating-point numbers, finite.
    threshold : float or Tensor
        At least 0, in the unit of W. A tensor holds one number for each group, or broadcasts against their norms,
        whose shape is that of W without the axes of `dim`.
    dim : int or sequence of int
        Axes that a group runs along; by default the first one, so that the columns of a matrix are groups.

    Returns
    -------
    Tensor
        Of the shape, dtype and device of W. Groups of zeros stay zero, and a threshold of 0 returns W. Entries of 16
        bits are computed in single precision and rounded once. Gradients with respect to W and to `threshold` are right
        wherever the operator has one; a group that becomes zero has the gradient 0.

    Raises
    ------
    TypeError
        If W is no tensor of floating-point numbers.
    ValueError
        If an entry is not finite, a threshold is negative or not finite, or `dim` holds no axis, or one twice.

    See Also
    --------
    sparsetheory.gpu.solvers.prox : Operators of penalties that are sums over single entries.

    Notes
    -----
    Norms are taken after a division by a power of two, of the size of the largest entry: they neither overflow nor
    vanish, and scaling W and the threshold by a power of two scales the result exactly. Three passes over W. Yuan and
    Lin, "Model Selection and Estimation in Regression with Grouped Variables", JRSS B 2006; Combettes and Wajs (2005)
    for the operator.

    Examples
    --------
    >>> import torch
    >>> group_soft_threshold(torch.tensor([[3.0, 0.3], [4.0, 0.4]]), 1.0)
    tensor([[2.4000, 0.0000],
            [3.2000, 0.0000]])
    """
    finite_tensor("W", W, least_axes=1)
    u = W.to(working_dtype(W))
    axes = _axes(dim, W)
    strength = _threshold(threshold, W, u.dtype, axes)
    return shrunk(u, strength, axes).to(W.dtype) if W.numel() else W.clone()


def shrunk(u: Tensor, threshold: float | Tensor, axes: tuple[int, ...]) -> Tensor:
    """Shrink groups without checks; a tensor of thresholds has the axes of the groups with length 1."""
    with torch.no_grad():
        largest = u.detach().abs().amax(axes, keepdim=True)
        # Twice the mantissa is in [1, 2), so this is a power of two, of subnormal numbers too.
        size = largest / (2 * torch.frexp(largest).mantissa)
        size = torch.where(largest > 0, size, 1.0)
    norm = torch.linalg.vector_norm(u / size, dim=axes, keepdim=True)
    # A number would be divided as a product with 1 / size, which is infinite for subnormal sizes.
    ratio = torch.as_tensor(threshold, dtype=u.dtype, device=u.device).expand_as(size) / size
    zero = norm <= ratio
    # Groups that become zero must not meet the quotient, whose gradient may be no number there.
    return torch.where(zero, 0.0, u * (1 - torch.where(zero, 0.0, ratio) / torch.where(zero, 1.0, norm)))


def _axes(dim: int | Sequence[int], W: Tensor) -> tuple[int, ...]:
    """Return axes, counted from the first, after checks."""
    given = (dim,) if isinstance(dim, int) else tuple(dim)
    axes = tuple(axis % W.ndim for axis in given if -W.ndim <= axis < W.ndim)
    if not given or len(set(axes)) < len(given):
        raise ValueError(f"dim must hold one or more of the {W.ndim} axes of W, each once; got {dim!r}")
    return axes


def _threshold(threshold: Any, W: Tensor, dtype: torch.dtype, axes: tuple[int, ...]) -> float | Tensor:
    if not isinstance(threshold, Tensor):
        return float(NONNEGATIVE.check("threshold", threshold))
    together(W=W, threshold=threshold)
    if not bool((threshold >= 0).all()) or not bool(torch.isfinite(threshold).all()):
        raise ValueError("threshold must be finite and at least 0; got entries that are not")
    if not threshold.ndim:
        return threshold.to(dtype)
    norms = torch.Size(length for axis, length in enumerate(W.shape) if axis not in axes)
    try:
        full = threshold.to(dtype).expand(norms)
    except RuntimeError:
        raise ValueError(
            f"threshold must broadcast against the norms, of shape {tuple(norms)}; got {tuple(threshold.shape)}"
        ) from None
    for axis in sorted(axes):
        full = full.unsqueeze(axis)
    return full
