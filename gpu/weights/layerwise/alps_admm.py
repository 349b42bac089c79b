"""ALPS: alternating directions with a growing weight, then conjugate gradients on the support."""

from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, Real
from sparsetheory.gpu.core.patterns import Pattern
from sparsetheory.gpu.weights.layerwise.pruned import Pruned, check_gram, check_pattern, check_weight
from sparsetheory.gpu.weights.layerwise.splitting import Scaled, Split, scaled

__all__ = ["alps"]

_DAMP = Real(0.0)
_RHO = 0.1
_LARGEST_RHO = 1e6
# Supports are compared every third iteration. After the 30th, so small a share of changes ends the search.
_EVERY = 3
_PATIENCE = 30
_FEW_CHANGES = 3e-4
_CG_STEPS = 10


def alps(W: Tensor, gram: Any, pattern: Pattern, *, damp: float = 0.01, max_iter: int = 300) -> Pruned:
    """Prune by ALPS (Meng, Behdin, Wang and Mazumder, 2024).

    Alternating directions on the damped Gram matrix H, in normalised coordinates. Every third iteration the weight rho,
    which starts at 0.1, reacts to the share of entries that became zero or ceased to be since the last time, relative
    to the number kept: above 0.1 it grows by 1.3, above 0.005 by 1.2, else by 1.1, and without any change the search
    ends. As long as neither of the first two has happened, rho falls to a fifth instead, and after a change the
    iteration starts again from the dense weights. At last, at most ten steps of conjugate gradients on the support
    improve the values.

    All rows share rho, so a row may be pruned otherwise if other rows stand beside it, for each of the patterns.

    Parameters
    ----------
    W : Tensor of shape (out, features)
        Weights of a layer, one row per output, in any floating-point precision.
    gram : Tensor of shape (features, features), or Gram
        Undamped ``X'X / n`` or ``X'X`` of the inputs of the layer. A factor matters only where the root mean square of
        an input comes near the 1e-8 that the method adds to it.
    pattern : NM, PerRow or PerTensor
        Groups run along the last axis. The published unstructured method is PerTensor: the largest of all entries.
    damp : float
        Share of the mean of the diagonal of `gram` that is added to the diagonal.
    max_iter : int
        Largest number of iterations of alternating directions.

    Returns
    -------
    Pruned
        With exactly as many kept entries as the pattern says.

    Raises
    ------
    TypeError, ValueError
        If `W` is not a finite real matrix, the Gram matrix is not symmetric and finite, or shapes do not fit.

    Notes
    -----
    ``O(features**3)`` operations for one eigendecomposition and for each change of rho, and ``O(out features**2)`` per
    iteration, in double precision.

    References
    ----------
    X. Meng, K. Behdin, H. Wang, R. Mazumder, ALPS: improved optimization for highly sparse one-shot pruning for large
    language models, NeurIPS 2024.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import NM
    >>> gram = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    >>> alps(torch.tensor([[1.0, 2.0]]), gram, NM(1, 2), damp=0.0).weight
    tensor([[0.0000, 2.5000]])
    """
    _DAMP.check("damp", damp)
    COUNT.check("max_iter", max_iter)
    weight = check_weight(W)
    check_pattern(pattern, weight)
    H = check_gram(gram, weight)
    H.diagonal().add_(damp * float(H.diagonal().mean()))
    problem = scaled(weight, H)
    dense = _alternate(problem, pattern, max_iter)
    mask = pattern.mask(dense.square(), name="W")
    return Pruned.of(_conjugate_gradients(problem, dense * mask, mask) / problem.d, mask, W.dtype)


def _alternate(problem: Scaled, pattern: Pattern, max_iter: int) -> Tensor:
    """Return B when the support of D no longer changes."""
    values, vectors = torch.linalg.eigh(problem.H)
    most = max(pattern.count(problem.start.shape), 1)
    state = Split.begin(problem, pattern)
    rho, started, zero = _RHO, False, state.D == 0
    inverse = (vectors / (values + rho)) @ vectors.T
    for iteration in range(1, max_iter + 1):
        state.solve(problem, inverse, rho)
        state.project(pattern, rho)
        if iteration % _EVERY:
            continue
        before, zero = zero, state.D == 0
        changed = int((zero != before).sum())
        if started and not changed:
            break
        factor, started = _growth(changed / most, started)
        if changed and not started:
            state = Split.begin(problem, pattern)
        rho = min(rho * factor, _LARGEST_RHO)
        if iteration > _PATIENCE and changed / most < _FEW_CHANGES:
            break
        inverse = (vectors / (values + rho)) @ vectors.T
    return state.B


def _growth(share: float, started: bool) -> tuple[float, bool]:
    """Return the factor of rho, and whether it has ever grown because of many changes."""
    if share > 0.1:
        return 1.3, True
    if share > 0.005:
        return 1.2, True
    return (1.1, True) if started else (0.2, False)


def _conjugate_gradients(problem: Scaled, X: Tensor, mask: Tensor) -> Tensor:
    """Improve all rows at once on their supports; residuals are set to zero elsewhere in every step."""
    residual = (problem.target - X @ problem.H) * mask
    direction, energy = residual, (residual**2).sum(1, keepdim=True)
    for _ in range(_CG_STEPS):
        image = direction @ problem.H
        length = _ratio(energy, (direction * image).sum(1, keepdim=True))
        X = X + length * direction
        residual = (residual - length * image) * mask
        before, energy = energy, (residual**2).sum(1, keepdim=True)
        direction = residual + _ratio(energy, before) * direction
    return X


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """Return a quotient, zero where a row has nothing left to improve."""
    return torch.where(below > 0, above / below, 0.0)
