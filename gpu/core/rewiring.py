"""Rewiring: the one place where the mask of a tensor changes, by exact counts.

A method of dynamic sparsity differs from another one by its two scores, one for what is dropped and one for what grows
instead, and by how many it moves. The move itself is the same for all of them. It is a pure function of masks and
scores: it knows neither weights nor optimisers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, MISSING, SIZE
from sparsetheory.gpu.core.selection import check_scores, keep_largest

__all__ = ["Rewired", "rewire"]


@dataclass(frozen=True, eq=False)
class Rewired:
    """A mask after a round of dropping and growing, and what the round changed.

    Parameters
    ----------
    mask : Tensor of bool
        The new mask.
    dropped : Tensor of bool
        What was active and is not any more.
    grown : Tensor of bool
        What is active and was not before.
    regrown : Tensor of bool
        What was dropped and chosen again in the same round: active before and after.
    n_drop, n_grow : int
        Numbers of entries that were dropped and that were chosen to grow, regrown ones among both. They are below what
        was asked for where there was no more to drop, or no place to grow.
    """

    mask: Tensor
    dropped: Tensor
    grown: Tensor
    regrown: Tensor
    n_drop: int
    n_grow: int


def rewire(
    mask: Tensor,
    drop_score: Tensor,
    grow_score: Tensor,
    n_drop: int,
    n_grow: int | None = None,
    *,
    frozen: Tensor | None = None,
    forbid: Tensor | None = None,
    allow_regrow: bool = True,
    within: int | None = None,
) -> Rewired:
    """Drop the active entries of the smallest scores, then grow the inactive ones of the largest scores.

    Counts are exact. Of entries with equal scores the first ones in row-major order are taken, both to drop and to
    grow, whatever the memory format of the tensors. Only entries that may be chosen are ever compared, so scores may
    be infinite. O(size) operations.

    Parameters
    ----------
    mask : Tensor of bool
        Active entries.
    drop_score : Tensor of the shape of `mask`
        Real or integer numbers; the smallest are dropped.
    grow_score : Tensor of the shape of `mask`
        Real or integer numbers; the largest grow.
    n_drop : int
        Entries to drop, at most as many as are active and not frozen.
    n_grow : int, optional
        Entries to grow, at most as many as have a place. By default as many as are dropped, so that the number of
        active entries stays exactly; then fewer are dropped where the places do not suffice.
    frozen : Tensor of bool, optional
        Entries that are not dropped. An inactive one may still grow.
    forbid : Tensor of bool, optional
        Entries that do not grow. An active one may still be dropped.
    allow_regrow : bool
        Whether an entry that has just been dropped competes for growing. If it wins, it counts as regrown, and neither
        as dropped nor as grown.
    within : int, optional
        Entries are exchanged within groups of so many consecutive ones in row-major order: each group grows as many as
        it drops, and `n_grow` must not be given. Of a group that has too few places fewer are dropped.

    Returns
    -------
    Rewired
        Masks on the device of `mask`.

    Raises
    ------
    TypeError
        If a mask does not hold booleans or a score does not hold real numbers.
    ValueError
        If shapes differ, a score holds NaN, a count is negative, or groups do not divide the entries.

    Examples
    --------
    The smallest weight is replaced by the entry of the largest gradient.

    >>> import torch
    >>> weight = torch.tensor([0.5, -0.1, 0.0, 0.0])
    >>> gradient = torch.tensor([0.0, 0.2, 1.0, -3.0])
    >>> rewire(weight != 0, weight.abs(), gradient.abs(), 1).mask
    tensor([ True, False, False,  True])
    """
    SIZE.check("n_drop", n_drop)
    (MISSING | SIZE).check("n_grow", n_grow)
    (MISSING | COUNT).check("within", within)
    active = _mask("mask", mask, mask)
    barred = _mask("forbid", torch.zeros_like(mask) if forbid is None else forbid, mask)
    movable = active if frozen is None else active & ~_mask("frozen", frozen, mask)
    drop_score, grow_score = _score("drop_score", drop_score, mask), _score("grow_score", grow_score, mask)

    leaving = _smallest(drop_score, movable, n_drop)
    free = ~active & ~barred
    if within is not None:
        _require_groups(within, mask.numel(), n_grow)
        leaving = _replaceable(leaving, drop_score, barred, free, within, allow_regrow)
    elif n_grow is None:
        possible = _possible(leaving, drop_score, barred, int(free.sum()), allow_regrow)
        if possible < leaving.numel():
            leaving = _smallest(drop_score, movable, possible)
    kept = active.clone()
    kept[leaving] = False
    if allow_regrow:
        free = ~kept & ~barred
    if within is None:
        coming = _largest(grow_score, free, leaving.numel() if n_grow is None else n_grow)
    else:
        coming = _largest_in_groups(grow_score, free, leaving, within)
    after = kept.clone()
    after[coming] = True
    return Rewired(
        mask=after.reshape(mask.shape),
        dropped=(active & ~after).reshape(mask.shape),
        grown=(after & ~active).reshape(mask.shape),
        regrown=(active & after & ~kept).reshape(mask.shape),
        n_drop=leaving.numel(),
        n_grow=coming.numel(),
    )


def _possible(leaving: Tensor, drop_score: Tensor, barred: Tensor, n_free: int, allow_regrow: bool) -> int:
    """Return how many of the entries to drop can be replaced.

    After k drops the free places are the `n_free` of before and those of the k dropped entries that are not barred.
    They suffice for k new entries as long as at most `n_free` of the k are barred. That number only grows with k.
    """
    if not allow_regrow:
        return min(leaving.numel(), n_free)
    in_order = leaving[torch.argsort(drop_score[leaving], stable=True)]
    return int((barred[in_order].cumsum(0) <= n_free).sum())


def _require_groups(within: int, size: int, n_grow: int | None) -> None:
    if size % within:
        raise ValueError(f"within must divide the {size} entries of mask; got {within}")
    if n_grow is not None:
        raise ValueError(f"n_grow must not be given with within, as groups grow what they drop; got {n_grow}")


def _replaceable(
    leaving: Tensor, drop_score: Tensor, barred: Tensor, free: Tensor, within: int, allow_regrow: bool
) -> Tensor:
    """Return those of the entries to drop that their groups can replace; see :func:`_possible`."""
    in_order = leaving[torch.argsort(drop_score[leaving], stable=True)]
    in_order = in_order[torch.argsort(in_order // within, stable=True)]
    group = in_order // within
    costly = barred[in_order].long() if allow_regrow else torch.ones_like(in_order)
    so_far = costly.cumsum(0)
    # What groups in front have used is taken off, so that each group counts from its own first entry.
    used = torch.zeros(barred.numel() // within, dtype=so_far.dtype, device=so_far.device).index_add_(0, group, costly)
    before = used.cumsum(0) - used
    return in_order[so_far - before[group] <= free.reshape(-1, within).sum(1)[group]].sort().values


def _largest_in_groups(score: Tensor, allowed: Tensor, leaving: Tensor, within: int) -> Tensor:
    """Return the indices of the largest allowed scores of each group, as many as it loses."""
    n_groups = allowed.numel() // within
    wanted = torch.bincount(leaving // within, minlength=n_groups)
    # Ranks, since scores may be infinite themselves: an entry that is not allowed comes after all others of its group.
    order = torch.argsort(score, descending=True, stable=True)
    order = order[torch.argsort((~allowed[order]).long(), stable=True)]
    order = order[torch.argsort(order // within, stable=True)].reshape(n_groups, within)
    return order[torch.arange(within, device=order.device) < wanted.unsqueeze(1)].sort().values


def _largest(score: Tensor, allowed: Tensor, count: int) -> Tensor:
    """Return the indices of the largest scores among the allowed ones, in rising order; of equal ones the first."""
    candidates = allowed.nonzero().squeeze(1)
    return candidates[keep_largest(score[candidates], min(count, candidates.numel()))]


def _smallest(score: Tensor, allowed: Tensor, count: int) -> Tensor:
    # The complement of an integer reverses the order of all integers; the negative of the least one overflows.
    return _largest(-score if score.is_floating_point() else ~score, allowed, count)


def _mask(name: str, mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask in row-major order, as one axis."""
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise TypeError(f"{name} must be a tensor of bool; got {getattr(mask, 'dtype', type(mask).__name__)}")
    return _flat(name, mask, like)


def _score(name: str, score: Tensor, like: Tensor) -> Tensor:
    whole = isinstance(score, Tensor) and not score.is_floating_point() and not score.is_complex()
    if not whole or score.dtype == torch.bool:
        score = check_scores(score, name)
    return _flat(name, score, like)


def _flat(name: str, tensor: Tensor, like: Tensor) -> Tensor:
    if tensor.shape != like.shape:
        raise ValueError(f"{name} must have the shape of mask, {tuple(like.shape)}; got {tuple(tensor.shape)}")
    return tensor.reshape(-1)
