"""Greedy sparse rows under one budget: where entries of a table pay most, with the other table fixed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, Choice
from sparsetheory.gpu.core.selection import keep_largest
from sparsetheory.gpu.solvers.arguments import finite_tensor, in_memory_chunks, together, working_dtype
from sparsetheory.gpu.solvers.restricted import restricted_least_squares

__all__ = ["GreedyRows", "greedy_rows"]

# Gains below the square of this many roundings of what a row has gained already are rounding.
_ROUNDINGS = 10


@dataclass(frozen=True, eq=False)
class GreedyRows:
    """Rows that share a budget of entries.

    Parameters
    ----------
    coefficients : Tensor of shape (n_rows, n_columns)
        Least-squares coefficients of each row on its entries.
    row_nonzeros : Tensor of int64 of shape (n_rows,)
        How many entries each row got.
    order : Tensor of int64 of shape (n_rows, n_steps)
        Columns of each row in the order in which it would take them, -1 where nothing is left to gain.
    gains : Tensor of shape (n_rows, n_steps)
        By how much each of them lowers the squared error of the row; they need not fall from one to the next.
    """

    coefficients: Tensor
    row_nonzeros: Tensor
    order: Tensor
    gains: Tensor

    @property
    def mask(self) -> Tensor:
        """The entries of the rows, of bool and of the shape of the coefficients."""
        chosen = torch.arange(self.order.shape[1], device=self.order.device) < self.row_nonzeros.unsqueeze(1)
        places = torch.where(chosen, self.order, self.coefficients.shape[1])
        wide = torch.zeros(len(self.order), self.coefficients.shape[1] + 1, dtype=torch.bool, device=self.order.device)
        return wide.scatter_(1, places, True)[:, :-1]


def greedy_rows(gram: Tensor, correlations: Tensor, n_nonzero: int, *, rule: str = "gain") -> GreedyRows:
    """Give a budget of entries to the rows of a table, one after the other where it lowers the squared error most.

    With the other table U fixed, ``|R - U V'|^2`` falls apart into one least-squares problem for each row of V, all
    with the Gram matrix ``U'U``. The greedy algorithm for the whole table compares all pairs of a row and a column at
    each step. But an entry changes nothing in other rows, so each row has one sequence of columns of its own, and the
    greedy algorithm merges these sequences: of the next gains of all rows it takes the largest.

    Gains of a row may rise from one column to the next, when two columns explain together what neither does alone. A
    priority queue of the next gains then takes the second right after the first. So the merge needs no queue: it takes
    the largest of the running minima of the gains.

    Parameters
    ----------
    gram : Tensor of shape (n_columns, n_columns)
        ``U'U``.
    correlations : Tensor of shape (n_rows, n_columns)
        ``R'U``: one row for each row of the table.
    n_nonzero : int
        Entries of the whole table; at most `n_rows` times `n_columns`. Fewer are used where no other one gains.
    rule : {"gain", "correlation"}
        Which column a row takes next: the one with the largest gain, or the one most correlated with what is not
        explained, as orthogonal matching pursuit does. The first is the greedy algorithm over all pairs.

    Returns
    -------
    GreedyRows
        Floating-point numbers in the dtype of `correlations`.

    Raises
    ------
    TypeError
        If an array is not a tensor of floating-point numbers.
    ValueError
        If shapes or devices do not fit, values are not finite, or the budget is out of range.

    See Also
    --------
    sparsetheory.gpu.solvers.omp_gram : The same number of columns for every row.

    Notes
    -----
    O(n_rows * n_columns * k**2) operations for rows of up to k entries. Sequences are as long as the budget may need:
    all columns, unless the budget is smaller. Equal gains go to the row, then to the column of the lowest number.

    Examples
    --------
    The second row is worth more than the first, until its third column gains little.

    >>> import torch
    >>> rows = greedy_rows(torch.eye(3), torch.tensor([[1.0, 2.0, 0.0], [5.0, 0.5, 3.0]]), 3)
    >>> rows.coefficients
    tensor([[0., 2., 0.],
            [5., 0., 3.]])
    >>> rows.row_nonzeros
    tensor([1, 2])
    """
    Choice("gain", "correlation").check("rule", rule)
    G, rows = finite_tensor("gram", gram, least_axes=2), finite_tensor("correlations", correlations, least_axes=2)
    together(gram=G, correlations=rows)
    n = G.shape[-1]
    if G.shape != (n, n) or n == 0:
        raise ValueError(f"gram must be a square matrix; got shape {tuple(G.shape)}")
    if rows.ndim != 2 or rows.shape[1] != n:
        raise ValueError(f"correlations must be a matrix with {n} columns, as gram has; got shape {tuple(rows.shape)}")
    if COUNT.check("n_nonzero", n_nonzero) > rows.numel():
        raise ValueError(f"n_nonzero must be at most {rows.numel()}, the entries of the table; got {n_nonzero!r}")
    dtype = working_dtype(G, rows)
    G, targets = G.to(dtype), rows.to(dtype)
    scales = torch.where(G.diagonal() > 0, G.diagonal(), torch.inf).rsqrt()
    unit, scaled = G * scales * scales.unsqueeze(1), targets * scales
    steps = min(n, n_nonzero)
    parts = in_memory_chunks(len(rows), steps * n * scaled.element_size(), scaled.device)
    found = [_sequences(unit, scaled[part], steps, rule) for part in parts]
    order, gains = (torch.cat(pieces) for pieces in zip(*found, strict=True))
    counts = _merged(order, gains, n_nonzero)
    result = GreedyRows(torch.zeros_like(targets), counts, order, gains.to(rows.dtype))
    coefficients = restricted_least_squares(unit, scaled, result.mask) * scales
    return GreedyRows(coefficients.to(rows.dtype), counts, order, result.gains)


def _merged(order: Tensor, gains: Tensor, n_nonzero: int) -> Tensor:
    """Return how many entries each row gets."""
    worth = torch.where(order >= 0, gains.cummin(1).values, -1.0)
    kept = keep_largest(worth.reshape(-1), n_nonzero).reshape(worth.shape)
    return (kept & (order >= 0)).sum(1)


def _sequences(unit: Tensor, rows: Tensor, steps: int, rule: str) -> tuple[Tensor, Tensor]:
    """Return columns and gains of forward selection in each row, for unit columns.

    The columns of a row are orthonormalised one by one. Kept are the inner products of each direction with all columns,
    what of the square of each column is outside the span, and the correlations with what is not explained.
    """
    epsilon = torch.finfo(rows.dtype).eps
    dependent, exhausted = epsilon**0.5, (_ROUNDINGS * epsilon) ** 2
    left, rest = unit.diagonal().expand_as(rows).clone(), rows.clone()
    directions = rows.new_empty(len(rows), steps, rows.shape[1])
    order = torch.full((len(rows), steps), -1, dtype=torch.int64, device=rows.device)
    gains = rows.new_zeros(len(rows), steps)
    explained = rows.new_zeros(len(rows))
    alive = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    for step in range(steps):
        free = left > dependent
        squares = rest.square()
        score = torch.where(free, squares / left if rule == "gain" else squares, -1.0)
        index = score.argmax(1, keepdim=True)
        room, value = left.gather(1, index), rest.gather(1, index)
        gain = (value.square() / room).squeeze(1)
        alive = alive & free.gather(1, index).squeeze(1) & (gain > exhausted * explained)
        if not bool(alive.any()):
            break
        order[alive, step], gains[alive, step] = index[alive, 0], gain[alive]
        explained += gains[:, step]
        earlier = directions[:, :step]
        weights = earlier.gather(2, index.unsqueeze(2).expand(-1, step, 1))
        direction = (unit[index.squeeze(1)] - (earlier * weights).sum(1)) * room.rsqrt()
        # A row that is done stays as it is.
        direction = torch.where(alive.unsqueeze(1), direction, 0.0)
        directions[:, step] = direction
        rest -= torch.where(alive.unsqueeze(1), value * room.rsqrt(), 0.0) * direction
        left -= direction.square()
        left.scatter_(1, index, 0.0)
    return order, gains
