"""A pattern of several tensors together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from sparsetheory.gpu.core.patterns.base import DENSITY
from sparsetheory.gpu.core.selection import check_scores, keep_largest, kept_count

__all__ = ["GlobalPattern"]


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


def _named(tensors: Any, argument: str) -> dict[str, Tensor]:
    if isinstance(tensors, Mapping):
        return dict(tensors)
    return {f"{argument}[{i}]": one for i, one in enumerate(tensors)}
