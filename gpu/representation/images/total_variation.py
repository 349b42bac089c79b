"""Problems in which differences are sparse and must be those of an image: alternating directions of multipliers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softshrink

from sparsetheory.constraints import COUNT, NONNEGATIVE, POSITIVE
from sparsetheory.gpu.representation.images.differences import image_divergence, image_gradient
from sparsetheory.gpu.representation.images.poisson import screened_poisson
from sparsetheory.gpu.solvers.arguments import finite_tensor, working_dtype

__all__ = ["split_total_variation", "tv_denoise"]

# Residuals that differ by more than this change the weight of the constraint by the second number.
_UNBALANCED, _CHANGE = 10.0, 2.0
# Steps between two such looks; weights that change too often keep the iteration from settling.
_PATIENCE = 10


def tv_denoise(image: Tensor, alpha: float, *, tol: float = 1e-5, max_iter: int = 1000) -> Tensor:
    r"""Denoise an image by its anisotropic total variation.

    Minimises :math:`\tfrac12 \|u - \text{image}\|^2 + \alpha \sum_e |(\nabla u)_e|` over images u, where e runs over
    all edges between neighbouring pixels. An image of one row is the fused lasso, which is a lasso whose columns are
    steps.

    Parameters
    ----------
    image : Tensor of shape (height, width)
    alpha : float
        Strength of the penalty, at least 0, in the unit of the image.
    tol : float
        Tolerance, relative to the norm of the gradient of the image: the iteration ends when differences and their
        sparse copies, and changes of the latter, are within it.
    max_iter : int
        Most steps.

    Returns
    -------
    Tensor of shape (height, width)
        With the mean of the image.

    Raises
    ------
    TypeError, ValueError
        If the image is no matrix of finite numbers, or a number is out of range.

    Notes
    -----
    Each step soft-thresholds differences and solves one screened Poisson equation, O(n log n). Rudin, Osher, Fatemi
    (1992); Goldstein and Osher, "The Split Bregman Method for L1-Regularized Problems", SIAM J. Imaging Sci. 2009;
    Tibshirani and others, "Sparsity and smoothness via the fused lasso", JRSS B 2005.

    Examples
    --------
    >>> import torch
    >>> tv_denoise(torch.tensor([[0.0, 0.0, 6.0, 6.0]]), 1.0).round(decimals=3)
    tensor([[0.5000, 0.5000, 5.5000, 5.5000]])
    """
    checked = finite_tensor("image", image)
    if checked.ndim != 2 or not checked.numel():
        raise ValueError(f"image must be a matrix; got shape {tuple(image.shape)}")
    strength = NONNEGATIVE.check("alpha", alpha)
    POSITIVE.check("tol", tol)
    COUNT.check("max_iter", max_iter)
    u = checked.to(working_dtype(image))

    def solve(field: tuple[Tensor, Tensor], rho: float) -> Tensor:
        return screened_poisson(u - rho * image_divergence(*field), rho, 1.0)

    found = split_total_variation(image_gradient(u), strength, solve, tol, max_iter, 1.0)
    return found.to(image.dtype)


def split_total_variation(
    start: tuple[Tensor, Tensor],
    alpha: float,
    solve: Callable[[tuple[Tensor, Tensor], float], Tensor],
    tol: float,
    max_iter: int,
    rho: float,
) -> Tensor:
    """Minimise ``f(u) + alpha ||gradient(u)||_1``.

    Parameters
    ----------
    start : tuple of Tensor
        Where the sparse copy of the gradient starts; also the unit of the tolerance.
    alpha : float
    solve : callable
        From a field g and a number rho to the minimiser of ``f(u) + rho ||gradient(u) - g||^2 / 2``.
    tol, max_iter
        As in :func:`tv_denoise`.
    rho : float
        Weight of the constraint at first; it follows the residuals (Boyd and others, 2011).

    Returns
    -------
    Tensor
    """
    sparse, dual = start, tuple(torch.zeros_like(part) for part in start)
    unit = _norm(start)
    for done in range(max_iter):
        u = solve(_map(torch.sub, sparse, dual), rho)
        gradient = image_gradient(u)
        wanted = _map(torch.add, gradient, dual)
        following = _map(partial(softshrink, lambd=alpha / rho), wanted)
        dual = _map(torch.sub, wanted, following)
        primal, change = _norm(_map(torch.sub, gradient, following)), _norm(_map(torch.sub, following, sparse))
        sparse = following
        if max(primal, change) <= tol * unit:
            break
        if done % _PATIENCE == _PATIENCE - 1:
            factor = _CHANGE if primal > _UNBALANCED * change else 1.0
            factor = 1 / _CHANGE if change > _UNBALANCED * primal else factor
            rho, dual = rho * factor, tuple(part / factor for part in dual)
    return u


def _map(function: Callable[..., Tensor], *fields: Any) -> tuple[Tensor, Tensor]:
    down, right = (function(*parts) for parts in zip(*fields, strict=True))
    return down, right


def _norm(field: tuple[Tensor, ...]) -> float:
    return float(sum(part.square().sum() for part in field)) ** 0.5
