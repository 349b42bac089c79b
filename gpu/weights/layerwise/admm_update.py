"""The ADMM update of Boza (2024): twenty steps of alternating directions, while zeros become more."""

from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, Integer, Real
from sparsetheory.gpu.core.patterns import NM, Pattern, PerRow
from sparsetheory.gpu.core.selection import keep_in_groups, keep_largest
from sparsetheory.gpu.weights.layerwise.pruned import Pruned, check_gram, check_mask, check_pattern, check_weight
from sparsetheory.gpu.weights.layerwise.splitting import scaled

__all__ = ["admm_refit"]

_DAMP = Real(0.0)


def admm_refit(
    W: Tensor,
    gram: Any,
    pattern: Pattern | None = None,
    *,
    mask: Tensor | None = None,
    damp: float = 0.1,
    max_iter: int = 20,
    n_gradual: int = 15,
) -> Pruned:
    """Prune, or fit the values on a given mask, by alternating directions (Boza, 2024).

    The weight of the splitting is 1, in coordinates in which the Gram matrix has a diagonal of ones. In the first
    iterations the mask is chosen afresh, with a number of zeros that grows: of the s zeros that the pattern has in the
    end, iteration t of T sets the integer part of ``s (1 - (1 - t / T)**3)``. Then the mask stays, and the remaining
    iterations fit the values.

    With an N:M pattern the zeros are the smallest entries of the whole matrix outside the n largest of each group.
    Published is 2:4; other patterns follow by the same rule, and end with n kept in each group. Per-row patterns choose
    zeros in each row.

    Parameters
    ----------
    W : Tensor of shape (out, features)
        Weights of a layer, one row per output, in any floating-point precision.
    gram : Tensor of shape (features, features), or Gram
        Undamped ``X'X / n`` or ``X'X`` of the inputs of the layer. A factor matters only where the root mean square of
        an input comes near the 1e-8 that the method adds to it.
    pattern : NM, PerRow or PerTensor, optional
        Groups run along the last axis. Not needed where `mask` is given.
    mask : Tensor of shape (out, features), optional
        Which entries are kept, in all iterations. Values then tend to the least-squares fit on the mask, for the damped
        Gram matrix, as `max_iter` grows.
    damp : float
        Added to the diagonal of the Gram matrix, whose entries are 1.
    max_iter : int
        Iterations.
    n_gradual : int
        Iterations in which zeros become more, at most `max_iter`. With 0, the mask is that of the normalised weights.

    Returns
    -------
    Pruned

    Raises
    ------
    TypeError, ValueError
        If `W` is not a finite real matrix, the Gram matrix is not symmetric and finite, shapes do not fit, or neither
        pattern nor mask is given.

    Notes
    -----
    One matrix inverse, and ``O(out features**2)`` operations per iteration, in double precision.

    References
    ----------
    V. Boža, Fast and effective weight update for pruned large language models, TMLR 2024.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import NM
    >>> gram = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    >>> admm_refit(torch.tensor([[1.0, 2.0]]), gram, NM(1, 2), damp=0.0).weight
    tensor([[0.0000, 2.5019]])
    """
    _DAMP.check("damp", damp)
    COUNT.check("max_iter", max_iter)
    weight = check_weight(W)
    chosen = check_pattern(pattern, weight) if mask is None else None
    if chosen:
        Integer(0, max_iter).check("n_gradual", n_gradual)
    problem = scaled(weight, check_gram(gram, weight))
    kept = chosen.mask(problem.start.abs(), name="W") if chosen else check_mask(mask, weight)
    # An input that is always zero has a diagonal of 0 here, which counts in the mean.
    problem.H.diagonal().add_(damp * float(problem.H.diagonal().mean()))
    target = problem.start @ problem.H
    inverse = torch.linalg.inv(problem.H + torch.eye(len(problem.H), dtype=torch.float64, device=weight.device))
    B, U = problem.start, torch.zeros_like(problem.start)
    for iteration in range(1, max_iter + 1):
        both = B + U
        if chosen and iteration <= n_gradual:
            kept = _gradual_mask(both.abs(), chosen, iteration, n_gradual)
        Z = both * kept
        U = both - Z
        B = (target + Z - U) @ inverse
    return Pruned.of((B + U) / problem.d, kept, W.dtype)


def _gradual_mask(score: Tensor, pattern: Pattern, iteration: int, last: int) -> Tensor:
    """Keep all but the share ``1 - (1 - iteration / last)**3`` of the zeros that the pattern has at the end."""
    if iteration == last:
        return pattern.mask(score, name="W")
    above, below = last**3 - (last - iteration) ** 3, last**3
    if isinstance(pattern, PerRow):
        zeros = score.shape[1] - torch.tensor(pattern.counts(score.shape), device=score.device)
        return keep_largest(score, score.shape[1] - zeros * above // below)
    if isinstance(pattern, NM):
        score = score.masked_fill(keep_in_groups(score, pattern.n, pattern.m), float("inf"))
    fewer = (score.numel() - pattern.count(score.shape)) * above // below
    return keep_largest(score.reshape(-1), score.numel() - fewer).reshape(score.shape)
