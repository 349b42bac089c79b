"""Masks of a controller, each with all tensors that it is for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsetheory.gpu.core.hooks.steps import parameters_of, require_masks
from sparsetheory.gpu.core.patterns.units import MaskUnits, mask_units

__all__ = ["MaskGroup", "joined", "make_groups", "set_masks", "set_units"]

# Up to here it takes less time to write back what stays than to write zeros where nothing stays.
_FEW = 0.4


@dataclass(eq=False)
class MaskGroup:
    """One mask, all tensors under it, what may not change in it, and what moves together; by default single entries."""

    name: str
    parameters: tuple[Tensor, ...]
    mask: Tensor
    fired: Tensor
    frozen: Tensor | None = None
    forbid: Tensor | None = None
    units: MaskUnits | None = None
    _known: tuple[Tensor, Tensor, bool] | None = field(default=None, init=False, repr=False)

    @property
    def active(self) -> Tensor:
        """Which units are active, as a grid; the mask itself without units."""
        return self.mask if self.units is None else self.units.all(self.mask)

    @property
    def held(self) -> Tensor | None:
        """Which units hold frozen entries."""
        return self.frozen if self.units is None or self.frozen is None else self.units.any(self.frozen)

    @property
    def barred(self) -> Tensor | None:
        """Which units hold entries that may not grow."""
        return self.forbid if self.units is None or self.forbid is None else self.units.any(self.forbid)

    @property
    def n_movable(self) -> int:
        """Active units that are not frozen."""
        held = self.held
        return int((self.active if held is None else self.active & ~held).sum())

    def totals(self, score: Tensor) -> Tensor:
        """Return one score for each unit."""
        return score if self.units is None else self.units.totals(score)

    def spread(self, flat: Tensor) -> Tensor:
        """Return the entries of units, which are given as one axis."""
        if self.units is None:
            return flat.reshape(self.mask.shape)
        return self.units.spread(flat.reshape(self.units.grid_shape))

    def clear(self, tensors: Iterable[Tensor]) -> None:
        """Set tensors of the shape of the mask to zero off it, in place.

        On the CPU a random mask makes a choice at each entry slow: places are written to instead, and looked for only
        where the mask has changed. Not a product: infinity times zero is not a number.
        """
        places, stay = self._places() if _is_flat(self.mask) else (None, False)
        off = None
        for tensor in tensors:
            if places is not None and _is_flat(tensor):
                flat = tensor.view(-1)
                if stay:
                    values = flat.index_select(0, places)
                    flat.zero_().index_copy_(0, places, values)
                else:
                    flat.index_fill_(0, places, 0)
            else:
                off = ~self.mask if off is None else off
                tensor.masked_fill_(off, 0)

    def _places(self) -> tuple[Tensor, bool]:
        """Return where entries lie in the flat mask, and whether these are the ones on it, or those off it."""
        # Contents are compared: what torch counts as changes leaves out some, such as those by torch.distributed.
        if self._known is None or not np.array_equal(self._known[0].numpy(), self.mask.numpy()):
            stay = int(self.mask.sum()) <= _FEW * self.mask.numel()
            places = (self.mask if stay else ~self.mask).view(-1).nonzero().squeeze(1)
            self._known = self.mask.clone(), places, stay
        return self._known[1:]


def make_groups(optimizer: Optimizer, masks: Mapping[Any, Tensor]) -> list[MaskGroup]:
    """Return the groups that a mapping from tensors, or tuples of tensors, to masks describes.

    Names are those of the first tensors in the optimiser. Where it has none they are "mask 0", "mask 1" and so on: bare
    numbers could be taken for layers of an ``nn.Sequential``.

    Raises
    ------
    TypeError
        If a mask does not hold booleans.
    ValueError
        If there is no mask, or one does not fit parameters of the optimiser, each of which occurs once.
    """
    known, names = parameters_of(optimizer), _names(optimizer)
    seen: set[int] = set()
    groups = []
    for index, (key, mask) in enumerate(masks.items()):
        parameters = _tensors(key)
        require_masks("masks", dict.fromkeys(parameters, mask), known)
        if any(parameter.ndim == 0 for parameter in parameters) or seen & {id(parameter) for parameter in parameters}:
            raise ValueError(f"masks must be given for tensors with axes, once each; number {index} is not so")
        seen |= {id(parameter) for parameter in parameters}
        groups.append(MaskGroup(names.get(id(parameters[0]), f"mask {index}"), parameters, mask, mask.clone()))
    if not groups:
        raise ValueError("masks must hold at least one mask; got none")
    return groups


def set_masks(groups: Sequence[MaskGroup], name: str, given: Mapping[Any, Tensor]) -> None:
    """Set the frozen or the forbidden entries of groups from a mapping with keys like those of the masks."""
    chosen = {_tensors(key)[0]: mask for key, mask in given.items()}
    require_masks(name, chosen, [group.parameters[0] for group in groups])
    for group in groups:
        setattr(group, name, chosen.get(group.parameters[0]))


def set_units(groups: Sequence[MaskGroup], units: Any, *, counts_vary: bool) -> None:
    """Set what moves together, for all groups alike or by a mapping with keys like those of the masks.

    Where each group of m units keeps its number, a mask can neither give units away nor change its density.

    Raises
    ------
    TypeError
        If units are none that :func:`mask_units` takes.
    ValueError
        If they do not fill a mask, a mask splits a unit, a key is not that of a mask, or numbers of units vary and may
        not.
    """
    chosen = units
    if isinstance(units, Mapping):
        chosen = {_tensors(key)[0]: one for key, one in units.items()}
        unknown = len(set(chosen) - {group.parameters[0] for group in groups})
        if unknown:
            raise ValueError(f"units must be given by the keys of masks; {unknown} are not among them")
    for group in groups:
        one = chosen.get(group.parameters[0]) if isinstance(chosen, dict) else chosen
        if one is not None:
            group.units = mask_units(one, group.mask.shape, name=group.name)
            group.units.check_mask(group.mask, group.name)
            if counts_vary and group.units.m is not None:
                raise ValueError(
                    "budget must be 'tensor' and density None where units are exchanged within groups, "
                    f"as those of {group.name} are"
                )


def joined(tensors: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor | None:
    """Return tensors as one axis, on the device of the first one; all False where one is missing, None if all are."""
    if all(tensor is None for tensor in tensors):
        return None
    parts = [torch.zeros_like(mask) if one is None else one for one, mask in zip(tensors, like, strict=True)]
    return torch.cat([part.to(like[0].device).reshape(-1) for part in parts])


def _is_flat(tensor: Tensor) -> bool:
    """Return whether a tensor is a plain one on the CPU whose entries can be seen as one axis."""
    return type(tensor) in (Tensor, nn.Parameter) and tensor.device.type == "cpu" and tensor.is_contiguous()


def _tensors(key: Any) -> tuple[Tensor, ...]:
    return key if isinstance(key, tuple) else (key,)


def _names(optimizer: Optimizer) -> dict[int, str]:
    return {
        id(parameter): name
        for group in optimizer.param_groups
        for name, parameter in zip(group.get("param_names", ()), group["params"], strict=False)
    }
