"""Attention within subspaces as a step on the compressed rate: the exact one, and what it was simplified to."""

from collections.abc import Callable

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, MISSING, NONNEGATIVE, POSITIVE, Choice
from sparsetheory.gpu.representation.crate.rates import (
    compressed_rate_grad,
    from_projections,
    projections,
    rate_constant,
)
from sparsetheory.gpu.representation.crate.tokens import checked_bases, checked_tokens
from sparsetheory.gpu.solvers.arguments import finite_tensor

__all__ = ["MSSA_MODES", "descent_step_size", "mssa_step", "subspace_attention"]

MSSA_MODES = ("exact", "paper_step", "paper_unscaled", "code", "negative")


def descent_step_size(U: Tensor, eps: float, n_tokens: int) -> float:
    r"""Return the step size up to which a gradient step never raises the compressed rate.

    That is :math:`1 / (a \|[U_1 \ldots U_K]\|_2^2)` with :math:`a = p / (N \epsilon^2)`.

    Parameters
    ----------
    U : Tensor of shape (n_subspaces, dim, n_components)
        Bases of the subspaces; they need not be orthonormal.
    eps : float
        Distortion that is allowed, above 0.
    n_tokens : int
        Tokens that count.

    Returns
    -------
    float
        Infinite if all bases are zero.

    Raises
    ------
    TypeError, ValueError
        If the bases are not three-dimensional and finite, or a number is out of range.

    Notes
    -----
    As a function of the singular values of ``W_k = U_k^T Z`` the rate is a sum of ``log(1 + a s^2) / 2``, whose second
    derivative is at most a. Its gradient in ``W_k`` therefore has the Lipschitz constant a, and the gradient in Z that
    constant times the squared spectral norm of all bases side by side.

    Examples
    --------
    >>> import torch
    >>> U = torch.eye(4).reshape(2, 2, 4).mT  # two planes of four features
    >>> round(descent_step_size(U, eps=0.5, n_tokens=8), 6)
    1.0
    """
    finite_tensor("U", U)
    if U.ndim != 3 or 0 in U.shape:
        raise ValueError(f"U must have shape (n_subspaces, dim, n_components), none of them 0; got {tuple(U.shape)}")
    POSITIVE.require(eps=eps)
    a = U.shape[-1] / (COUNT.check("n_tokens", n_tokens) * eps**2)
    largest = float(_squared_norm(U.detach()))
    return 1.0 / (a * largest) if largest else float("inf")


def mssa_step(
    Z: Tensor,
    U: Tensor,
    eps: float,
    step_size: float | None = None,
    mode: str = "exact",
    *,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Take one step of attention within subspaces.

    With columns of tokens, :math:`a = p / (N \epsilon^2)`, :math:`W_k = U_k^T Z`,
    :math:`S_k = W_k \operatorname{softmax}(W_k^T W_k)` whose columns of weights sum to one, and the step size
    :math:`\kappa`:

    ================== =====================================================================================
    mode               what the tokens become
    ================== =====================================================================================
    "exact"            :math:`Z - \kappa \nabla R^c(Z; U)`
    "paper_step"       :math:`(1 - \kappa a) Z + \kappa a \cdot a \sum_k U_k S_k`, the published approximation
    "paper_unscaled"   :math:`(1 - \kappa a) Z + \kappa a \sum_k U_k S_k`, without the second factor a
    "code"             :math:`Z + \kappa \sum_k U_k S_k`, with the softmax of :math:`W_k^T W_k / \sqrt{p}`
    "negative"         :math:`Z - \kappa \sum_k U_k S_k`, with the softmax of :math:`W_k^T W_k`
    ================== =====================================================================================

    Parameters
    ----------
    Z : Tensor of shape (..., n_tokens, dim)
        Tokens, one per row.
    U : Tensor of shape (n_subspaces, dim, n_components)
        Bases of the subspaces; they need not be orthonormal.
    eps : float
        Distortion that is allowed, above 0; "code" and "negative" do not depend on it.
    step_size : float, optional
        At least 0. By default the longest step with a guarantee, :func:`descent_step_size`, in the first three modes,
        and 1 in the last two. Bases of zeros then make no step.
    mode : {"exact", "paper_step", "paper_unscaled", "code", "negative"}
    mask : Tensor of bool of shape (..., n_tokens), optional
        Which tokens count. Others are not seen, and stay as they are.

    Returns
    -------
    Tensor of shape (..., n_tokens, dim)
        In the dtype of `Z`, with gradients.

    Raises
    ------
    TypeError, ValueError
        If shapes, devices or entries do not fit, or an argument is out of range.

    See Also
    --------
    compressed_rate : What the exact step never raises, for steps up to :func:`descent_step_size`.
    CrateBlock : The layer.

    Notes
    -----
    Only the exact step is known to lower the rate. "code" raises it in all random draws that we tried. It can be proved
    that it never lowers it for subspaces of one dimension with orthonormal bases, whatever the step size: with
    :math:`f(t) = \log \sum_j \exp(t w_j)` and coordinates w, the output of token i is :math:`f'(w_i)`. As f is convex,
    :math:`\sum_i w_i f'(w_i) \ge \sum_i f(w_i) - f(0) \ge (\sum_i w_i)^2 / N \ge 0`, the second step by Jensen. So the
    outputs point along the coordinates, whose squared norm, and with it the rate, does not fall. A factor before the
    softmax changes nothing. In two dimensions there are counterexamples.

    Source: Y. Yu et al., "White-Box Transformers via Sparse Rate Reduction", arXiv 2306.01129, equations 10 to 12, and
    its code. That the simplification raises the rate was observed by Y. Hu et al., "An In-depth Investigation of Sparse
    Rate Reduction in Transformer-like Models", NeurIPS 2024.

    Examples
    --------
    Two tokens on one axis. The exact step brings them closer to zero, the layer that was derived from it takes them
    away:

    >>> import torch
    >>> Z, U = torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.tensor([[[1.0], [0.0]]])
    >>> for mode in ("exact", "code"):
    ...     print(mode, [round(float(value), 2) for value in mssa_step(Z, U, eps=1.0, mode=mode)[:, 0]])
    exact [1.43, 0.71]
    code [3.88, 2.73]
    """
    tokens = checked_tokens("Z", Z, mask)
    bases = checked_bases(U, tokens)
    kappa = (MISSING | NONNEGATIVE).check("step_size", step_size)
    Choice(*MSSA_MODES).require(mode=mode)
    bases = bases.to(Z.dtype)
    a = rate_constant(tokens, bases, eps, mask)
    a = a.squeeze(-3).to(Z.dtype) if isinstance(a, Tensor) else a
    if kappa is None:
        kappa = 1.0 if mode in ("code", "negative") else _longest(bases) / a
    if mode == "exact":
        return tokens - kappa * compressed_rate_grad(tokens, U, eps, mask=mask)
    scale = bases.shape[-1] ** -0.5 if mode == "code" else 1.0
    mixed = from_projections(subspace_attention(projections(tokens, bases), scale, mask), bases)
    stepped = _STEPS[mode](tokens, mixed, kappa, a)
    return stepped if mask is None else torch.where(mask.unsqueeze(-1), stepped, tokens)


def subspace_attention(W: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """Return the mean of coordinates for each token, with softmax weights from their own inner products.

    Parameters
    ----------
    W : Tensor of shape (..., n_subspaces, n_tokens, n_components)
        Queries, keys and values at once.
    scale : float
        Factor of the inner products.
    mask : Tensor of bool of shape (..., n_tokens) or None
        Which tokens may be seen.
    """
    seen = None if mask is None else mask[..., None, None, :]
    mixed: Tensor = torch.nn.functional.scaled_dot_product_attention(W, W, W, attn_mask=seen, scale=scale)
    return mixed


def _longest(bases: Tensor) -> Tensor:
    """Return the longest step in units of ``1 / a``: none for bases of zeros, whose rate no step changes."""
    largest = _squared_norm(bases).to(bases.dtype)
    moves = largest > 0
    return torch.where(moves, 1.0 / torch.where(moves, largest, 1.0), 0.0)


def _squared_norm(bases: Tensor) -> Tensor:
    """Return the squared spectral norm of all bases side by side."""
    side_by_side = bases.double().transpose(0, 1).flatten(1)
    return torch.linalg.matrix_norm(side_by_side, ord=2).square()


_Step = Callable[[Tensor, Tensor, Tensor | float, Tensor | float], Tensor]
_STEPS: dict[str, _Step] = {
    "paper_step": lambda Z, mixed, kappa, a: (1 - kappa * a) * Z + kappa * a * a * mixed,
    "paper_unscaled": lambda Z, mixed, kappa, a: (1 - kappa * a) * Z + kappa * a * mixed,
    "code": lambda Z, mixed, kappa, a: Z + kappa * mixed,
    "negative": lambda Z, mixed, kappa, a: Z - kappa * mixed,
}
