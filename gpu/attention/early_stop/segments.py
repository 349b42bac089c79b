"""One segment of queries: its own keys at once, then its history block by block until every tile may stop."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sparsetheory.gpu.attention.backends.softmax_state import SoftmaxState
from sparsetheory.gpu.attention.certificates.key_blocks import KeyBlocks
from sparsetheory.gpu.attention.early_stop.certified import RemainingMass, remaining_mass
from sparsetheory.gpu.attention.early_stop.orders import VisitOrder

__all__ = ["Rules", "Segment", "Visited", "visit"]


@dataclass(frozen=True)
class Rules:
    """When a tile stops: at a gain below `gain_tol`, or at a certified bound of at most `max_dropped`."""

    gain_tol: float | None
    max_dropped: float | None


@dataclass(frozen=True)
class Visited:
    """What one segment returns, in the order of the sequence."""

    out: Tensor
    gain: Tensor
    dropped_bound: Tensor | None
    blocks_visited: Tensor
    blocks_left: Tensor


@dataclass(frozen=True)
class Segment:
    """Tensors of all heads, and which part of them is this segment."""

    q_all: Tensor
    k_all: Tensor
    v_all: Tensor
    order: VisitOrder
    number: int
    block: tuple[int, int]
    causal: bool
    scale: float

    @property
    def lead(self) -> torch.Size:
        """Batch and heads."""
        return self.q_all.shape[:-2]

    @cached_property
    def span(self) -> slice:
        """Places of the queries of the segment, and of its own keys where it is causal."""
        start = self.number * self.order.segment
        return slice(start, min(start + self.order.segment, self.q_all.shape[-2]))

    @cached_property
    def query_order(self) -> Tensor:
        """Places of the queries in their segment, in the order of the tiles, of shape (..., queries)."""
        natural = torch.arange(self.span.stop - self.span.start, device=self.q_all.device)
        queries = natural if self.order.queries is None else self.order.queries[self.number]
        return queries.expand(*self.lead, -1)

    @cached_property
    def tile_places(self) -> Tensor:
        """Places of the queries of each tile, of shape (..., tiles, rows); the last query fills a short tile up."""
        missing = -self.query_order.shape[-1] % self.block[0]
        last = self.query_order[..., -1:].expand(*self.lead, missing)
        return torch.cat([self.query_order, last], dim=-1).unflatten(-1, (-1, self.block[0]))

    @cached_property
    def q(self) -> Tensor:
        """Queries of each tile, of shape (..., tiles, rows, head_dim)."""
        own = self.q_all[..., self.span, :]
        return _rows(own, self.tile_places.flatten(-2)).unflatten(-2, self.tile_places.shape[-2:])

    @cached_property
    def history(self) -> Tensor:
        """Keys of the history in the order of visits, of shape (..., keys)."""
        return self.order.keys[self.number].expand(*self.lead, -1)

    @property
    def n_blocks(self) -> int:
        """Blocks of the history; the last one may be short."""
        return -(-self.history.shape[-1] // self.block[1])

    @property
    def own_blocks(self) -> int:
        """Blocks of the segment's own keys that its tiles see, for one head.

        They are counted for tiles in the order of the sequence, whatever the order of the queries, so that the share
        of visited blocks has the same denominator for every order.
        """
        length = self.span.stop - self.span.start
        ends = (min(start + self.block[0], length) for start in range(0, length, self.block[0]))
        return sum(-(-end // self.block[1]) for end in ends) if self.causal else 0

    def start(self) -> SoftmaxState:
        """Return the state after the segment's own keys, all that causality allows or none, for tiles of all heads."""
        state = SoftmaxState.empty(self.q)
        if not self.causal:
            return state.flat()
        k, v = (part[..., None, self.span, :] for part in (self.k_all, self.v_all))
        scores = self.q @ k.mT * self.scale
        later = torch.arange(scores.shape[-1], device=scores.device) > self.tile_places[..., None]
        return state.updated(scores.masked_fill(later, -torch.inf), v)[0].flat()

    def remaining(self) -> RemainingMass:
        """Return certified bounds of the mass of the blocks of the history that are not visited yet."""
        numbers = torch.arange(self.history.shape[-1], device=self.history.device) // self.block[1]
        labels = torch.empty_like(self.history).scatter(-1, self.history, numbers.expand_as(self.history))
        n_keys = self.history.shape[-1]
        blocks = KeyBlocks.from_keys(self.k_all[..., :n_keys, :], labels)
        own = self.k_all[..., self.span, :] if self.causal else None
        return remaining_mass(self.q.flatten(-3, -2), blocks, own_keys=own, scale=self.scale)


def visit(segment: Segment, rules: Rules) -> Visited:
    """Walk through the history of a segment; all tiles of all heads that have not stopped take a step together."""
    n_blocks, shape = segment.n_blocks, segment.q.shape[:-1]
    bounds = segment.remaining() if rules.max_dropped is not None and n_blocks else None
    state = segment.start()
    gain = torch.zeros(shape, dtype=segment.q.dtype, device=segment.q.device)
    visited = torch.zeros(shape[:-1], dtype=torch.int64, device=gain.device)
    active = torch.ones_like(visited, dtype=torch.bool)
    for step in range(n_blocks):
        if bounds is not None and rules.max_dropped is not None:
            active = active & (_dropped(bounds, step, state, shape).amax(-1) > rules.max_dropped)
        if not bool(active.any()):
            break
        _step(segment, state, gain, active, step)
        visited += active
        if rules.gain_tol is not None:
            active = active & (gain.amax(-1) >= rules.gain_tol)
    bound = None if rules.max_dropped is None else torch.zeros_like(gain)
    if bound is not None and bounds is not None:
        for count in visited.unique().tolist():
            bound = torch.where((visited == count)[..., None], _dropped(bounds, count, state, shape), bound)
    return Visited(
        out=_in_order(segment, state.out.view(*shape, -1)),
        gain=_in_order(segment, gain[..., None])[..., 0],
        dropped_bound=None if bound is None else _in_order(segment, bound[..., None])[..., 0],
        blocks_visited=visited,
        blocks_left=n_blocks - visited,
    )


def _dropped(bounds: RemainingMass, visited: int, state: SoftmaxState, shape: torch.Size) -> Tensor:
    return bounds.dropped(visited, state.lse.view(*shape[:-2], -1)).view(shape)


def _step(segment: Segment, state: SoftmaxState, gain: Tensor, active: Tensor, step: int) -> None:
    """Let the active tiles visit a block; their parts of `state` and `gain` are written in place."""
    tiles = active.flatten().nonzero()[:, 0]
    head = tiles // active.shape[-1]
    places = segment.history.reshape(-1, segment.history.shape[-1])[head]
    places = places[:, step * segment.block[1] : (step + 1) * segment.block[1]]
    k, v = (part.flatten(0, -3)[head[:, None], places] for part in (segment.k_all, segment.v_all))
    scores = segment.q.flatten(0, -3)[tiles] @ k.mT * segment.scale
    after, new = state[tiles].updated(scores, v)
    state.largest[tiles], state.mass[tiles], state.weighted[tiles] = after.largest, after.mass, after.weighted
    gain.view(-1, gain.shape[-1])[tiles] = new


def _in_order(segment: Segment, tiles: Tensor) -> Tensor:
    """Put rows of tiles, (..., tiles, rows, columns), into the order of the segment, (..., queries, columns)."""
    flat = tiles.flatten(-3, -2)
    return _rows(flat, torch.argsort(segment.query_order, dim=-1))


def _rows(matrix: Tensor, places: Tensor) -> Tensor:
    return matrix.gather(-2, places[..., None].expand(*places.shape, matrix.shape[-1]))
