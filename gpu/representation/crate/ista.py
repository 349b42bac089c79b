"""Sparse coding of tokens by steps of the proximal gradient method, as a layer."""

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FRACTION, NONNEGATIVE, Choice, Real
from sparsetheory.gpu.solvers.arguments import finite_tensor, together
from sparsetheory.gpu.solvers.proximal import prox as proximal_map
from sparsetheory.penalties import Lq

__all__ = ["ista_block", "ista_objective"]


def ista_block(
    Z: Tensor,
    D: Tensor,
    step_size: float,
    alpha: float,
    n_iter: int = 1,
    prox: str = "l1",
    *,
    q: float = 0.5,
) -> Tensor:
    r"""Take proximal gradient steps towards non-negative sparse codes of tokens, from the tokens themselves.

    A step goes from codes C to :math:`\max(C + \eta (Z - C D) D^T - \eta \alpha, 0)`; it lowers
    :math:`\frac12 \|Z - C D\|^2 + \alpha \|C\|_1` over :math:`C \ge 0`.

    Parameters
    ----------
    Z : Tensor of shape (..., dim)
        Tokens, one per row: what is coded, and where the codes start.
    D : Tensor of shape (dim, dim)
        Atoms, one per row; they need not be of unit norm. Papers write tokens and atoms as columns, so that theirs is
        the transpose.
    step_size : float
        At least 0. Up to one over the squared spectral norm of `D` no step from non-negative codes raises the
        objective.
    alpha : float
        Strength of the penalty, at least 0.
    n_iter : int
        Steps; a layer takes one.
    prox : {"l1", "lq"}
        Whether the penalty is the sum of the codes, or of their powers `q`, which is not convex.
    q : float
        Exponent of "lq", in (0, 1).

    Returns
    -------
    Tensor of the shape and dtype of `Z`
        With gradients.

    Raises
    ------
    TypeError, ValueError
        If shapes, devices or entries do not fit, or a number is out of range.

    See Also
    --------
    sparsetheory.gpu.solvers.encode : The minimum itself, with a duality gap.

    Notes
    -----
    ``4 dim^2`` operations for each token and step. The start may be infeasible, as tokens have any sign; the objective
    does not rise from the first step on. In the limit of many steps the codes are those of the Lasso with positive
    coefficients.

    Source: Y. Yu et al., "White-Box Transformers via Sparse Rate Reduction", arXiv 2306.01129, equation 17, which
    leaves out the factor 1/2 of the objective in equation 16.

    Examples
    --------
    >>> import torch
    >>> D = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    >>> Z = torch.tensor([[3.0, 4.0]])
    >>> ista_block(Z, D, step_size=0.5, alpha=0.5)
    tensor([[1.5500, 3.3500]])
    >>> ista_block(Z, D, step_size=0.5, alpha=0.5, n_iter=100)  # the Lasso
    tensor([[0.0000, 4.5000]])
    """
    finite_tensor("Z", Z, least_axes=1)
    D = _checked_dictionary(Z, D)
    NONNEGATIVE.require(step_size=step_size, alpha=alpha)
    COUNT.require(n_iter=n_iter)
    Choice("l1", "lq").require(prox=prox)
    FRACTION.require(q=q)
    codes = Z
    for _ in range(n_iter):
        moved = codes + step_size * ((Z - codes @ D) @ D.mT)
        if prox == "l1" or step_size == 0:
            codes = torch.relu(moved - step_size * alpha)
        else:
            codes = proximal_map(moved, Lq(alpha, q=q, positive=True), step_size)
    return codes


def ista_objective(C: Tensor, Z: Tensor, D: Tensor, alpha: float, *, q: float = 1.0) -> Tensor:
    r"""Return :math:`\frac12 \|z - c D\|^2 + \alpha \sum_j c_j^q` for every code c and token z.

    Parameters
    ----------
    C, Z : Tensor of shape (..., dim)
        Codes and tokens, one per row.
    D : Tensor of shape (dim, dim)
        Atoms, one per row.
    alpha : float
        Strength of the penalty, at least 0.
    q : float
        Exponent, in (0, 1]; 1 is l1.

    Returns
    -------
    Tensor of shape (...)
        Infinite where a code is negative.

    Raises
    ------
    TypeError, ValueError
        If shapes, devices or entries do not fit, or a number is out of range.

    Examples
    --------
    >>> import torch
    >>> ista_objective(torch.tensor([1.0, 0.0]), torch.tensor([3.0, 0.0]), torch.eye(2), alpha=0.5)
    tensor(2.5000)
    """
    finite_tensor("Z", Z, least_axes=1)
    if finite_tensor("C", C).shape != Z.shape:
        raise ValueError(f"C must have shape {tuple(Z.shape)}, as Z has; got {tuple(C.shape)}")
    D = _checked_dictionary(Z, D)
    together(C=C, Z=Z)
    NONNEGATIVE.require(alpha=alpha)
    Real(0.0, 1.0, closed="right").require(q=q)
    fit = (Z - C.to(Z.dtype) @ D).square().sum(-1) / 2
    return torch.where((C < 0).any(-1), torch.inf, fit + alpha * C.abs().pow(q).sum(-1))


def _checked_dictionary(Z: Tensor, D: Tensor) -> Tensor:
    """Return the dictionary in the dtype of the tokens, after checks."""
    finite_tensor("D", D)
    together(Z=Z, D=D)
    if D.shape != (Z.shape[-1], Z.shape[-1]):
        raise ValueError(f"D must be square, with one atom per feature of Z, {Z.shape[-1]}; got {tuple(D.shape)}")
    return D.to(Z.dtype)
