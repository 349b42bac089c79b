"""Sparse weights as the kernels read them: row after row, or four rows at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import Choice, Real

__all__ = ["BLOCK", "SparseRows", "choose_block", "kept_entries", "pack_rows"]

BLOCK = 4
_LARGEST = 2**31 - 1


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Weights without most of their zeros.

    Parameters
    ----------
    indptr : Tensor of int32
        Entries ``indptr[q]`` to ``indptr[q + 1]`` belong to row q. In blocks of four, the first ``n_rows // 4`` places
        are for blocks of four consecutive rows, the others for the ``n_rows % 4`` rows that are left.
    indices : Tensor of int32
        Column of each entry.
    values : Tensor
        Weight of each entry of a row. An entry of a block has four, from the upper row to the lower.
    shape : tuple of int
        Rows and columns.
    """

    indptr: Tensor
    indices: Tensor
    values: Tensor
    shape: tuple[int, int]

    @property
    def n_blocks(self) -> int:
        """Blocks of four rows."""
        return (self.shape[0] + 1 - len(self.indptr)) // (BLOCK - 1)

    def to_dense(self) -> Tensor:
        """Return the matrix."""
        counts = self.indptr.diff().long()
        place = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        inside = int(self.indptr[self.n_blocks])
        columns = self.indices.long()
        matrix = self.values.new_zeros(self.shape)
        blocks = matrix[: BLOCK * self.n_blocks].view(self.n_blocks, BLOCK, self.shape[1])
        blocks[place[:inside], :, columns[:inside]] = self.values[: BLOCK * inside].view(-1, BLOCK)
        rows = place[inside:] + (BLOCK - 1) * self.n_blocks
        matrix[rows, columns[inside:]] = self.values[BLOCK * inside :]
        return matrix


def pack_rows(weight: Tensor, mask: Tensor | None = None, block: int = 1) -> SparseRows:
    """Return the weights that are kept and not zero, in the form of the kernels.

    Parameters
    ----------
    weight : Tensor of shape (n_rows, n_columns)
    mask : Tensor of bool of the same shape or None
        What is kept; None for all.
    block : 1 or 4
        Rows that share their columns. In blocks of four, zeros beside other weights are kept.

    Returns
    -------
    SparseRows
        On the device of the weights.

    Raises
    ------
    ValueError
        If a shape does not fit, or there are 2**31 weights or more.

    Examples
    --------
    >>> import torch
    >>> weight = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]])
    >>> pack_rows(weight).indices
    tensor([0, 2, 2], dtype=torch.int32)
    """
    Choice(1, BLOCK).check("block", block)
    if weight.ndim != 2:
        raise ValueError(f"weight must be a matrix; got shape {tuple(weight.shape)}")
    if weight.numel() > _LARGEST:
        raise ValueError(f"weight must have fewer than 2**31 entries; got {weight.numel()}")
    kept = kept_entries(weight, mask)
    n_blocks = len(weight) // BLOCK if block == BLOCK else 0
    upper, lower = weight.split([BLOCK * n_blocks, len(weight) - BLOCK * n_blocks])
    kept_upper, kept_lower = kept.split([len(upper), len(lower)])
    fours = torch.where(kept_upper, upper, 0).view(n_blocks, BLOCK, weight.shape[1]).transpose(1, 2)
    touched = kept_upper.view(n_blocks, BLOCK, weight.shape[1]).any(1)
    support = torch.cat([touched, kept_lower])
    indptr = torch.zeros(len(support) + 1, dtype=torch.int32, device=weight.device)
    indptr[1:] = support.sum(1).cumsum(0)
    values = torch.cat([fours[touched].flatten(), lower[kept_lower]])
    indices = support.nonzero()[:, 1].to(torch.int32)
    return SparseRows(indptr, indices, values, (weight.shape[0], weight.shape[1]))


def kept_entries(weight: Tensor, mask: Tensor | None) -> Tensor:
    """Return which weights are kept and not zero; raise ValueError for a mask that does not fit."""
    kept = weight != 0
    if mask is not None:
        if mask.shape != weight.shape or mask.dtype != torch.bool:
            raise ValueError(
                f"mask must be of bool and of shape {tuple(weight.shape)}; got {mask.dtype} of {tuple(mask.shape)}"
            )
        kept &= mask.to(weight.device)
    return kept


def choose_block(mask: Tensor, fill: float = 0.9) -> int:
    """Return whether blocks of four rows are full enough to be used.

    A block is four consecutive rows of one column. Blocks without a non-zero are skipped, in all others every entry is
    computed. A block takes about as long as two single rows, so blocks that are half full neither gain nor lose; the
    bound is stricter, because their zeros take memory too.

    Parameters
    ----------
    mask : Tensor of bool of shape (n_rows, n_columns)
        Weights that are kept.
    fill : float in (0, 1]
        Share of the entries of the blocks that must be kept.

    Returns
    -------
    int
        4 if it is reached in the rows that make up complete blocks, otherwise 1.

    Notes
    -----
    Source: the kernels of E. Elsen et al., "Fast Sparse ConvNets", CVPR 2020, as XNNPACK chooses among them.

    Examples
    --------
    >>> import torch
    >>> choose_block(torch.ones(8, 3, dtype=torch.bool)), choose_block(torch.eye(8, dtype=torch.bool))
    (4, 1)
    """
    Real(0.0, 1.0, closed="right").check("fill", fill)
    if mask.ndim != 2 or mask.dtype != torch.bool:
        raise ValueError(f"mask must be a matrix of bool; got {mask.dtype} of shape {tuple(mask.shape)}")
    n_blocks = len(mask) // BLOCK
    counts = mask[: BLOCK * n_blocks].reshape(n_blocks, BLOCK, mask.shape[1]).sum(1)
    capacity = BLOCK * int((counts > 0).sum())
    return BLOCK if capacity and int(counts.sum()) >= fill * capacity else 1
