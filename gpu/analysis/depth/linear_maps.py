"""The affine map that comes closest to a layer: dense, sparse or of low rank, from sums over tokens."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FRACTION
from sparsetheory.gpu.analysis.depth.layer_grams import Moments, moments_of
from sparsetheory.gpu.core.gram import Gram
from sparsetheory.gpu.solvers import truncated_svd_summary

__all__ = ["AffineMap", "linear_map", "low_rank_map", "sparse_map"]


@dataclass(frozen=True, eq=False)
class AffineMap:
    """An affine map ``x @ W.T + b`` that stands for a layer, and how far it is from the layer.

    Parameters
    ----------
    W : Tensor of float64 of shape (width, width)
        One row per output: the identity, and the estimate of what the layer adds.
    b : Tensor of float64 of shape (width,)
    relative_error : float
        Squared error of the outputs, relative to the squares of what the layer adds, on the tokens of the fit.
    lower_bound : float
        What no map of this kind goes below, on the same scale. For a sparse map it is the error of the dense one.
    n_nonzero : int
        Nonzeros of ``W`` without the identity.
    """

    W: Tensor
    b: Tensor
    relative_error: float
    lower_bound: float
    n_nonzero: int


def linear_map(gram: Gram) -> AffineMap:
    """Return the affine map of least squares for a layer.

    What the layer adds is fitted, and of all minimisers the smallest change is taken: directions in which the tokens
    do not vary pass by unchanged.

    Parameters
    ----------
    gram : Gram
        Of at least ``10 (width + 1)`` tokens, as :func:`layer_grams` collects it. Judge the map on other tokens.

    Returns
    -------
    AffineMap

    Raises
    ------
    ValueError
        If there are fewer tokens.

    Notes
    -----
    O(width^3) operations. Sums are in double precision, in which squares resolve relative errors above about 1e-8.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.analysis import layer_grams
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    >>> found = linear_map(layer_grams(model, [x])["0"])
    >>> torch.allclose(found.W.float(), model[0].weight, atol=1e-4)
    True
    """
    moments = moments_of(gram)
    change = _least_squares(moments)
    error = moments.error(change)
    return _affine(moments, change, error, error)


def sparse_map(gram: Gram, alpha: float) -> AffineMap:
    """Return an affine map that changes the identity in few entries: a lasso for each output, then least squares.

    Parameters
    ----------
    gram : Gram
        As in :func:`linear_map`.
    alpha : float
        Strength of the penalty, in (0, 1), for inputs and outputs of unit variance: an input that stands alone is used
        where its correlation with what is added is above it.

    Returns
    -------
    AffineMap
        Least squares on the supports that the lasso chose.

    Raises
    ------
    ValueError
        If there are too few tokens, or the strength is out of range.

    See Also
    --------
    sparsetheory.regression.gram_lasso_path : The classical solver, called once for each output.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.analysis import layer_grams
    >>> model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    >>> model[0].weight.data = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.9], [0.0, 0.0, 1.0]])
    >>> x = torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
    >>> found = sparse_map(layer_grams(model, [x])["0"], 0.5)
    >>> found.n_nonzero, round(float(found.W[1, 2]), 4)
    (1, 0.9)
    """
    from sparsetheory.regression import gram_lasso_path

    FRACTION.require(alpha=alpha)
    moments = moments_of(gram)
    xx, x_added, energies = (part.cpu().numpy() for part in (moments.xx, moments.x_added, moments.energies))
    inputs = np.flatnonzero(np.diag(xx) > 1e-12 * np.diag(xx).max(initial=0.0))
    spread = np.sqrt(np.diag(xx)[inputs])
    correlation = xx[np.ix_(inputs, inputs)] / np.outer(spread, spread)
    change = np.zeros((moments.width, moments.width))
    for output in np.flatnonzero(energies > 1e-12 * max(energies.max(initial=0.0), moments.total / moments.width)):
        target = x_added[inputs, output] / (spread * np.sqrt(energies[output]))
        # A fit that is exact up to rounding would have an energy just below what its correlations need.
        coef = gram_lasso_path(correlation, target, 1.0 + 1e-9, alphas=[alpha]).coefs[:, 0]
        support = inputs[coef != 0]
        change[output, support] = np.linalg.lstsq(xx[np.ix_(support, support)], x_added[support, output], rcond=None)[0]
    found = torch.from_numpy(change).to(moments.xx)
    return _affine(moments, found, moments.error(found), moments.error(_least_squares(moments)))


def low_rank_map(gram: Gram, rank: int) -> AffineMap:
    """Return the best affine map that changes the identity by a matrix of low rank, with a bound that certifies it.

    Parameters
    ----------
    gram : Gram
        As in :func:`linear_map`.
    rank : int
        Largest rank of ``W`` minus the identity, from 1 to the width.

    Returns
    -------
    AffineMap
        Its ``relative_error`` and ``lower_bound`` agree up to rounding.

    Raises
    ------
    ValueError
        If there are too few tokens, or the rank is out of range.

    See Also
    --------
    sparsetheory.gpu.solvers.truncated_svd_summary : The decomposition with its error bounds.
    sparsetheory.lowrank.block_svd_error : Its classical twin.

    Notes
    -----
    With C the covariance of the inputs and D the change of least squares, a change R has the squared error of D plus
    ``|(D - R) C^(1/2)|_F^2``. So the best one is the truncated singular value decomposition of ``D C^(1/2)``, taken
    back (reduced-rank regression), and the tail of its singular values bounds all others from below (Eckart-Young).

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.analysis import layer_grams
    >>> model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    >>> model[0].weight.data = torch.eye(3) + torch.outer(torch.tensor([1.0, 2.0, 3.0]), torch.ones(3))
    >>> x = torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
    >>> low_rank_map(layer_grams(model, [x])["0"], 1).relative_error < 1e-9
    True
    """
    COUNT.require(rank=rank)
    moments = moments_of(gram)
    if rank > moments.width:
        raise ValueError(f"rank must be at most {moments.width}, the width; got {rank}")
    values, vectors = _spectrum(moments)
    dense = _least_squares(moments)
    # In the coordinates of the eigenvectors the root of the covariance is diagonal.
    scaled = dense @ vectors * values.sqrt()
    summary = truncated_svd_summary(scaled, rank)
    left = torch.linalg.svd(scaled, full_matrices=False).U[:, :rank]
    change = left @ (left.T @ dense)
    tail = float(summary.lower) / moments.total if moments.total else 0.0
    return _affine(moments, change, moments.error(change), moments.error(dense) + tail)


def _spectrum(moments: Moments) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues of the covariance of the inputs that rounding does not drown, and their vectors."""
    values, vectors = torch.linalg.eigh(moments.xx)
    kept = values > moments.width * torch.finfo(torch.float64).eps * values.abs().max()
    return values[kept], vectors[:, kept]


def _least_squares(moments: Moments) -> Tensor:
    values, vectors = _spectrum(moments)
    return ((vectors.T @ moments.x_added).T / values) @ vectors.T


def _affine(moments: Moments, change: Tensor, error: float, bound: float) -> AffineMap:
    W = change + torch.eye(moments.width, dtype=torch.float64, device=change.device)
    b: Any = moments.mean_added - change @ moments.mean_x
    return AffineMap(W, b, error, bound, int(change.count_nonzero()))
