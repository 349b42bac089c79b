"""Albedo and shading of a picture: edges belong to the albedo, slow changes to the light."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG, NONNEGATIVE, POSITIVE, Choice, Real
from sparsetheory.gpu.representation.images.differences import image_divergence, image_gradient
from sparsetheory.gpu.representation.images.poisson import masked_poisson, poisson_neumann
from sparsetheory.gpu.representation.images.total_variation import split_total_variation
from sparsetheory.gpu.solvers import prox
from sparsetheory.gpu.solvers.arguments import finite_tensor, together, working_dtype
from sparsetheory.penalties import L0, L1, Lq, Penalty

__all__ = ["Retinex", "retinex"]

_EXPONENT = Real(0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Retinex:
    """Logarithms of albedo and shading, whose sum is the logarithm of the picture.

    Attributes
    ----------
    albedo : Tensor of shape (height, width)
        How much light the surface returns, up to a factor: its logarithm has mean zero, on each connected part of a
        mask. Not a number off the mask.
    shading : Tensor of shape (height, width) or (n_views, height, width)
        How much light falls on the surface, for each picture.
    """

    albedo: Tensor
    shading: Tensor


def retinex(
    image: Tensor,
    alpha: float,
    q: float = 1.0,
    coupled: bool = False,
    *,
    mask: Tensor | None = None,
    view: str = "mean",
    floor: float = 0.0,
    tol: float = 1e-5,
    max_iter: int = 1000,
) -> Retinex:
    r"""Split a picture into an albedo with few edges and a smooth shading.

    With i the logarithm of the picture, the edges g of the albedo minimise
    :math:`\sum_e \tfrac12 (g_e - (\nabla i)_e)^2 + \alpha |g_e|^q`, which is one proximal operator for every edge
    between two pixels. The albedo is the image whose gradient is nearest to g. Small q keeps edges as high as they are;
    q = 1 shrinks all of them by alpha.

    Parameters
    ----------
    image : Tensor of shape (height, width) or (n_views, height, width)
        Brightness, at least 0. Several pictures show one surface in different light, pixel by pixel.
    alpha : float
        Strength of the penalty, at least 0, per picture.
    q : float
        Exponent, from 0 (a cost for each edge, whatever its height) to 1.
    coupled : bool
        Whether g must be the gradient of an image, so that the objective is that of the albedo itself; for q = 1.
    mask : Tensor of bool of shape (height, width), optional
        Pixels that count; not with `coupled`.
    view : {"mean", "median"}
        How edges of several pictures become one: the mean is exact for the sum of the objectives, the median ignores
        shadows that few pictures have.
    floor : float
        What is added to the brightness, at least 0; above 0 where pixels are black.
    tol, max_iter
        Of the iteration for `coupled`, see :func:`tv_denoise`.

    Returns
    -------
    Retinex
        In the dtype of the picture.

    Raises
    ------
    TypeError, ValueError
        If the picture is not finite, has negative or (without floor) black pixels, the mask has fewer than two pixels,
        or a number is out of range.

    See Also
    --------
    sparsetheory.gpu.solvers.prox : The operator that is used.

    Notes
    -----
    O(n log n) for n pixels. On a picture of one row every g is a gradient, and `coupled` changes nothing. Land and
    McCann (1971); Horn (1974); Weiss, "Deriving intrinsic images from image sequences", ICCV 2001, for the median.
    That shading should be removed from generated views before they are lifted to three dimensions is the point of
    "2L3: Lifting Imperfect Generated 2D Images into Accurate 3D", arXiv 2401.15841.

    Examples
    --------
    >>> import torch
    >>> light = torch.exp(0.1 * torch.arange(4))
    >>> paint = torch.tensor([1.0, 1.0, 4.0, 4.0])
    >>> found = retinex((light * paint)[None], 0.2, q=0.0)
    >>> (found.albedo - found.albedo.min()).exp()  # up to the light between the two paints
    tensor([[1.0000, 1.0000, 4.4207, 4.4207]])
    """
    logs, kept = _logarithms(image, mask, floor)
    penalty = _penalty(NONNEGATIVE.check("alpha", alpha) / len(logs), _EXPONENT.check("q", q))
    FLAG.check("coupled", coupled)
    Choice("mean", "median").check("view", view)
    POSITIVE.check("tol", tol)
    COUNT.check("max_iter", max_iter)
    down, right = (_joined(part, view) for part in image_gradient(logs))
    if coupled:
        if q != 1.0:
            raise ValueError(f"q must be 1 where coupled is True, as the problem is not convex otherwise; got {q:g}")
        if mask is not None:
            raise ValueError("mask must be None where coupled is True")
        albedo = _coupled(down, right, penalty.alpha, tol, max_iter)
    elif mask is None:
        albedo = poisson_neumann(image_divergence(prox(down, penalty), prox(right, penalty)))
    else:
        albedo = torch.where(kept, masked_poisson(prox(down, penalty), prox(right, penalty), kept), torch.nan)
    shading = logs - albedo
    return Retinex(albedo.to(image.dtype), (shading if image.ndim == 3 else shading[0]).to(image.dtype))


def _logarithms(image: Tensor, mask: Tensor | None, floor: float) -> tuple[Tensor, Tensor]:
    """Return logarithms of shape (n_views, height, width), zero off the mask, and the mask."""
    if not isinstance(image, Tensor) or image.ndim not in (2, 3) or not image.numel():
        got = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise ValueError(f"image must have shape (height, width) or (n_views, height, width); got {got}")
    NONNEGATIVE.check("floor", floor)
    shape = image.shape[-2:]
    kept = torch.ones(shape, dtype=torch.bool, device=image.device) if mask is None else mask
    together(image=image, mask=kept)
    if kept.dtype != torch.bool or kept.shape != shape:
        raise ValueError(f"mask must be a tensor of bool of shape {tuple(shape)}; got shape {tuple(kept.shape)}")
    if int(kept.sum()) < 2:
        raise ValueError(f"image must have at least two pixels that count; got {int(kept.sum())}")
    # Off the mask pixels may hold anything; a filled picture of integers would be one of floating-point numbers.
    filled = torch.where(kept, image, 1.0) if image.is_floating_point() else image
    values = finite_tensor("image", filled).to(working_dtype(image))
    if bool((values < 0).any()):
        raise ValueError(f"image must hold brightness of at least 0; got {float(values.min()):g}")
    if not bool((values + floor > 0).all()):
        raise ValueError("image must have no black pixels, or floor must be above 0: black has no logarithm")
    logs = torch.where(kept, (values + floor).log(), 0.0)
    return logs.reshape(-1, *shape), kept


def _penalty(alpha: float, q: float) -> Penalty:
    if q == 1.0:
        return L1(alpha)
    return Lq(alpha, q=q) if q > 0 else L0(alpha)


def _joined(part: Tensor, view: str) -> Tensor:
    if view == "mean":
        return part.mean(0)
    # The middle of the two middle ones of an even number; torch's median is the lower one.
    return part.sort(0).values[[(len(part) - 1) // 2, len(part) // 2]].mean(0)


def _coupled(down: Tensor, right: Tensor, alpha: float, tol: float, max_iter: int) -> Tensor:
    """Minimise ``||gradient(r) - g||^2 / 2 + alpha ||gradient(r)||_1``; each step has one Poisson equation."""
    wanted = image_divergence(down, right)

    def solve(field: tuple[Tensor, Tensor], rho: float) -> Tensor:
        return poisson_neumann((wanted + rho * image_divergence(*field)) / (1 + rho))

    return split_total_variation((down, right), alpha, solve, tol, max_iter, 1.0)
