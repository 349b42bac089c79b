"""Units: entries of a mask that enter and leave together, and groups of units that keep their number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from sparsetheory.gpu.core.patterns.base import needs_axes, needs_multiple
from sparsetheory.gpu.core.patterns.blocks import BlockNM
from sparsetheory.gpu.core.patterns.entries import NM
from sparsetheory.gpu.core.patterns.text import parse_pattern

__all__ = ["MaskUnits", "mask_units"]

# Edges of a unit along the first axes, None for a whole one; along all other axes units are whole.
_NAMED: dict[str, tuple[int | None, ...]] = {"rows": (1,), "columns": (None, 1), "kernels": (1, 1)}
_WANTED = (
    "units must be 'rows', 'columns', 'kernels', a tuple of positive whole numbers or None, NM, BlockNM, "
    "or text like 2:4"
)


@dataclass(frozen=True)
class MaskUnits:
    """The units of a mask of one shape: boxes of equal size that fill it.

    A tensor with one entry for each unit is called a grid. Where exchanges stay within groups of units, the axis along
    which groups run is the last one of the grid, so that a group is consecutive.

    Parameters
    ----------
    shape : tuple of int
        Shape of the mask.
    edges : tuple of int
        Entries of a unit along every axis.
    n, m : int, optional
        Every m consecutive units along `axis` hold n active ones, always. By default exchanges are free.
    axis : int
        Along which groups run.
    """

    shape: tuple[int, ...]
    edges: tuple[int, ...]
    n: int | None = None
    m: int | None = None
    axis: int = -1

    @property
    def size(self) -> int:
        """Entries of a unit."""
        return math.prod(self.edges)

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Number of units along every axis of the grid."""
        counts = [length // edge if edge else 0 for length, edge in zip(self.shape, self.edges, strict=True)]
        if self.m is not None:
            counts.append(counts.pop(self.axis))
        return tuple(counts)

    def totals(self, score: Tensor) -> Tensor:
        """Return the grid of the sums over the entries of each unit.

        A tensor that has the shape of a grid already, with axes in the order of the mask, holds numbers of units, and
        is taken as it is. Sums of half precision are in float32, and those of integers in int64.
        """
        counts = tuple(length // edge if edge else 0 for length, edge in zip(self.shape, self.edges, strict=True))
        if score.shape == self.shape:
            whole = torch.float32 if score.is_floating_point() and score.dtype.itemsize < 4 else None
            score = self._boxes(score).sum(self._inner, dtype=whole) if self.size != 1 else score
        elif score.shape != counts:
            raise ValueError(
                f"a score must have the shape of its mask, {self.shape}, or of its units, {counts}; "
                f"got {tuple(score.shape)}"
            )
        return self._ordered(score)

    def all(self, mask: Tensor) -> Tensor:
        """Return the grid that says of which units all entries are in the mask."""
        return self._ordered(self._boxes(mask).all(self._inner))

    def any(self, mask: Tensor) -> Tensor:
        """Return the grid that says of which units some entry is in the mask."""
        return self._ordered(self._boxes(mask).any(self._inner))

    def spread(self, grid: Tensor) -> Tensor:
        """Return the mask of the entries of the units that a grid of booleans holds."""
        if self.m is not None:
            grid = grid.movedim(-1, self.axis)
        for axis in range(len(self.shape)):
            grid = grid.unsqueeze(2 * axis + 1)
        sides = [side for axis, edge in enumerate(self.edges) for side in (grid.shape[2 * axis], edge)]
        # A copy: a view of whole axes could not be written to.
        return grid.expand(sides).reshape(self.shape).contiguous()

    def check_mask(self, mask: Tensor, name: str) -> None:
        """Raise ValueError unless a mask consists of whole units, and groups of units hold n active ones each."""
        active = self.all(mask)
        if not torch.equal(active, self.any(mask)):
            raise ValueError(f"{name} must keep or leave out whole units of shape {self.edges}; it splits some")
        if self.m is not None and any(count != self.n for count in active.reshape(-1, self.m).sum(1).unique().tolist()):
            raise ValueError(f"{name} must keep exactly {self.n} of every {self.m} units along axis {self.axis}")

    @property
    def _inner(self) -> tuple[int, ...]:
        return tuple(range(1, 2 * len(self.shape), 2))

    def _boxes(self, tensor: Tensor) -> Tensor:
        """Return a view in which every axis is split into units and the entries of a unit."""
        sides = zip(self.shape, self.edges, strict=True)
        return tensor.reshape([side for length, edge in sides for side in (length // edge if edge else 0, edge)])

    def _ordered(self, grid: Tensor) -> Tensor:
        return grid if self.m is None else grid.movedim(self.axis, -1)


def mask_units(units: Any, shape: Sequence[int], *, name: str = "mask") -> MaskUnits:
    """Return the units of a mask of some shape.

    Parameters
    ----------
    units : str, tuple or pattern
        ``"rows"`` for all weights of one output, in a convolution a filter; ``"columns"`` for those of one input;
        ``"kernels"`` for those of one pair of output and input. A tuple has the edges of boxes along the first axes,
        None for a whole axis; along all others boxes are whole. A pattern :class:`NM` stands for single entries that
        are exchanged within their groups only, :class:`BlockNM` for blocks of rows that are; both also as text like
        ``"2:4"`` and ``"4x2:4"``.
    shape : sequence of int
        Of the mask.
    name : str
        What error messages call the mask.

    Returns
    -------
    MaskUnits

    Raises
    ------
    TypeError
        If `units` is none of these.
    ValueError
        If units do not fill the shape.

    Examples
    --------
    >>> import torch
    >>> rows = mask_units("rows", (2, 3))
    >>> rows.totals(torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]])).flatten()
    tensor([6., 1.])
    >>> mask_units((4, 4), (8, 6))
    Traceback (most recent call last):
    ValueError: mask must have a multiple of 4 entries along axis 1 for units of (4, 4); got 6 of shape (8, 6)
    """
    shape = tuple(shape)
    if isinstance(units, str):
        units = _named(units)
    if isinstance(units, NM | BlockNM):
        units.check_shape(shape, name=name)
        first = units.size if isinstance(units, BlockNM) else 1
        return MaskUnits(shape, (first, *(1 for _ in shape[1:])), units.n, units.m, units.axis)
    if not isinstance(units, tuple) or not all(edge is None or _is_count(edge) for edge in units):
        raise TypeError(f"{_WANTED}; got {units!r}")
    wanted = f"units of {units}"
    needs_axes(shape, len(units), wanted, name)
    edges = tuple(shape[axis] if edge is None else int(edge) for axis, edge in enumerate(units)) + shape[len(units) :]
    for axis, edge in enumerate(edges):
        if edge:
            needs_multiple(shape, axis, edge, wanted, name)
    return MaskUnits(shape, edges)


def _named(text: str) -> Any:
    if text in _NAMED:
        return _NAMED[text]
    if not text[:1].isdigit():
        raise ValueError(f"{_WANTED}; got {text!r}")
    return parse_pattern(text)


def _is_count(edge: Any) -> bool:
    return isinstance(edge, Integral) and not isinstance(edge, bool) and int(edge) >= 1
