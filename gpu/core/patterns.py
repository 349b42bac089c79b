"""Patterns: from a tensor of scores to the mask of what is kept.

A pattern says which sets of positions are allowed, and its mask is the allowed set of the largest total score. With
squares as scores that is the Euclidean projection onto the tensors of the pattern; where entries are chosen one by one,
magnitudes give the same set. All patterns share one rule of counting and one of ties, those of
:mod:`sparsetheory.gpu.core.selection`.

Linear weights have shape (out, in) and N:M groups run along the inputs, the last axis. Convolutions have shape
(out, in, height, width), where ``axis=1`` makes groups run along the inputs.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG, MISSING, SIZE, Integer, Real
from sparsetheory.gpu.core.selection import check_scores, keep_in_groups, keep_largest, kept_count

__all__ = ["NM", "BlockNM", "GlobalPattern", "Pattern", "PerRow", "PerTensor", "RowBlock", "parse_pattern"]

DENSITY = Real(0.0, 1.0)
AXIS = Integer(-64, 64)
T = TypeVar("T")


class Pattern(ABC):
    """What may be kept of one tensor."""

    def mask(self, score: Tensor, *, name: str = "score") -> Tensor:
        """Return which entries are kept: those of the largest scores that the pattern allows.

        Parameters
        ----------
        score : Tensor
            Real floating-point numbers; infinite ones are fine, but not both infinities in one block.
        name : str
            What error messages call the tensor, such as the name of a layer.

        Returns
        -------
        Tensor of bool
            Of the shape and on the device of `score`.

        Raises
        ------
        TypeError
            If `score` is not a tensor of real floating-point numbers.
        ValueError
            If `score` holds NaN, or its shape does not fit the pattern.
        """
        checked = check_scores(score, name)
        self.check_shape(checked.shape, name=name)
        return self._mask(checked)

    def project(self, weight: Tensor, *, name: str = "weight") -> Tensor:
        """Return the weights with all entries set to zero but those of the largest magnitudes.

        Blocks are chosen by the sums of their magnitudes.

        Parameters
        ----------
        weight : Tensor
            Real floating-point numbers.
        name : str
            What error messages call the tensor.

        Returns
        -------
        Tensor
            Of the shape, dtype and device of `weight`; gradients pass through what is kept.
        """
        return torch.where(self.mask(weight.abs(), name=name), weight, torch.zeros_like(weight))

    @abstractmethod
    def check_shape(self, shape: Sequence[int], *, name: str = "score") -> None:
        """Raise ValueError where a tensor of this shape cannot have the pattern; the message calls it `name`."""

    @abstractmethod
    def count(self, shape: Sequence[int]) -> int:
        """Return how many entries of a tensor of this shape are kept."""

    @abstractmethod
    def _mask(self, score: Tensor) -> Tensor:
        """Return the mask of a score that has been checked."""


def _needs_axes(shape: Sequence[int], least: int, pattern: Any, name: str) -> None:
    if len(shape) < least:
        raise ValueError(f"{name} must have at least {least} axes for {pattern}; got shape {tuple(shape)}")


def _needs_multiple(shape: Sequence[int], axis: int, size: int, pattern: Any, name: str) -> None:
    if shape[axis] % size:
        raise ValueError(
            f"{name} must have a multiple of {size} entries along axis {axis} for {pattern}; "
            f"got {shape[axis]} of shape {tuple(shape)}"
        )


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
        _needs_axes(shape, self.axis + 1 if self.axis >= 0 else -self.axis, self, name)
        _needs_multiple(shape, self.axis, self.m, self, name)

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
        _needs_axes(shape, 1, self, name)
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


@dataclass(frozen=True)
class RowBlock(Pattern):
    """Blocks of consecutive rows that share their zeros; the best positions of the whole tensor are kept.

    Rows are the first axis. The score of a position is the sum of the scores of its rows: the l1 norm of the block
    where scores are magnitudes, its energy where they are squares.

    Parameters
    ----------
    size : int
        Rows in a block; it must divide the number of rows, or `pad` must be set.
    density : float
        Share of the positions of blocks to keep, from 0 to 1.
    pad : bool
        Whether the last block may have fewer rows.

    Examples
    --------
    >>> import torch
    >>> RowBlock(2, 0.5).mask(torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
    tensor([[False,  True],
            [False,  True]])
    """

    size: int
    density: float
    pad: bool = False

    def __post_init__(self) -> None:
        COUNT.check("size", self.size)
        DENSITY.check("density", self.density)
        FLAG.check("pad", self.pad)

    def __str__(self) -> str:
        return f"{100 * self.density:g}% of blocks of {self.size} rows"

    def check_shape(self, shape: Sequence[int], *, name: str = "score") -> None:
        """Raise ValueError unless the blocks divide the rows."""
        _needs_axes(shape, 2, self, name)
        if not self.pad:
            _needs_multiple(shape, 0, self.size, self, name)

    def count(self, shape: Sequence[int]) -> int:
        """Return the entries kept; with a padded last block, those if no position of it were kept short."""
        blocks = -(-shape[0] // self.size)
        return kept_count(self.density, blocks * math.prod(shape[1:])) * self.size

    def _mask(self, score: Tensor) -> Tensor:
        blocks = _block_sums(score, self.size)
        kept = keep_largest(blocks.reshape(-1), kept_count(self.density, blocks.numel())).reshape(blocks.shape)
        return _spread(kept, self.size, score.shape)


@dataclass(frozen=True)
class BlockNM(Pattern):
    """N:M along the inputs, with blocks of consecutive rows that share their zeros.

    Parameters
    ----------
    size : int
        Rows in a block; it must divide the first axis.
    n, m : int
        Positions kept of every m consecutive ones along `axis`.
    axis : int
        Along which groups run, the last one by default.

    Examples
    --------
    >>> import torch
    >>> BlockNM(2, 1, 2).mask(torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
    tensor([[False,  True],
            [False,  True]])
    """

    size: int
    n: int
    m: int
    axis: int = -1

    def __post_init__(self) -> None:
        COUNT.check("size", self.size)
        NM(self.n, self.m, self.axis)

    def __str__(self) -> str:
        return f"{self.n}:{self.m} in blocks of {self.size} rows"

    def check_shape(self, shape: Sequence[int], *, name: str = "score") -> None:
        """Raise ValueError unless blocks divide the rows, and groups their axis."""
        _needs_axes(shape, 2, self, name)
        _needs_multiple(shape, 0, self.size, self, name)
        NM(self.n, self.m, self.axis).check_shape(shape, name=name)

    def count(self, shape: Sequence[int]) -> int:
        """Return n for every group."""
        return math.prod(shape) // self.m * self.n

    def _mask(self, score: Tensor) -> Tensor:
        blocks = _block_sums(score, self.size).movedim(self.axis, -1)
        return _spread(keep_in_groups(blocks, self.n, self.m).movedim(-1, self.axis), self.size, score.shape)


@dataclass(frozen=True)
class GlobalPattern:
    """The largest entries of several tensors together.

    Entries are ordered tensor after tensor, so that masks of growing density contain each other.

    Parameters
    ----------
    density : float
        Share of all entries to keep, from 0 to 1: all but ``round((1 - density) total)`` stay.

    Examples
    --------
    >>> import torch
    >>> GlobalPattern(0.5).mask([torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.5])])
    [tensor([False,  True]), tensor([ True, False])]
    """

    density: float

    def __post_init__(self) -> None:
        DENSITY.check("density", self.density)

    def __str__(self) -> str:
        return f"{100 * self.density:g}% of all"

    @overload
    def mask(self, score: Mapping[str, Tensor]) -> dict[str, Tensor]: ...
    @overload
    def mask(self, score: Sequence[Tensor]) -> list[Tensor]: ...
    def mask(self, score: Any) -> Any:
        """Return the masks of all tensors.

        Parameters
        ----------
        score : mapping of str to Tensor, or sequence of Tensor
            One score for each tensor; they may lie on several devices.

        Returns
        -------
        dict of str to Tensor, or list of Tensor
            Masks, under the same names or in the same order.
        """
        named = _named(score, "score")
        if not named:
            return score if isinstance(score, Mapping) else []
        flat = {name: check_scores(one, name).reshape(-1) for name, one in named.items()}
        home = next(iter(flat.values())).device
        together = torch.cat([one.to(home) for one in flat.values()])
        kept = keep_largest(together, kept_count(self.density, together.numel()))
        parts = kept.split([one.numel() for one in flat.values()])
        masks = {
            name: part.reshape(one.shape).to(one.device) for (name, one), part in zip(named.items(), parts, strict=True)
        }
        return masks if isinstance(score, Mapping) else list(masks.values())

    @overload
    def project(self, weight: Mapping[str, Tensor]) -> dict[str, Tensor]: ...
    @overload
    def project(self, weight: Sequence[Tensor]) -> list[Tensor]: ...
    def project(self, weight: Any) -> Any:
        """Return all tensors with zeros where they are not kept; names or order as in `weight`."""
        named = _named(weight, "weight")
        masks = self.mask({name: one.abs() for name, one in named.items()})
        kept = {name: torch.where(masks[name], one, torch.zeros_like(one)) for name, one in named.items()}
        return kept if isinstance(weight, Mapping) else list(kept.values())


def parse_pattern(text: str) -> Pattern:
    """Read a pattern as the command line takes it.

    Parameters
    ----------
    text : str
        ``"2:4"`` for N:M, ``"50%"`` for half of every row, ``"50%/tensor"`` for half of every tensor, ``"4x2:4"`` for
        N:M in blocks of four rows, ``"4x50%"`` for half of the positions of blocks of four rows.

    Returns
    -------
    Pattern

    Raises
    ------
    ValueError
        If the text is none of these, or its numbers are out of range.

    Examples
    --------
    >>> parse_pattern("2:4"), parse_pattern("50%"), parse_pattern("4x2:4")
    (NM(n=2, m=4, axis=-1), PerRow(n_nonzero=None, density=0.5), BlockNM(size=4, n=2, m=4, axis=-1))
    """
    found = re.fullmatch(r"(?:(\d+)x)?(?:(\d+):(\d+)|(\d+(?:\.\d+)?)%(/tensor)?)", text.strip())
    if not found or (found[1] and found[5]):
        raise ValueError(f"pattern must be like 2:4, 50%, 50%/tensor, 4x2:4 or 4x50%; got {text!r}")
    size, n, m, percent, whole = found.groups()
    if percent is None:
        return BlockNM(int(size), int(n), int(m)) if size else NM(int(n), int(m))
    density = float(percent) / 100
    if size:
        return RowBlock(int(size), density)
    return PerTensor(density) if whole else PerRow(density=density)


def _named(tensors: Any, argument: str) -> dict[str, Tensor]:
    if isinstance(tensors, Mapping):
        return dict(tensors)
    return {f"{argument}[{i}]": one for i, one in enumerate(tensors)}


def _one_of(n_nonzero: Any, density: Any) -> None:
    if (n_nonzero is None) == (density is None):
        raise ValueError(f"give either n_nonzero or density; got n_nonzero={n_nonzero!r}, density={density!r}")


def _checked_counts(n_nonzero: Any) -> int | tuple[int, ...]:
    """Return one count or a tuple of counts, of whatever holds integers: a sequence, an array, a tensor."""
    plain = n_nonzero.tolist() if hasattr(n_nonzero, "tolist") else n_nonzero
    if isinstance(plain, Iterable) and not isinstance(plain, str):
        return tuple(SIZE.check("n_nonzero", count) for count in plain)
    return int(SIZE.check("n_nonzero", plain))


def _block_sums(score: Tensor, size: int) -> Tensor:
    missing = -score.shape[0] % size
    if missing:
        score = torch.cat([score, score.new_zeros(missing, *score.shape[1:])])
    # In half precision sums would overflow, and sums that differ would tie.
    precise = torch.float32 if score.dtype.itemsize < 4 else score.dtype
    sums = score.reshape(score.shape[0] // size, size, *score.shape[1:]).sum(1, dtype=precise)
    if bool(torch.isnan(sums).any()):
        raise ValueError("score must not hold both infinities in one position of a block of rows")
    return sums


def _spread(kept: Tensor, size: int, shape: Sequence[int]) -> Tensor:
    return kept.repeat_interleave(size, 0)[: shape[0]]
