"""How much attention a choice of blocks drops, and budgets of blocks for heads that lose little with few."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG
from sparsetheory.gpu.attention.block_mask import BlockMask
from sparsetheory.gpu.attention.gates.block_scores import BlockScores
from sparsetheory.gpu.attention.gates.selection import ranked_scores
from sparsetheory.gpu.core import Choices, choose_options

__all__ = ["dropped_block_mass", "head_budgets"]


def dropped_block_mass(mass: Tensor, mask: BlockMask) -> Tensor:
    """Return the mean attention that queries of each block give to blocks that are not kept.

    The dropped terms are added up. One minus the kept mass would lose the digits of small values.

    Parameters
    ----------
    mass : Tensor of shape (..., query blocks, key blocks)
        Mass of each pair of blocks, as :func:`block_mass` returns it.
    mask : BlockMask
        Without permutations.

    Returns
    -------
    Tensor of shape (..., query blocks)
        From 0 to 1; 0 for a block of padding.

    Raises
    ------
    ValueError
        If shapes do not fit, or the mask permutes.

    Examples
    --------
    >>> import torch
    >>> mask = BlockMask(torch.tensor([[True, True], [True, False]]), n_queries=4, n_keys=4, block=(2, 2))
    >>> dropped_block_mass(torch.tensor([[1.0, 1.0], [0.5, 1.5]]), mask)
    tensor([0.0000, 0.7500])
    """
    if mask.perm_q is not None or mask.perm_k is not None:
        raise ValueError("mask must have no permutations: masses of blocks are in the original order")
    if mass.shape[-2:] != mask.blocks.shape[-2:]:
        raise ValueError(f"mass must have blocks {tuple(mask.blocks.shape[-2:])}; got shape {tuple(mass.shape)}")
    tiny = torch.finfo(mass.dtype).tiny
    return mass.masked_fill(mask.blocks, 0.0).sum(-1) / mass.sum(-1).clamp(min=tiny)


def head_budgets(gate: BlockScores, mass: Tensor, total: int, *, keep_diagonal: bool = True) -> Choices:
    """Share blocks among heads, so that all heads together drop the least mass.

    Every row of a head keeps its best blocks by the scores of the gate. So a head has one option for each number of
    blocks a row, with the mean mass that it drops as loss. Which option each head takes is a knapsack problem with
    multiple choices, solved exactly by a table over the budget. With equal numbers for all heads as one of the choices,
    the best choice is never worse.

    Parameters
    ----------
    gate : BlockScores
        Of shape (batch, heads, query blocks, key blocks).
    mass : Tensor of that shape
        Mass of each pair of blocks on texts for calibration, as :func:`block_mass` returns it.
    total : int
        Blocks a row, summed over the heads; at least one for each head.
    keep_diagonal : bool
        As in :func:`select_blocks`.

    Returns
    -------
    Choices
        The number of blocks a row of head h is ``options[h] + 1``; `loss` is the sum over heads of the mean dropped
        mass.

    Raises
    ------
    ValueError
        If shapes do not fit, or `total` is below the number of heads.

    Examples
    --------
    >>> import torch
    >>> mass = torch.tensor([[[[0.9, 0.1, 0.0]], [[0.4, 0.3, 0.3]]]])
    >>> scores = BlockScores(mass.log(), n_queries=2, n_keys=6, block=2, causal=False)
    >>> found = head_budgets(scores, mass, total=4, keep_diagonal=False)
    >>> found.options, round(found.loss, 6)
    ((0, 2), 0.1)
    """
    COUNT.check("total", total)
    FLAG.check("keep_diagonal", keep_diagonal)
    if gate.logits.ndim != 4 or mass.shape != gate.logits.shape:
        raise ValueError(
            "gate and mass must have one shape (batch, heads, query blocks, key blocks); "
            f"got {tuple(gate.logits.shape)} and {tuple(mass.shape)}"
        )
    dropped = _dropped_by_rank(ranked_scores(gate, keep_diagonal), mass.double())
    costs = [range(1, dropped.shape[-1] + 1)] * dropped.shape[0]
    losses: Sequence[Sequence[float]] = dropped.tolist()
    return choose_options(losses, costs, total, "dp")


def _dropped_by_rank(ranked: Tensor, mass: Tensor) -> Tensor:
    """Return the mean dropped mass of each head with 1, 2, ... blocks a row, of shape (heads, key blocks).

    The sum of all later blocks in the order of the scores, from the last one on: small numbers are added first.
    """
    order = torch.sort(ranked, dim=-1, descending=True, stable=True).indices
    ordered = mass.gather(-1, order)
    from_here = ordered.flip(-1).cumsum(-1).flip(-1)
    later = torch.nn.functional.pad(from_here[..., 1:], (0, 1))
    total = from_here[..., :1]
    counted = total > 0
    shares = torch.where(counted, later / total.clamp(min=torch.finfo(mass.dtype).tiny), 0.0)
    return shares.sum((0, 2)) / counted.sum((0, 2)).clamp(min=1)
