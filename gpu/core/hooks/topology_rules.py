"""What happens to masks, weights and moments at one change of topology."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from sparsetheory.gpu.core.hooks.mask_groups import MaskGroup, joined
from sparsetheory.gpu.core.hooks.optimiser_state import start_state
from sparsetheory.gpu.core.hooks.snapshots import Score, Snapshot, Start
from sparsetheory.gpu.core.rewiring import Rewired, rewire
from sparsetheory.gpu.core.selection import keep_largest

__all__ = ["TopologyRules"]

Block = Sequence[tuple[MaskGroup, Snapshot]]


@dataclass(frozen=True)
class TopologyRules:
    """The rules of a method; each field is the argument of a controller of the same name."""

    drop: Score
    grow: Score
    fraction: Callable[[int], float]
    rounding: Callable[[float], int]
    density: Callable[[int], float | tuple[float, float]] | None
    state: str
    regrown: str
    start: Start | Sequence[Start] | None
    allow_regrow: bool
    budget: str
    min_active: int = 0

    def apply(self, optimizer: Optimizer, pairs: Block) -> tuple[int, int, int] | None:
        """Change masks by their snapshots, and start what is new.

        Returns
        -------
        tuple of int, or None
            Numbers of dropped, grown and regrown entries; None where no entry was to move.
        """
        moved = None
        for block in [pairs] if self.budget == "global" else [[pair] for pair in pairs]:
            n_drop, n_grow = self._counts([group for group, _ in block], block[0][1].step)
            if n_drop or n_grow:
                moved = moved or (0, 0, 0)
                found = self._choose(block, n_drop, n_grow)
                counts = (_n_entries(block, part) for part in (found.dropped, found.grown, found.regrown))
                moved = tuple(have + new for have, new in zip(moved, counts, strict=True))  # type: ignore[assignment]
                self._adopt(optimizer, block, found)
        return moved

    def _counts(self, groups: Sequence[MaskGroup], step: int) -> tuple[int, int | None]:
        n_drop = self.rounding(self.fraction(step) * sum(group.n_movable for group in groups))
        if self.density is None:
            return n_drop, None
        active = sum(int(group.active.sum()) for group in groups)
        size, wanted = sum(group.active.numel() for group in groups), self.density(step)
        least, target = (round(share * size) for share in (wanted if isinstance(wanted, tuple) else (wanted, wanted)))
        n_drop = max(n_drop, active - least)
        return n_drop, max(0, target - active + n_drop)

    def _choose(self, block: Block, n_drop: int, n_grow: int | None) -> Rewired:
        """Rewire the masks of a block as one axis."""
        groups = [group for group, _ in block]
        masks = [group.active for group in groups]
        together = joined(masks, masks)
        drop, grow = ([group.totals(score(snapshot)) for group, snapshot in block] for score in (self.drop, self.grow))
        scores = [joined(drop, masks), joined(grow, masks)]
        assert together is not None
        assert scores[0] is not None
        assert scores[1] is not None
        held = [self._held(*pair) for pair in zip(groups, drop, strict=True)]
        found = rewire(
            together,
            scores[0],
            scores[1],
            n_drop,
            n_grow,
            frozen=joined(held, masks),
            forbid=joined([group.barred for group in groups], masks),
            allow_regrow=self.allow_regrow,
            within=groups[0].units.m if groups[0].units is not None else None,
        )
        wanted = (n_drop, n_drop if n_grow is None else n_grow)
        if (found.n_drop, found.n_grow) != wanted:
            what = "entries" if groups[0].units is None else "units"
            warnings.warn(
                f"{', '.join(group.name for group in groups)} dropped {found.n_drop} {what} and grew "
                f"{found.n_grow} at step {block[0][1].step}; asked for were {wanted[0]} and {wanted[1]}",
                RuntimeWarning,
                stacklevel=2,
            )
        return found

    def _held(self, group: MaskGroup, drop: Tensor) -> Tensor | None:
        """Return the units that stay: those with frozen entries, and the last ones that a mask may not lose."""
        held = group.held
        if self.min_active == 0:
            return held
        # Only active units are compared, as scores may be infinite.
        places = group.active.flatten().nonzero().squeeze(1)
        best = keep_largest(drop.flatten()[places], min(self.min_active, len(places)))
        last = torch.zeros_like(group.active).flatten()
        last[places[best]] = True
        last = last.reshape(group.active.shape)
        return last if held is None else held | last

    def _adopt(self, optimizer: Optimizer, block: Block, found: Rewired) -> None:
        """Take over new masks and give their new entries weights and moments."""
        new = found.grown | found.regrown if self.regrown == "new" else found.grown
        for (group, snapshot), mask, fresh in zip(block, _parts(block, found.mask), _parts(block, new), strict=True):
            group.mask.copy_(group.spread(mask))
            group.fired |= group.mask
            here = group.spread(fresh).to(group.mask.device)
            survivors = group.mask & ~here
            for position, parameter in enumerate(group.parameters):
                start = self.start[position] if isinstance(self.start, Sequence) else self.start
                values = 0.0 if start is None else start(parameter, here, survivors, snapshot.generator)
                parameter[here] = torch.as_tensor(values, dtype=parameter.dtype, device=parameter.device)
                start_state(optimizer, parameter, here, survivors, self.state)


def _parts(block: Block, joint: Tensor) -> Sequence[Tensor]:
    """Return what one axis has for each mask of a block."""
    return joint.split([group.active.numel() for group, _ in block])


def _n_entries(block: Block, joint: Tensor) -> int:
    sizes = (1 if group.units is None else group.units.size for group, _ in block)
    return sum(size * int(part.sum()) for size, part in zip(sizes, _parts(block, joint), strict=True))
