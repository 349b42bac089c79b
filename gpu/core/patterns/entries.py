"""Patterns that choose entries one by one: N:M, per row, per tensor."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, MISSING, SIZE, Integer
from sparsetheory.gpu.core.patterns.base import DENSITY, Pattern, needs_axes, needs_multiple
from sparsetheory.gpu.core.selection import keep_in_groups, keep_largest, kept_count

__all__ = ["NM", "PerRow", "PerTensor"]

AXIS = Integer(-64, 64)


@dataclass(frozen=True)
class NM(Pattern):
    """At most n nonzeros in every m consecutive entries along one axis.

    Parameters
    ----------
    n : int
        Entries kept in each group, at most `m`.
    m : int
        Size of a group; it must divide the length of the axis.
    axis : int
        Along which groups run, the last one by default.

    Examples
    --------
    >>> import torch
    >>> NM(2, 4).project(torch.tensor([[1.0, -3.0, 2.0, 0.5]]))
    tensor([[ 0., -3.,  2.,  0.]])
    >>> NM(2, 4).mask(torch.ones(2, 6), name="fc.weight")
    Traceback (most recent call last):
    ValueError: fc.weight must have a multiple of 4 entries along axis -1 for 2:4; got 6 of shape (2, 6)
    """

    n: int
    m: int
    axis: int = -1

    def __post_init__(self) -> None:
        COUNT.check("m", self.m)
        Integer(1, self.m).check("n", self.n)
        AXIS.check("axis", self.axis)

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    def check_shape(self, shape: Sequence[int], *, name: str = "score") -> None:
        """Raise ValueError unless the groups divide the axis."""
        needs_axes(shape, self.axis + 1 if self.axis >= 0 else -self.axis, self, name)
        needs_multiple(shape, self.axis, self.m, self, name)

    def count(self, shape: Sequence[int]) -> int:
        """Return n for every group."""
        return math.prod(shape) // self.m * self.n

    def _mask(self, score: Tensor) -> Tensor:
        last = score.movedim(self.axis, -1)
        return keep_in_groups(last, self.n, self.m).movedim(-1, self.axis)


@dataclass(frozen=True)
class PerRow(Pattern):
    """The same number of nonzeros in every row, or a number for each row; rows run along the last axis.

    Give either `n_nonzero` or `density`.

    Parameters
    ----------
    n_nonzero : int or sequence of int, optional
        Entries kept in each row; a sequence holds one number for each row.
    density : float, optional
        Share of a row to keep, from 0 to 1: all but ``round((1 - density) columns)`` entries stay.

    Examples
    --------
    >>> import torch
    >>> PerRow(1).mask(torch.tensor([[1.0, 2.0], [3.0, 3.0]]))
    tensor([[False,  True],
            [ True, False]])
    """

    n_nonzero: int | tuple[int, ...] | None = None
    density: float | None = None

    def __post_init__(self) -> None:
        _one_of(self.n_nonzero, self.density)
        (MISSING | DENSITY).check("density", self.density)
        if self.n_nonzero is not None:
            object.__setattr__(self, "n_nonzero", _checked_counts(self.n_nonzero))

    def __str__(self) -> str:
        if self.density is not None:
            return f"{100 * self.density:g}% per row"
        return f"{self.n_nonzero} per row" if isinstance(self.n_nonzero, int) else "own count per row"

    def check_shape(self, shape: Sequence[int], *, name: str = "score") -> None:
        """Raise ValueError unless every row has as many entries as it must keep."""
        needs_axes(shape, 1, self, name)
        if isinstance(self.n_nonzero, tuple) and math.prod(shape[:-1]) != len(self.n_nonzero):
            rows = len(self.n_nonzero)
            raise ValueError(f"{name} must have {rows} rows, one per entry of n_nonzero; got shape {tuple(shape)}")
        most = max(self.counts(shape), default=0)
        if most > shape[-1]:
            raise ValueError(f"{name} must have at least {most} entries per row for {self}; got shape {tuple(shape)}")

    def counts(self, shape: Sequence[int]) -> list[int]:
        """Return how many entries of each row are kept."""
        if isinstance(self.n_nonzero, tuple):
            return list(self.n_nonzero)
        return math.prod(shape[:-1]) * [self._each(shape[-1])]

    def _each(self, columns: int) -> int:
        return kept_count(self.density, columns) if self.density is not None else int(self.n_nonzero or 0)  # type: ignore[arg-type]

    def count(self, shape: Sequence[int]) -> int:
        """Return the sum of the counts of all rows."""
        return sum(self.counts(shape))

    def _mask(self, score: Tensor) -> Tensor:
        if isinstance(self.n_nonzero, tuple):
            return keep_largest(score, torch.tensor(self.n_nonzero).reshape(score.shape[:-1]))
        return keep_largest(score, self._each(score.shape[-1]))


@dataclass(frozen=True)
class PerTensor(Pattern):
    """The largest entries of a whole tensor.

    Give either `density` or `n_nonzero`.

    Parameters
    ----------
    density : float, optional
        Share to keep, from 0 to 1: all but ``round((1 - density) size)`` entries stay.
    n_nonzero : int, optional
        Entries to keep.

    Examples
    --------
    >>> import torch
    >>> PerTensor(0.5).project(torch.tensor([[1.0, -4.0], [3.0, 2.0]]))
    tensor([[ 0., -4.],
            [ 3.,  0.]])
    """

    density: float | None = None
    n_nonzero: int | None = None

    def __post_init__(self) -> None:
        _one_of(self.n_nonzero, self.density)
        (MISSING | DENSITY).check("density", self.density)
        (MISSING | SIZE).check("n_nonzero", self.n_nonzero)

    def __str__(self) -> str:
        return f"{100 * self.density:g}% per tensor" if self.density is not None else f"{self.n_nonzero} per tensor"

    def check_shape(self, shape: Sequence[int], *, name: str = "score") -> None:
        """Raise ValueError unless the tensor has as many entries as must be kept."""
        if self.count(shape) > math.prod(shape):
            raise ValueError(f"{name} must have at least {self.n_nonzero} entries for {self}; got shape {tuple(shape)}")

    def count(self, shape: Sequence[int]) -> int:
        """Return the number of entries kept."""
        return kept_count(self.density, math.prod(shape)) if self.density is not None else int(self.n_nonzero or 0)

    def _mask(self, score: Tensor) -> Tensor:
        return keep_largest(score.reshape(-1), self.count(score.shape)).reshape(score.shape)


def _one_of(n_nonzero: Any, density: Any) -> None:
    if (n_nonzero is None) == (density is None):
        raise ValueError(f"give either n_nonzero or density; got n_nonzero={n_nonzero!r}, density={density!r}")


def _checked_counts(n_nonzero: Any) -> int | tuple[int, ...]:
    """Return one count or a tuple of counts, of whatever holds integers: a sequence, an array, a tensor."""
    plain = n_nonzero.tolist() if hasattr(n_nonzero, "tolist") else n_nonzero
    if isinstance(plain, Iterable) and not isinstance(plain, str):
        return tuple(SIZE.check("n_nonzero", count) for count in plain)
    return int(SIZE.check("n_nonzero", plain))
