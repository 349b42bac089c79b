"""Swap search: exchange kept and pruned weights, each exchange priced with all coefficients fitted anew."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, MISSING, SIZE
from sparsetheory.gpu.core.patterns import Pattern
from sparsetheory.gpu.solvers.swaps import SwapSearch
from sparsetheory.gpu.weights.layerwise.search.blockwise import columns_of_blocks, search_blocks
from sparsetheory.gpu.weights.layerwise.search.layout import check_mask, layout_of
from sparsetheory.gpu.weights.layerwise.search.problem import Problem, in_chunks
from sparsetheory.gpu.weights.layerwise.search.searcher import Searcher

__all__ = ["swap_search"]


def swap_search(
    W: Tensor,
    H: Tensor,
    mask: Tensor,
    pattern: Pattern,
    *,
    max_swaps: int | None = None,
    block_size: int | None = None,
    n_jobs: int | None = 1,
) -> SwapSearch:
    """Lower ``(w - s)' H (w - s)`` of every row by swaps until no swap of a kept and a pruned weight lowers it.

    The price of a swap is exact: all kept coefficients are fitted anew. Every step takes the swap of the largest gain;
    the lowest leaving and then the lowest entering column where gains tie. A swap counts if it gains more than
    ``1e-12 w' H w``, or ``1e-15 sum w_j^2 H_jj`` where the terms of a row cancel. The result is optimal among all masks
    that are one swap away; it need not be the best of all masks.

    Parameters
    ----------
    W : Tensor of shape (out, in)
        Weights of the dense layer, float64.
    H : Tensor of shape (in, in)
        Gram matrix of the inputs with its damping, float64. Inputs of diagonal zero get weight zero. If a kept block is
        singular to working precision, the search of that row adds ``1e-10`` of the diagonal.
    mask : Tensor of bool, of shape (out, in)
        Where to start. The numbers of entries in groups, rows and blocks stay as they are.
    pattern : NM, PerRow, RowBlock or BlockNM
        Which swaps are allowed: within a group, a row, or a block of rows (same swap in all rows, by the sum of gains).
    max_swaps : int, optional
        Limit for each row or block of rows; by default 20 for each column.
    block_size : int, optional
        Columns that are searched at a time while the coefficients of all others are held, in whole groups. By default
        all of them up to 8192 columns, 1024 beyond. Blocks need less memory, but a swap is priced without the answer of
        the columns outside, so they find fewer: the result is optimal among swaps inside the blocks only.
    n_jobs : int, optional
        Threads; results do not depend on it.

    Returns
    -------
    SwapSearch

    Raises
    ------
    TypeError
        If `W` or `H` is not a float64 tensor on the CPU.
    ValueError
        If shapes, mask and pattern do not fit each other, or the pattern is not supported.
    RuntimeError
        If `H` is not positive semidefinite.

    Notes
    -----
    Each row takes O(in^3) for its start (a Cholesky factorisation, two triangular solves, a product), and for each swap
    O(in swaps) with groups and at most O(in^2) without: the sweep operator [1]_, on rows that are brought up to date
    when they are read. Each thread needs about ``20 in^2`` bytes. Prices with least-squares refits are those of OBC
    [2]_ and of stepwise regression; swaps of masks on a Gram matrix are those of SparseSwaps [3]_, whose prices hold
    the kept weights fixed.

    References
    ----------
    .. [1] J. H. Goodnight, "A tutorial on the SWEEP operator", The American Statistician 33, 1979.
    .. [2] E. Frantar, S. P. Singh, D. Alistarh, "Optimal brain compression", NeurIPS 2022, arXiv:2208.11580.
    .. [3] M. Zimmer et al., "SparseSwaps", arXiv:2512.10922.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import NM
    >>> W = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    >>> H = torch.tensor([[1.0, 0.5], [0.5, 4.0]], dtype=torch.float64)
    >>> found = swap_search(W, H, torch.tensor([[True, False]]), NM(1, 2))
    >>> found.mask.tolist(), found.weight.tolist(), found.objective.tolist(), found.n_swaps.tolist()
    ([[False, True]], [[0.0, 1.125]], [0.9375], [1])
    """
    problem, limit = Problem.of(W, H), (MISSING | SIZE).check("max_swaps", max_swaps)
    shape = (W.shape[0], W.shape[1])
    layout = layout_of(pattern, shape)
    inside = check_mask(mask, pattern, shape, layout).numpy().copy()
    (MISSING | COUNT).check("block_size", block_size)
    limit = 20 * shape[1] if limit is None else limit
    weight, n_swaps = np.zeros(shape), np.zeros(shape[0], dtype=np.int64)
    parts = columns_of_blocks(shape[1], layout.m, block_size)
    energies, scales = problem.energies().numpy(), problem.scales().numpy()

    def work(blocks: range) -> None:
        rows = [layout.rows[i] for i in blocks]
        if len(parts) > 1:
            search_blocks(problem, rows, parts, layout.m, limit, inside, weight, n_swaps)
            return
        searcher: Any = None
        for row in rows:
            if not problem.W[row].numpy()[~inside[row]].any():
                weight[row] = problem.W[row].numpy()
                continue
            searcher = searcher or Searcher(problem.H, layout.m, row.stop - row.start)
            scale = float(scales[row].sum())
            weight[row], n_swaps[row] = searcher.run(problem.b[row].numpy(), energies[row], inside[row], limit, scale)

    in_chunks(work, len(layout.rows), n_jobs)
    found = torch.from_numpy(weight)
    return SwapSearch(found, torch.from_numpy(inside), problem.objectives(found), torch.from_numpy(n_swaps))
