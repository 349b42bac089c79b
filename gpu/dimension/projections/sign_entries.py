"""Random places of a sparse matrix, and the signs there."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["SignEntries", "draw_entries"]

# So many standard deviations more gaps than expected are drawn, almost always enough; if not, a second round follows.
_SPARE = 6


class SignEntries(NamedTuple):
    """Entries of a sparse matrix, in the order of their rows: where they are, and whether they are negative."""

    rows: Tensor
    columns: Tensor
    negative: Tensor


def draw_entries(sizes: Sequence[int], n_columns: int, generator: torch.Generator) -> SignEntries:
    """Draw signs at random places, so that no column is empty.

    Takes time and memory for what is drawn, and not for the matrix. Where some columns stay empty, which only small
    matrices know, their entries are drawn anew one column at a time.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each block. In a block of n rows, each place is taken by itself with probability ``n ** -0.5``.
    n_columns : int
        Columns of the matrix.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    SignEntries
    """
    parts, first = [], 0
    for size in sizes:
        places = _taken(size * n_columns, size**-0.5, generator)
        parts.append((places // n_columns + first, places % n_columns))
        first += size
    rows, columns = (torch.cat(part) for part in zip(*parts, strict=True))
    missing = (torch.bincount(columns, minlength=n_columns) == 0).nonzero().flatten().tolist()
    if missing:
        rates = torch.cat([torch.full((size,), size**-0.5, dtype=torch.float64) for size in sizes])
        drawn = [_drawn_column(rates, generator) for _ in missing]
        rows = torch.cat((rows, *drawn))
        columns = torch.cat((columns, *(torch.full_like(new, at) for at, new in zip(missing, drawn, strict=True))))
        order = rows.argsort(stable=True)
        rows, columns = rows[order], columns[order]
    return SignEntries(rows, columns, torch.randint(2, rows.shape, generator=generator))


def _taken(n: int, rate: float, generator: torch.Generator) -> Tensor:
    """Return which of n places are taken: the gaps between those that are have a geometric distribution."""
    if rate == 1:
        return torch.arange(n)
    parts, last = [], -1
    while last < n - 1:
        expected = (n - 1 - last) * rate
        count = max(1, int(expected + _SPARE * expected**0.5) + 8)
        gaps = torch.empty(count, dtype=torch.float64).geometric_(rate, generator=generator)
        parts.append(gaps.to(torch.int64).cumsum(0) + last)
        last = int(parts[-1][-1])
    places = torch.cat(parts)
    return places[places < n]


def _drawn_column(rates: Tensor, generator: torch.Generator) -> Tensor:
    rows = torch.empty(0, dtype=torch.int64)
    while not len(rows):
        rows = (torch.rand(len(rates), generator=generator, dtype=torch.float64) < rates).nonzero().flatten()
    return rows
