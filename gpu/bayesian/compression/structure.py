"""Where the weights lie that masks keep: whole rows, columns and blocks, runs, and bytes of the kernels' form."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, Choice
from sparsetheory.gpu.bayesian.turbo.report import mean_run
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.kernels.packing import BLOCK

__all__ = ["MaskStructure", "mask_structure", "packed_bytes"]

_POSITION = 4


@dataclass(frozen=True)
class MaskStructure:
    """Where the weights of one layer lie that are kept.

    Parameters
    ----------
    name : str
        Of the weight.
    n_weights, n_nonzero : int
        All entries, and those that are kept.
    row_density, column_density : float
        Shares of outputs and of inputs with a weight that is kept.
    block_density : float
        Share of the blocks with a weight that is kept; a block is one input, at one place of a kernel, of four
        consecutive outputs. What is left behind the last complete block is left out.
    block_fill : float
        Share of kept weights within these blocks; 0 if there are none.
    row_run, column_run : float
        Mean length of runs of kept weights along the inputs of an output, and along the outputs of an input; 0 if none
        is kept.
    dense_bytes, row_bytes, block_bytes : int
        Bytes of the dense weight, and of the form of the kernels, with single rows and with blocks of four.
    """

    name: str
    n_weights: int
    n_nonzero: int
    row_density: float
    column_density: float
    block_density: float
    block_fill: float
    row_run: float
    column_run: float
    dense_bytes: int
    row_bytes: int
    block_bytes: int

    @property
    def density(self) -> float:
        """Share of entries that are kept."""
        return self.n_nonzero / self.n_weights if self.n_weights else 0.0


def mask_structure(masks: Mapping[str, Tensor], *, value_bytes: int = 4) -> tuple[MaskStructure, ...]:
    """Describe where masks keep weights, layer by layer.

    Parameters
    ----------
    masks : mapping of str to Tensor of bool of shape (out, in) or (out, in, height, width)
        By names of weights.
    value_bytes : int
        Bytes of one weight.

    Returns
    -------
    tuple of MaskStructure
        In the order of `masks`.

    Raises
    ------
    TypeError
        If a mask does not hold booleans.
    ValueError
        If a mask has fewer than two axes.

    Notes
    -----
    Inputs of a convolution are taken one after the other, each with the places of its kernel. How long runs are is to a
    large part the work of a prior; compare with masks of the same density that have none.

    Examples
    --------
    >>> import torch
    >>> mask = torch.zeros(8, 6, dtype=torch.bool)
    >>> mask[:4, 2:5] = True
    >>> (found,) = mask_structure({"0.weight": mask})
    >>> found.row_density, found.column_density, found.block_density, found.block_fill, found.row_run
    (0.5, 0.5, 0.25, 1.0, 3.0)
    """
    COUNT.check("value_bytes", value_bytes)
    return tuple(_structure(name, mask, value_bytes) for name, mask in MaskSet(masks).items())


def _structure(name: str, mask: Tensor, value_bytes: int) -> MaskStructure:
    if mask.ndim < 2:
        raise ValueError(f"masks must have two axes or more; got {name!r} of shape {tuple(mask.shape)}")
    matrix = mask.flatten(1).cpu()
    blocks = _blocks(matrix)
    touched = blocks.any(1)
    inside, n_touched = int(blocks.sum()), int(touched.sum())
    states = matrix.numpy()
    return MaskStructure(
        name=name,
        n_weights=mask.numel(),
        n_nonzero=int(mask.sum()),
        row_density=_share(matrix.any(1)),
        column_density=_share(mask.transpose(0, 1).flatten(1).any(1)),
        block_density=_share(touched),
        block_fill=inside / (BLOCK * n_touched) if n_touched else 0.0,
        row_run=mean_run(states) if states.size else 0.0,
        column_run=mean_run(np.ascontiguousarray(states.T)) if states.size else 0.0,
        dense_bytes=value_bytes * mask.numel(),
        row_bytes=packed_bytes(mask, value_bytes=value_bytes),
        block_bytes=packed_bytes(mask, BLOCK, value_bytes=value_bytes),
    )


def packed_bytes(mask: Tensor, block: int = 1, *, value_bytes: int = 4) -> int:
    """Return the bytes of a weight in the form of :func:`sparsetheory.gpu.kernels.pack_rows`.

    Parameters
    ----------
    mask : Tensor of bool of shape (out, ...)
        What is kept.
    block : {1, 4}
        Rows that share their columns. All four weights of a block that has any are stored.
    value_bytes : int
        Bytes of one weight. Positions and ends of rows take four each.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If the mask is no tensor of bool with two axes or more, or another argument is out of range.

    Examples
    --------
    Two full blocks of four: eight weights, two positions, and two ends of one row of blocks.

    >>> import torch
    >>> packed_bytes(torch.ones(4, 2, dtype=torch.bool), 4)
    48
    """
    Choice(1, BLOCK).check("block", block)
    COUNT.check("value_bytes", value_bytes)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.ndim < 2:
        got = f"{mask.dtype} of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask must be a tensor of bool with two axes or more; got {got}")
    matrix = mask.flatten(1)
    n_blocks = len(matrix) // BLOCK if block == BLOCK else 0
    entries = int(_blocks(matrix).any(1).sum()) if n_blocks else 0
    single = int(matrix[BLOCK * n_blocks :].sum())
    ends = n_blocks + len(matrix) - BLOCK * n_blocks + 1
    return value_bytes * (BLOCK * entries + single) + _POSITION * (entries + single + ends)


def _blocks(matrix: Tensor) -> Tensor:
    """Return complete blocks of consecutive rows, of shape (blocks, rows of a block, columns)."""
    n_blocks = len(matrix) // BLOCK
    return matrix[: BLOCK * n_blocks].view(n_blocks, BLOCK, matrix.shape[1])


def _share(flags: Tensor) -> float:
    return int(flags.sum()) / flags.numel() if flags.numel() else 0.0
