"""SparseSwaps: exchange kept and pruned entries of a mask, without any change of kept values."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsetheory.constraints import MISSING, SIZE
from sparsetheory.gpu.core.patterns import NM, Pattern, PerRow
from sparsetheory.gpu.weights.layerwise.pruned import Pruned, check_gram, check_mask, check_pattern, check_weight
from sparsetheory.numba_kernels.layerwise.sparse_swaps import swap_rows

__all__ = ["sparse_swaps"]


def sparse_swaps(W: Tensor, gram: Any, mask: Tensor, pattern: Pattern, *, max_swaps: int | None = None) -> Pruned:
    """Improve a mask by swaps that leave the kept values as they are (Zimmer et al., 2025).

    With r for the pruned part of a row w, its output error is ``r' G r``. Each step drops the kept entry and restores
    the pruned one that lower it most together, until no pair lowers it. The result is optimal among masks that differ
    in one swap, for values without refit. The published idea is followed; its formulas are derived anew here.

    Parameters
    ----------
    W : Tensor of shape (out, features)
        Dense weights of a layer, one row per output, in any floating-point precision.
    gram : Tensor of shape (features, features), or Gram
        ``X'X / n`` of the inputs of the layer, or any multiple of it.
    mask : Tensor of shape (out, features)
        Which entries are kept at the start.
    pattern : NM or PerRow
        Swaps stay within a group, or within a row. No group or row of `mask` may keep more than it allows.
    max_swaps : int, optional
        Largest number of swaps in each row; by default there is no limit.

    Returns
    -------
    Pruned
        Kept values are those of `W`, bit by bit. Every row and group keeps as many entries as at the start.

    Raises
    ------
    TypeError, ValueError
        If `W` is not a finite real matrix, the Gram matrix is not symmetric and finite, shapes do not fit, or the mask
        keeps more than the pattern allows.

    Notes
    -----
    A swap costs ``O(features m)`` operations for N:M and ``O(k (features - k))`` for rows with k kept entries, most of
    them for the search; ``O(features)`` for the update. The search runs on the CPU in double precision, on one core,
    also for tensors on other devices. It ends when no swap lowers the error by more than 1e-12 of the sum
    of ``w_j**2 G_jj``.

    References
    ----------
    M. Zimmer, C. Roux, M. Wagner, D. Hendrych, S. Pokutta, SparseSwaps: tractable LLM pruning mask refinement at scale,
    2025, arXiv:2512.10922.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import PerRow
    >>> gram = torch.tensor([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 2.0]], dtype=torch.float64)
    >>> start = torch.tensor([[False, False, True]])
    >>> sparse_swaps(torch.tensor([[1.0, 1.0, 1.1]]), gram, start, PerRow(1)).mask
    tensor([[ True, False, False]])
    """
    (MISSING | SIZE).check("max_swaps", max_swaps)
    weight = check_weight(W)
    check_pattern(pattern, weight, (NM, PerRow))
    kept = check_mask(mask, weight)
    _check_counts(kept, pattern)
    matrix = check_gram(gram, weight).cpu().numpy()
    found = kept.to("cpu", copy=True).contiguous()
    width = pattern.m if isinstance(pattern, NM) else W.shape[1]
    most, scratch = -1 if max_swaps is None else max_swaps, np.empty((4, W.shape[1]))
    swap_rows(weight.contiguous().cpu().numpy(), matrix, found.numpy(), width, most, *scratch)
    return Pruned.of(W, found.to(W.device), W.dtype)


def _check_counts(kept: Tensor, pattern: Pattern) -> None:
    if isinstance(pattern, NM):
        most, allowed = kept.reshape(-1, pattern.m).sum(1), torch.tensor(pattern.n)
    else:
        assert isinstance(pattern, PerRow)
        most, allowed = kept.sum(1), torch.tensor(pattern.counts(kept.shape))
    if bool((most.cpu() > allowed).any()):
        raise ValueError(f"mask must keep no more than {pattern} allows; got {int(most.max())} entries")
