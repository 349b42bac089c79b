"""How a cluster grows: predicted errors of a seed plus candidates, by each of the estimators."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.extension import extend_basis
from sparsetheory.lowrank.interval import ErrorInterval, relative_slack, resolution
from sparsetheory.lowrank.operands import Matrix, squared_norm
from sparsetheory.lowrank.spectra import compact, exact_spectrum, squared_spectrum, tail
from sparsetheory.lowrank.summary import SVDSummary
from sparsetheory.typing import Float64Array, Int64Array

__all__ = [
    "ExactGrowth",
    "Grown",
    "Growth",
    "IncrementalGrowth",
    "ResidualGrowth",
    "UnionGrowth",
    "block_spectra",
    "projection_errors",
    "within_tolerance",
]

# Narrow blocks are tried together up to this many columns, where matrix products start to pay.
_PANEL_COLUMNS = 64

State = TypeVar("State")


@dataclass(frozen=True, eq=False)
class Grown:
    """Candidates that joined a seed, and what is known of the whole.

    Parameters
    ----------
    accepted : list of int
        In the order of joining.
    interval : ErrorInterval
        Bounds on the squared error of seed and accepted together.
    basis : ndarray of shape (m, rank), optional
        Where acceptance was decided in a basis, that basis.
    """

    accepted: list[int]
    interval: ErrorInterval
    basis: Matrix | None = None


class Growth(Protocol):
    """One way to decide which candidates join a seed."""

    n_exact_evaluations: int

    def grow(self, seed: Sequence[int], candidates: Sequence[int]) -> Grown:
        """Add candidates in the given order."""
        ...


def grow_by_panels(
    state: State,
    candidates: Sequence[int],
    widths: Int64Array,
    extend: Callable[[State, Sequence[int]], State],
    accepts: Callable[[State], bool],
    skip: bool,
) -> tuple[State, list[int]]:
    """Add candidates in order, several at a time, and halve a panel that is refused.

    A panel that passes is a valid certificate for the final set even where a part of it alone would fail, because
    relative errors are not monotone.

    Parameters
    ----------
    state : State
        Immutable description of the seed.
    candidates : sequence of int
        In order of preference.
    widths : ndarray of int
        Columns of every block.
    extend, accepts : callable
        State of more members; whether a state is within tolerance.
    skip : bool
        Go on behind a candidate that fails.
    """
    accepted: list[int] = []
    position, size = 0, 1
    while position < len(candidates):
        panel = candidates[position : position + size]
        trial = extend(state, panel)
        if accepts(trial):
            state, position = trial, position + len(panel)
            accepted.extend(panel)
            if widths[panel].sum() * 2 <= _PANEL_COLUMNS:
                size *= 2
        elif len(panel) > 1:
            size = len(panel) // 2
        elif skip:
            position += 1
        else:
            break
    return state, accepted


@dataclass
class IncrementalGrowth:
    """Truncated SVD updated block by block: the recommended estimator (C)."""

    blocks: Blocks
    rank: int
    eps: float
    oversampling: int
    skip: bool
    per_block: bool = False
    n_exact_evaluations: int = 0

    def grow(self, seed: Sequence[int], candidates: Sequence[int]) -> Grown:
        """Grow by panels; with `per_block`, every member must be within tolerance of the stored basis."""
        empty = SVDSummary.empty(self.blocks.n_rows, self.rank + self.oversampling, target_rank=self.rank)
        start = (self._extend_summary(empty, seed), list(seed))
        (summary, _), accepted = grow_by_panels(
            start, candidates, self.blocks.widths, self._extend, self._accepts, self.skip
        )
        interval = replace(summary.interval(), unit=self.blocks.unit)
        return Grown(accepted, interval, summary.basis[:, : self.rank] if self.per_block else None)

    def _extend_summary(self, summary: SVDSummary, members: Sequence[int]) -> SVDSummary:
        return copy(summary).absorb(self.blocks.concatenate(members))

    def _extend(self, state: tuple[SVDSummary, list[int]], panel: Sequence[int]) -> Any:
        summary, members = state
        return self._extend_summary(summary, panel), [*members, *panel]

    def _accepts(self, state: tuple[SVDSummary, list[int]]) -> bool:
        summary, members = state
        if not self.per_block:
            return summary.interval().decide(self.eps) is True
        return within_tolerance(self.blocks, members, summary.basis[:, : self.rank], self.eps)


def projection_errors(blocks: Blocks, members: Sequence[int], basis: Matrix) -> Float64Array:
    """Relative error of each block when projected on an orthonormal basis; 0 for a zero block."""
    errors = []
    for k in members:
        block, energy = blocks[k], blocks.energies[k]
        missed = squared_norm(block - basis @ (basis.conj().T @ block))
        errors.append(np.sqrt(missed / energy) if energy else 0.0)
    return np.array(errors)


def within_tolerance(blocks: Blocks, members: Sequence[int], basis: Matrix, eps: float) -> bool:
    """Say whether every block is within `eps` of a basis for certain."""
    doubt = [resolution(blocks.n_rows, blocks.widths[k]) / 2 for k in members]
    return bool(np.all(projection_errors(blocks, members, basis) + doubt <= eps))


@dataclass(frozen=True)
class _Span:
    """What the residual estimator remembers of a cluster."""

    basis: Matrix
    squares: Float64Array
    energy: float
    n_columns: int


@dataclass
class ResidualGrowth:
    """Sum of what every block adds to the span of those before it (B)."""

    blocks: Blocks
    rank: int
    eps: float
    skip: bool
    n_exact_evaluations: int = 0

    def grow(self, seed: Sequence[int], candidates: Sequence[int]) -> Grown:
        """Grow one candidate at a time: a panel would count as one block, which is another estimator."""
        found = extend_basis(np.zeros((self.blocks.n_rows, 0)), compact(self.blocks.concatenate(seed)))
        energy, n_columns = float(self.blocks.energies[list(seed)].sum()), int(self.blocks.widths[list(seed)].sum())
        state = _Span(found.directions, found.values[: self.rank] ** 2, energy, n_columns)
        accepted = []
        for k in candidates:
            trial = self._extend(state, k)
            if self._interval(trial).decide(self.eps) is True:
                state = trial
                accepted.append(k)
            elif not self.skip:
                break
        return Grown(accepted, self._interval(state))

    def _extend(self, state: _Span, k: int) -> _Span:
        found = extend_basis(state.basis, compact(self.blocks[k]))
        squares = np.sort(np.concatenate([state.squares, found.values**2]))[::-1][: self.rank]
        energy = state.energy + float(self.blocks.energies[k])
        basis = np.hstack([state.basis, found.directions])
        return _Span(basis, squares, energy, state.n_columns + int(self.blocks.widths[k]))

    def _interval(self, state: _Span) -> ErrorInterval:
        shape = (self.blocks.n_rows, state.n_columns)
        hi = state.energy - float(state.squares.sum())
        return ErrorInterval.from_bounds(0.0, hi, state.energy, shape, "residual", self.blocks.unit)


def block_spectra(blocks: Blocks, rank: int) -> tuple[Float64Array, Float64Array]:
    """Return the `rank` largest squared singular values of every block, padded with zeros, and the squared rest."""
    leading, rest = np.zeros((len(blocks), rank)), np.zeros(len(blocks))
    for k in range(len(blocks)):
        # One column needs no factorisation.
        squares = blocks.energies[k : k + 1] if blocks.widths[k] == 1 else squared_spectrum(blocks, [k])
        leading[k, : min(rank, squares.size)] = squares[:rank]
        rest[k] = tail(squares, rank)
    return leading, rest


class UnionGrowth:
    """The r largest squares among the spectra of all blocks of a cluster (D): no matrix work at all."""

    n_exact_evaluations = 0

    def __init__(self, blocks: Blocks, rank: int, eps: float, skip: bool) -> None:
        self.blocks, self.rank, self.eps, self.skip = blocks, rank, eps, skip
        self.spectra, self.rest = block_spectra(blocks, rank)

    def grow(self, seed: Sequence[int], candidates: Sequence[int]) -> Grown:
        """Merge sorted lists, one candidate at a time, in compiled code."""
        from sparsetheory.numba_kernels.rank_allocation import union_walk

        squares = squared_spectrum(self.blocks, seed)
        kept = np.zeros(self.rank)
        kept[: min(self.rank, squares.size)] = squares[: self.rank]
        # The slack of all blocks is at least that of any part: what is accepted here stays accepted by the interval.
        slack = relative_slack(self.blocks.n_rows, self.blocks.n_columns)
        energies, order = self.blocks.energies, np.asarray(candidates, np.int64)
        seed_energy = float(energies[list(seed)].sum())
        mask = union_walk(self.spectra, energies, order, kept, seed_energy, self.eps**2, slack, self.skip)
        accepted = order[mask]
        members = np.concatenate([np.asarray(seed, np.int64), accepted])
        energy = float(energies[members].sum())
        lo = tail(squares, self.rank) + float(self.rest[accepted].sum())
        shape = (self.blocks.n_rows, int(self.blocks.widths[members].sum()))
        hi = energy - float(kept.sum())
        interval = ErrorInterval.from_bounds(lo, hi, energy, shape, "union", self.blocks.unit)
        return Grown(accepted.tolist(), interval)


@dataclass
class ExactGrowth:
    """The exact spectrum of every trial: the yardstick for the estimators."""

    blocks: Blocks
    rank: int
    eps: float
    skip: bool
    n_exact_evaluations: int = 0

    def grow(self, seed: Sequence[int], candidates: Sequence[int]) -> Grown:
        """Grow by panels of exactly evaluated unions."""
        start = (list(seed), self._interval(list(seed)))
        (_, interval), accepted = grow_by_panels(
            start, candidates, self.blocks.widths, self._extend, self._accepts, self.skip
        )
        return Grown(accepted, interval)

    def _extend(self, state: tuple[list[int], ErrorInterval], panel: Sequence[int]) -> Any:
        members = [*state[0], *panel]
        self.n_exact_evaluations += 1
        return members, self._interval(members)

    def _accepts(self, state: tuple[list[int], ErrorInterval]) -> bool:
        return state[1].decide(self.eps) is True

    def _interval(self, members: list[int]) -> ErrorInterval:
        return exact_spectrum(self.blocks, members, self.rank).interval(self.rank)
