"""SparseGPT: prune column after column, and let the columns to the right make up for each error."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, Real
from sparsetheory.gpu.core.patterns import NM, Pattern, PerRow, PerTensor
from sparsetheory.gpu.core.selection import keep_in_groups, keep_largest
from sparsetheory.gpu.weights.layerwise.pruned import Pruned, check_gram, check_pattern, check_weight

__all__ = ["sparsegpt"]

_DAMP = Real(0.0)
_Choice = Callable[[Tensor, int], Tensor]


def sparsegpt(W: Tensor, gram: Any, pattern: Pattern, *, damp: float = 0.01, block_size: int = 128) -> Pruned:
    """Prune by SparseGPT (Frantar and Alistarh, 2023).

    Let ``U`` be the upper Cholesky factor of the inverse of the damped Gram matrix ``H``, so that ``inv(H) = U' U``.
    To remove entry j of a row w, if only the entries to the right may change, costs ``w_j**2 / U_jj**2``, and the best
    change of the others is ``-(w_j / U_jj) U_j:``. Columns are visited from left to right. What is pruned depends on
    the pattern:

    - ``NM``: at the first column of each group, and in each row, the entries of least cost among the columns of the
      group, as changed so far.
    - ``PerTensor``: at the first column of each block, over all rows and columns of the block together, as published:
      all entries whose cost is at most the one that has ``int(size * sparsity)`` costs before it in ascending order.
      So one entry more is pruned than the share says in each block, and more where costs tie; counts of rows vary.
    - ``PerRow``: not published, made for comparisons at equal counts. At the first column of each block every row keeps
      its entries of largest cost, as many as its share of the block, so that exactly `n_nonzero` are kept in total.

    Parameters
    ----------
    W : Tensor of shape (out, features)
        Weights of a layer, one row per output, in any floating-point precision.
    gram : Tensor of shape (features, features), or Gram
        Undamped ``X'X / n`` of the inputs of the layer. A positive factor changes nothing, unless there are inputs that
        are always zero: their entry in ``H = 2 gram`` is set to 1, and so counts in the mean that sets the damping.
    pattern : NM, PerTensor or PerRow
        Groups run along the last axis.
    damp : float
        Share of the mean of the diagonal of ``H`` that is added to the diagonal.
    block_size : int
        Columns after which later columns are updated together. For ``NM`` the result does not depend on it, and the
        largest multiple of the group size up to it is taken, or one group. (The published code cuts groups at the end
        of a block where their size does not divide 128.) For other patterns it is the block of the selection.

    Returns
    -------
    Pruned
        Weights of pruned entries are zero, others are changed; those of inputs that are always zero are zero.

    Raises
    ------
    TypeError, ValueError
        If `W` is not a finite real matrix, the Gram matrix is not symmetric, finite and after damping positive
        definite, or shapes do not fit.

    Notes
    -----
    ``O(features**3 + out features**2)`` operations, in double precision.

    References
    ----------
    E. Frantar, D. Alistarh, SparseGPT: massive language models can be accurately pruned in one-shot, ICML 2023.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import NM
    >>> gram = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    >>> sparsegpt(torch.tensor([[1.0, 2.0]]), gram, NM(1, 2), damp=0.0).weight
    tensor([[0.0000, 2.5000]])
    """
    _DAMP.check("damp", damp)
    COUNT.check("block_size", block_size)
    weight = check_weight(W)
    check_pattern(pattern, weight)
    H = 2.0 * check_gram(gram, weight)
    dead = H.diagonal() == 0
    weight[:, dead] = 0.0
    # Columns of the weights become rows, so that each step writes to contiguous memory.
    columns = weight.T.contiguous()
    kept = torch.zeros_like(columns, dtype=torch.bool)
    factor = _inverse_factor(H, dead, damp)
    step = max(block_size // pattern.m, 1) * pattern.m if isinstance(pattern, NM) else block_size
    width = pattern.m if isinstance(pattern, NM) else step
    choose = _choice(pattern, weight)
    for first in range(0, len(columns), step):
        last = min(first + step, len(columns))
        errors = _prune_block(columns, kept, factor, choose, first, last, width)
        columns[last:] -= factor[first:last, last:].T @ errors
    return Pruned.of(columns.T, kept.T.contiguous(), W.dtype)


def _inverse_factor(H: Tensor, dead: Tensor, damp: float) -> Tensor:
    """Return the upper Cholesky factor of the inverse of a matrix, after damping it in place."""
    diagonal = H.diagonal()
    diagonal[dead] = 1.0
    diagonal += damp * float(diagonal.mean())
    lower, failed = torch.linalg.cholesky_ex(H)
    if not bool(failed):
        upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
    if bool(failed):
        raise ValueError(f"gram must be positive definite after damping; got damp={damp!r}, raise it")
    return upper


def _prune_block(
    columns: Tensor, kept: Tensor, factor: Tensor, choose: _Choice, first: int, last: int, width: int
) -> Tensor:
    """Prune columns from `first` to `last`, in place; return their errors divided by the pivots, one column a row."""
    pivots = factor.diagonal()
    errors = torch.empty_like(columns[first:last])
    for i in range(first, last):
        if (i - first) % width == 0:
            costs = (columns[i : i + width] / pivots[i : i + width, None]) ** 2
            kept[i : i + width] = choose(costs.T, i).T
        errors[i - first] = torch.where(kept[i], 0.0, columns[i] / pivots[i])
        columns[i + 1 : last].addr_(factor[i, i + 1 : last], errors[i - first], alpha=-1.0)
    return errors


def _choice(pattern: Pattern, W: Tensor) -> _Choice:
    """Return the function that says what is kept, from the costs of some columns and the number of the first."""
    if isinstance(pattern, NM):
        n, m = pattern.n, pattern.m
        return lambda costs, _: keep_in_groups(costs, n, m)
    if isinstance(pattern, PerRow):
        return partial(_by_rows, torch.tensor(pattern.counts(W.shape), device=W.device), W.shape[1])
    assert isinstance(pattern, PerTensor)
    return partial(_above_threshold, pattern, W.numel())


def _by_rows(counts: Tensor, features: int, costs: Tensor, start: int) -> Tensor:
    """Let each row keep ``counts * j / features`` of its first j entries, rounded, for the end j of every block."""
    before, after = ((2 * counts * j + features) // (2 * features) for j in (start, start + costs.shape[1]))
    return keep_largest(costs, after - before)


def _above_threshold(pattern: PerTensor, size: int, costs: Tensor, _: int) -> Tensor:
    """Prune as published: what costs at most the threshold, the threshold included."""
    if costs.numel() == 0:
        return costs > 0
    if pattern.n_nonzero is not None:
        before = costs.numel() * (size - pattern.n_nonzero) // size
    else:
        assert pattern.density is not None
        sparsity = 1.0 - pattern.density
        # Who writes 0.9 means a sparsity of 0.1, which 1 - 0.9 misses by a rounding error, and int by one.
        written = round(sparsity, 12)
        before = int(costs.numel() * (written if abs(written - sparsity) < 4e-16 else sparsity))
    return costs > costs.reshape(-1).kthvalue(min(before + 1, costs.numel())).values
