"""How the weight of a layer lies on a grid of binary states, each of which may stand for several weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparsetheory.constraints import COUNT, MISSING, SIZE, Several

__all__ = ["STRUCTURES", "WeightGrid", "grid_of"]

# What a prior of a network may be called: the law of the states on the grid.
STRUCTURES = {
    "iid": "iid",
    "chain_rows": "chain_rows",
    "chain_columns": "chain_rows",
    "grid_belief_propagation": "grid_belief_propagation",
    "grid_mean_field": "grid_mean_field",
    "group_outputs": "iid",
    "group_inputs": "iid",
    "group_kernels": "iid",
}


@dataclass(frozen=True)
class WeightGrid:
    """Which axes of a weight are the rows of its grid of states, which the columns, and which share one state.

    Each axis has one of the three parts. Axes of one part are joined in the order given, the last one running fastest.

    Parameters
    ----------
    rows, columns : tuple of int
        Axes along the rows and along the columns of the grid. A chain runs along a row, and starts anew in the next.
    group : tuple of int
        Axes of weights that share one state and one precision.
    view : tuple of int, optional
        Shape in which the weight is seen before its axes are counted, such as (100, 8, 8) for 100 units that read
        pictures of 8 x 8 pixels.

    Examples
    --------
    Chains along the rows of pixels of pictures, which never run from the end of one row into the next:

    >>> import torch
    >>> grid = WeightGrid(rows=(0, 1), columns=(2,), view=(100, 8, 8))
    >>> grid.pack(torch.zeros(100, 64)).shape
    torch.Size([800, 8, 1])
    """

    rows: Sequence[int] = (0,)
    columns: Sequence[int] = (1,)
    group: Sequence[int] = ()
    view: Sequence[int] | None = None

    def __post_init__(self) -> None:
        axes = Several(SIZE, "axes")
        for name in ("rows", "columns", "group"):
            given = getattr(self, name)
            if not (isinstance(given, Sequence) and len(given) == 0):
                axes.check(name, given)
            object.__setattr__(self, name, tuple(given))
        (MISSING | Several(COUNT, "lengths")).check("view", self.view)
        if self.view is not None:
            object.__setattr__(self, "view", tuple(self.view))
        if sorted(self._order) != list(range(len(self._order))) or not self._order:
            raise ValueError(
                f"rows, columns and group must name every axis once; got {self.rows}, {self.columns} and {self.group}"
            )
        if self.view is not None and len(self.view) != len(self._order):
            raise ValueError(f"view must have {len(self._order)} axes, as rows, columns and group; got {self.view}")

    @property
    def _order(self) -> tuple[int, ...]:
        return (*self.rows, *self.columns, *self.group)

    def shape(self, weight_shape: Sequence[int]) -> tuple[int, int, int]:
        """Return rows, columns and weights per state for a weight of a shape.

        Raises
        ------
        ValueError
            If the weight has other axes, or cannot be seen in the shape `view`.
        """
        seen = self._seen(weight_shape)
        rows, columns, group = (
            math.prod(seen[axis] for axis in part) for part in (self.rows, self.columns, self.group)
        )
        return rows, columns, group

    def pack(self, weight: Any) -> Any:
        """Return a tensor of the shape of the weight as one of shape (rows, columns, weights per state)."""
        return weight.reshape(self._seen(weight.shape)).permute(self._order).reshape(self.shape(weight.shape))

    def unpack(self, packed: Any, weight_shape: Sequence[int]) -> Any:
        """Return the tensor that :meth:`pack` made of one of the shape of the weight."""
        seen = self._seen(weight_shape)
        back = sorted(range(len(seen)), key=self._order.__getitem__)
        return packed.reshape([seen[axis] for axis in self._order]).permute(back).reshape(tuple(weight_shape))

    def _seen(self, weight_shape: Sequence[int]) -> tuple[int, ...]:
        seen = tuple(weight_shape) if self.view is None else tuple(self.view)
        if len(seen) != len(self._order) or math.prod(seen) != math.prod(weight_shape):
            raise ValueError(
                f"grid must fit a weight of shape {tuple(weight_shape)}; "
                f"got {len(self._order)} axes and view={self.view}"
            )
        return seen


def grid_of(structure: str, n_axes: int) -> WeightGrid:
    """Return the grid that a structure has on the weight of a linear layer (2 axes) or a convolution (4 axes).

    Rows of a linear weight are outputs, and a chain runs along the inputs of each. A convolution keeps the entries of a
    kernel together: rows are (input channel, height) and columns (output channel, width).
    """
    places = tuple(range(2, n_axes))
    rows: tuple[int, ...]
    if structure == "group_outputs":
        return WeightGrid((), (0,), (1, *places))
    if structure == "group_inputs":
        return WeightGrid((), (1,), (0, *places))
    if structure == "group_kernels":
        return WeightGrid((0,), (1,), places)
    rows, columns = ((0,), (1,)) if not places else ((1, 2), (0, *places[1:]))
    return WeightGrid(columns, rows) if structure == "chain_columns" else WeightGrid(rows, columns)
