"""A start for swap search: alternating directions whose weight grows by a fixed schedule."""

from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.core.patterns import Pattern
from sparsetheory.gpu.weights.layerwise.pruned import ALL_PATTERNS, check_gram, check_pattern, check_weight
from sparsetheory.gpu.weights.layerwise.splitting import Split, scaled

__all__ = ["continuation_mask"]

_FIRST, _LAST = 0.03, 1.0
# So many steps share a weight and its inverse. (If only the inverse stayed, while the weight grows, steps would no
# longer aim at the minimum, and masks would be worse.)
_EVERY = 4


def continuation_mask(W: Tensor, H: Any, pattern: Pattern, *, n_steps: int = 100) -> Tensor:
    """Choose a mask by alternating directions whose weight grows from 0.03 to 1.

    The iteration is that of ALPS (Meng, Behdin, Wang and Mazumder, 2024). Theirs chooses the weight by watching all
    rows. Here it grows by the same factor every four steps, whatever the weights are, so that rows of a per-row or N:M
    pattern are independent: a matrix may be pruned in parts. This schedule is ours.

    Parameters
    ----------
    W : Tensor of shape (out, features)
        Weights of a layer, one row per output, in any floating-point precision.
    H : Tensor of shape (features, features), or Gram
        The Gram matrix of the objective ``tr (W - S) H (W - S)'``, damped as the objective is. A positive factor
        changes nothing.
    pattern : NM, PerRow, PerTensor, RowBlock or BlockNM
        Groups run along the last axis.
    n_steps : int
        Number of steps.

    Returns
    -------
    Tensor of bool of shape (out, features)
        Which entries are kept.

    Raises
    ------
    TypeError, ValueError
        If `W` is not a finite real matrix, `H` is not symmetric, finite and positive semidefinite, or shapes do not
        fit.

    Notes
    -----
    ``O(n_steps features**2 (out + features / 4))`` operations, in double precision.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import NM
    >>> H = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    >>> continuation_mask(torch.tensor([[1.0, 2.0]]), H, NM(1, 2))
    tensor([[False,  True]])
    """
    COUNT.check("n_steps", n_steps)
    weight = check_weight(W)
    check_pattern(pattern, weight, ALL_PATTERNS)
    problem = scaled(weight, check_gram(H, weight, name="H"), least=0.0)
    state = Split.begin(problem, pattern)
    for step in range(n_steps):
        if step % _EVERY == 0:
            rho = _FIRST * (_LAST / _FIRST) ** (step / max(n_steps - 1, 1))
            inverse = _inverse(problem.H, rho)
        state.solve(problem, inverse, rho)
        state.project(pattern, rho)
    return pattern.mask(state.B.square(), name="W")


def _inverse(H: Tensor, rho: float) -> Tensor:
    shifted = H.clone()
    shifted.diagonal().add_(rho)
    lower, failed = torch.linalg.cholesky_ex(shifted)
    if bool(failed):
        raise ValueError("H must be positive semidefinite; got an eigenvalue well below 0")
    return torch.cholesky_inverse(lower)
