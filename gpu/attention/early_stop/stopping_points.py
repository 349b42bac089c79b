"""How early single queries may stop by the certified rule, with blocks in order of falling bounds."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from sparsetheory.constraints import FRACTION, Choice
from sparsetheory.gpu.attention.certificates.block_masses import Masses, log_mass_bounds, scale_of
from sparsetheory.gpu.attention.certificates.dropped_mass import attention_scores
from sparsetheory.gpu.attention.certificates.key_blocks import KeyBlocks
from sparsetheory.gpu.attention.certificates.mass_bounds import rounding_of_kept
from sparsetheory.gpu.attention.certificates.rounding import share
from sparsetheory.gpu.attention.early_stop.certified import suffix_log_sums

__all__ = ["CertifiedStop", "certified_stop"]

StopMasses = Literal["plain", "chord", "deviation", "variance", "exact"]
_MASSES = Choice(*get_args(StopMasses))


@dataclass(frozen=True, eq=False)
class CertifiedStop:
    """Where each query stops, and what it drops.

    Parameters
    ----------
    order : Tensor of int64 of shape (..., n, blocks)
        The order in which each query visits the blocks.
    n_visited : Tensor of int64 of shape (..., n)
        How many blocks it visits.
    kept : Tensor of bool of shape (..., n, m)
        The pairs that are kept.
    dropped_bound : Tensor of shape (..., n)
        The bound of the dropped mass by which the query stopped, at most `max_dropped`.
    density : float
        Kept pairs over visible pairs.
    """

    order: Tensor
    n_visited: Tensor
    kept: Tensor
    dropped_bound: Tensor
    density: float


def certified_stop(
    q: Tensor,
    k: Tensor,
    blocks: KeyBlocks,
    *,
    max_dropped: float,
    masses: StopMasses = "variance",
    order_by: Masses = "variance",
    visible: Tensor | None = None,
    scale: float | None = None,
) -> CertifiedStop:
    """Stop every query as soon as its dropped mass is certainly small enough.

    A query visits blocks in order of falling bounds of their masses, until the mass of the others is certified to be
    at most `max_dropped` of the whole. This evaluates the rule for all queries at once, from all scores: it tells what
    an attention that stops would visit, and is no faster attention itself.

    Parameters
    ----------
    q : Tensor of shape (..., n, d)
    k : Tensor of shape (..., m, d)
    blocks : KeyBlocks
        Of these keys.
    max_dropped : float
        Largest dropped mass, in (0, 1).
    masses : {"plain", "chord", "deviation", "variance", "exact"}
        What bounds the masses of blocks not visited: see :func:`log_mass_bounds`. "exact" takes their masses
        themselves, as an attention can that computes all scores and saves the products with values only.
    order_by : {"plain", "chord", "deviation", "variance"}
        The bound that orders the blocks.
    visible : Tensor of bool, broadcast to (..., n, m), optional
        What each query may see; at least one key. Everything by default.
    scale : float, optional
        Factor of the scores; ``1 / sqrt(d)`` by default.

    Returns
    -------
    CertifiedStop

    Examples
    --------
    >>> import torch
    >>> k = torch.cat([torch.eye(2), torch.eye(2)], dim=-2)
    >>> blocks = KeyBlocks.from_keys(k, torch.tensor([0, 1, 0, 1]))
    >>> stop = certified_stop(torch.tensor([[9.0, 0.0]]), k, blocks, max_dropped=0.1)
    >>> stop.n_visited, stop.density
    (tensor([1]), 0.5)
    """
    FRACTION.check("max_dropped", max_dropped)
    _MASSES.check("masses", masses)
    scale = scale_of(q, scale)
    scores = attention_scores(q.to(blocks.mean.dtype), k.to(blocks.mean.dtype), scale=scale)
    seen = torch.ones_like(scores, dtype=torch.bool) if visible is None else visible.expand(scores.shape)
    true, has_key = _block_masses(scores, seen, blocks)

    def bounds_by(kind: Masses) -> Tensor:
        return log_mass_bounds(q, blocks, masses=kind, scale=scale).masked_fill(~has_key, -torch.inf)

    error = rounding_of_kept(q, blocks, true.dtype, None, scale)[..., None]
    order = torch.argsort(bounds_by(order_by), dim=-1, descending=True, stable=True)
    # What is known exactly is known better than any bound, whatever rounding says.
    bound = torch.minimum(bounds_by(order_by), true + error) if masses == "exact" else bounds_by(masses)
    log_kept = torch.logcumsumexp(true.gather(-1, order).double(), dim=-1).to(true.dtype) - error
    dropped = share(suffix_log_sums(bound.gather(-1, order))[..., 1:], log_kept)
    last = torch.argmax((dropped <= max_dropped).long(), dim=-1, keepdim=True)
    kept = _visited_pairs(order, last, blocks, k.shape[-2]) & seen
    reachable = _visited_pairs(order, torch.full_like(last, order.shape[-1]), blocks, k.shape[-2]) & seen
    return CertifiedStop(
        order=order,
        n_visited=last[..., 0] + 1,
        kept=kept,
        dropped_bound=dropped.gather(-1, last)[..., 0],
        density=float(kept.sum() / reachable.sum()),
    )


def _block_masses(scores: Tensor, seen: Tensor, blocks: KeyBlocks) -> tuple[Tensor, Tensor]:
    """Return the logarithms of the masses of the visible keys of each block, and whether there are any."""
    flat = blocks.members.flatten(-2).clamp_min(0)
    index = flat[..., None, :].expand(*scores.shape[:-1], flat.shape[-1])
    inside = (blocks.members >= 0)[..., None, :, :] & seen.gather(-1, index).unflatten(-1, blocks.members.shape[-2:])
    values = scores.gather(-1, index).unflatten(-1, blocks.members.shape[-2:])
    return torch.logsumexp(values.masked_fill(~inside, -torch.inf), dim=-1), inside.any(-1)


def _visited_pairs(order: Tensor, last: Tensor, blocks: KeyBlocks, n_keys: int) -> Tensor:
    """Return the keys of the blocks that each query visits, up to the place `last` of its order."""
    steps = torch.arange(order.shape[-1], device=order.device).expand(order.shape)
    visited = torch.zeros_like(order, dtype=torch.bool).scatter(-1, order, steps <= last)
    # Fillers write to a place behind the last key.
    places = torch.where(blocks.members >= 0, blocks.members, n_keys).flatten(-2)[..., None, :]
    pairs = visited[..., None].expand(*visited.shape, blocks.members.shape[-1]).flatten(-2)
    empty = torch.zeros(*order.shape[:-1], n_keys + 1, dtype=torch.bool, device=order.device)
    return empty.scatter(-1, places.expand(pairs.shape), pairs)[..., :-1]
