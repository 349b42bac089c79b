"""Coding rates: how many nats tokens cost at a precision, all together or within subspaces."""

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, MISSING, POSITIVE
from sparsetheory.gpu.representation.crate.tokens import (
    broadcast_counts,
    checked_bases,
    checked_tokens,
    without_masked,
)

__all__ = [
    "coding_rate",
    "compressed_rate",
    "compressed_rate_grad",
    "from_projections",
    "half_logdet",
    "projections",
    "rate_constant",
]

# Beyond this size of the matrix whose determinant is taken, rounding of its entries is felt by its small eigenvalues.
_LARGEST_GRAM = 1e6


def coding_rate(Z: Tensor, eps: float, dim: int | None = None, *, mask: Tensor | None = None) -> Tensor:
    r"""Return the nats per sample that code tokens up to a distortion of `eps`.

    That is :math:`R(Z) = \frac12 \log\det(I + \frac{d}{N \epsilon^2} Z^T Z)` of N tokens with d features.

    Parameters
    ----------
    Z : Tensor of shape (..., n_tokens, dim)
        Tokens, one per row.
    eps : float
        Distortion that is allowed, above 0.
    dim : int, optional
        The number d in the constant, by default the number of features. Rates of projections have a common constant
        if it is given.
    mask : Tensor of bool of shape (..., n_tokens), optional
        Which tokens count; others, as padding, are left out of the sum and of N.

    Returns
    -------
    Tensor of float64 of shape (...)
        Computed in double precision, with gradients.

    Raises
    ------
    TypeError, ValueError
        If tokens are not finite floating-point numbers, there are none, or a number is out of range.

    Notes
    -----
    The determinant is taken on the smaller side, in ``min(N, d)^2 max(N, d)`` operations. Beyond a matrix of size 1e6
    its logarithm comes from singular values, because a Cholesky factor would lose the small ones.

    Source: Y. Ma, H. Derksen, W. Hong, J. Wright, "Segmentation of Multivariate Mixed Data via Lossy Data Coding and
    Compression", PAMI 2007; Y. Yu et al., "White-Box Transformers via Sparse Rate Reduction", arXiv 2306.01129.

    Examples
    --------
    >>> import torch
    >>> Z = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> coding_rate(Z, eps=1.0)  # both eigenvalues are 1: the logarithm of 2
    tensor(0.6931, dtype=torch.float64)
    """
    tokens = checked_tokens("Z", Z, mask)
    POSITIVE.require(eps=eps)
    d = (MISSING | COUNT).check("dim", dim) or tokens.shape[-1]
    counted = without_masked(tokens, mask).double()
    return half_logdet(counted, d / (broadcast_counts(tokens, mask) * eps**2))


def compressed_rate(Z: Tensor, U: Tensor, eps: float, *, mask: Tensor | None = None) -> Tensor:
    r"""Return the nats that code the projections of tokens on subspaces.

    That is :math:`R^c(Z; U) = \sum_k R(U_k^T Z)`, each with the constant :math:`a = p / (N \epsilon^2)` of its p
    components.

    Parameters
    ----------
    Z : Tensor of shape (..., n_tokens, dim)
        Tokens, one per row.
    U : Tensor of shape (n_subspaces, dim, n_components)
        Bases of the subspaces; they need not be orthonormal.
    eps : float
        Distortion that is allowed, above 0.
    mask : Tensor of bool of shape (..., n_tokens), optional
        Which tokens count.

    Returns
    -------
    Tensor of float64 of shape (...)
        Computed in double precision, with gradients.

    Raises
    ------
    TypeError, ValueError
        If shapes, devices or entries do not fit, or a number is out of range.

    See Also
    --------
    compressed_rate_grad, mssa_step

    Notes
    -----
    It is not bounded below by :func:`coding_rate`, as the constants differ. With the common constant that
    ``coding_rate(..., dim=...)`` takes, and orthonormal bases that span all features, it is (Fischer's inequality).

    Source: Y. Yu et al., "White-Box Transformers via Sparse Rate Reduction", arXiv 2306.01129, equation 8.

    Examples
    --------
    >>> import torch
    >>> Z = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> U = torch.eye(2).unsqueeze(-1)  # the two axes
    >>> compressed_rate(Z, U, eps=1.0)  # the logarithm of 3/2
    tensor(0.4055, dtype=torch.float64)
    """
    tokens = checked_tokens("Z", Z, mask)
    bases = checked_bases(U, tokens).double()
    W = projections(without_masked(tokens, mask).double(), bases)
    return half_logdet(W, rate_constant(tokens, bases, eps, mask)).sum(-1)


def compressed_rate_grad(Z: Tensor, U: Tensor, eps: float, *, mask: Tensor | None = None) -> Tensor:
    r"""Return the gradient of :func:`compressed_rate` with respect to the tokens.

    For columns of tokens it is :math:`a \sum_k U_k (I + a W_k W_k^T)^{-1} W_k` with :math:`W_k = U_k^T Z`.

    Parameters
    ----------
    Z, U, eps, mask
        As in :func:`compressed_rate`.

    Returns
    -------
    Tensor of shape (..., n_tokens, dim)
        In the dtype of `Z`; computed in double precision. Zero for tokens that do not count.

    Raises
    ------
    TypeError, ValueError
        As :func:`compressed_rate`.

    Notes
    -----
    One Cholesky factorisation of a matrix with ``n_components`` rows for each subspace. Where that matrix is large, as
    for :func:`coding_rate`, its factor comes from an orthogonal one instead, which does not square small numbers.

    Examples
    --------
    >>> import torch
    >>> Z = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> compressed_rate_grad(Z, torch.eye(2).unsqueeze(-1), eps=1.0)
    tensor([[0.3333, 0.0000],
            [0.0000, 0.3333]])
    """
    tokens = checked_tokens("Z", Z, mask)
    bases = checked_bases(U, tokens).double()
    a = rate_constant(tokens, bases, eps, mask)
    W = projections(without_masked(tokens, mask).double(), bases)
    if _is_large(W, a):
        pulled = _pulled(W, a**0.5)
    else:
        pulled = a * torch.cholesky_solve(W.mT, torch.linalg.cholesky(_shifted(W.mT @ W, a))).mT
    return from_projections(pulled, bases).to(Z.dtype)


def rate_constant(tokens: Tensor, bases: Tensor, eps: float, mask: Tensor | None) -> Tensor | float:
    """Return ``a = p / (N eps^2)``: a number, or with a mask a tensor of shape (..., 1, 1, 1)."""
    POSITIVE.require(eps=eps)
    constant = bases.shape[-1] / (broadcast_counts(tokens, mask) * eps**2)
    return constant.unsqueeze(-3) if isinstance(constant, Tensor) else constant


def projections(tokens: Tensor, bases: Tensor) -> Tensor:
    """Return coordinates of tokens in each subspace, of shape (..., n_subspaces, n_tokens, n_components)."""
    return tokens.unsqueeze(-3) @ bases


def from_projections(coordinates: Tensor, bases: Tensor) -> Tensor:
    """Return the sum over subspaces of what coordinates stand for, of shape (..., n_tokens, dim)."""
    return (coordinates @ bases.mT).sum(-3)


def half_logdet(X: Tensor, constant: Tensor | float) -> Tensor:
    """Return ``logdet(I + constant X^T X) / 2`` of matrices, on their smaller side.

    Parameters
    ----------
    X : Tensor of float64 of shape (..., n, p)
    constant : float or Tensor of shape (..., 1, 1)

    Returns
    -------
    Tensor of shape (...)
    """
    if _is_large(X, constant):
        weighted = constant.squeeze(-1) if isinstance(constant, Tensor) else constant
        return torch.linalg.svdvals(X).square().mul(weighted).log1p().sum(-1) / 2
    gram = X.mT @ X if X.shape[-1] <= X.shape[-2] else X @ X.mT
    return torch.linalg.cholesky(_shifted(gram, constant)).diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _is_large(X: Tensor, constant: Tensor | float) -> bool:
    """Say whether ``I + constant X^T X`` of any matrix is so large that a Cholesky factor would be inaccurate."""
    return bool((constant * X.detach().square().sum((-2, -1), keepdim=True) > _LARGEST_GRAM).any())


def _pulled(W: Tensor, root: Tensor | float) -> Tensor:
    """Return ``a W (I + a W^T W)^-1`` for ``a = root^2``.

    With ``Q R = [I; root W]`` it is the lower part of Q times ``root R^-T``. Singular vectors would do as well, but
    have no derivative where singular values are equal, as those of tokens that do not fill a subspace are.
    """
    ones = torch.eye(W.shape[-1], dtype=W.dtype, device=W.device).expand(*W.shape[:-2], -1, -1)
    Q, R = torch.linalg.qr(torch.cat([ones, root * W], dim=-2))
    lower = Q[..., W.shape[-1] :, :]
    return root * torch.linalg.solve_triangular(R.mT, lower, upper=False, left=False)


def _shifted(gram: Tensor, constant: Tensor | float) -> Tensor:
    """Return ``I + constant gram``."""
    return constant * gram + torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
