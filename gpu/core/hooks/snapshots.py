"""What the scores and starting values of a dynamic method see of a mask and its tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Score", "Snapshot", "Start", "TopologyEvent"]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A mask and the tensors under it at the moment of a change of topology, after the update of the step.

    Parameters
    ----------
    index : int
        Which mask of the controller it is.
    step : int
        Optimiser steps done.
    mask : Tensor of bool
        Active entries.
    fired : Tensor of bool
        Entries that have been active at any time.
    parameters : tuple of Tensor
        The tensors under the mask.
    gradients : tuple of Tensor or None
        Their gradients of this step, dense: before anything was masked.
    state : mapping
        What the optimiser keeps for the first tensor, as in ``optimizer.state``.
    generator : torch.Generator
        On the CPU, for random scores.
    """

    index: int
    step: int
    mask: Tensor
    fired: Tensor
    parameters: tuple[Tensor, ...]
    gradients: tuple[Tensor | None, ...]
    state: Mapping[str, Any]
    generator: torch.Generator

    @property
    def weight(self) -> Tensor:
        """The first tensor under the mask, detached."""
        return self.parameters[0].detach()

    @property
    def gradient(self) -> Tensor:
        """The dense gradient of the first tensor.

        Raises
        ------
        RuntimeError
            If it has none, as it took no part in the loss of this step.
        """
        found = self.gradients[0]
        if found is None:
            raise RuntimeError(f"a score needs the gradient under mask {self.index}; it is None at step {self.step}")
        return found


# From a snapshot to a score of the shape of the mask. A score with a method `observe(index, gradient)` is shown the
# dense gradient under each mask at every step, and one with `state_dict` and `load_state_dict` is stored.
Score = Callable[[Snapshot], Tensor]
# From a tensor, the mask of its new entries, that of the surviving ones and a generator to the values of the new ones.
Start = Callable[[Tensor, Tensor, Tensor, torch.Generator], Tensor | float]


@dataclass(frozen=True)
class TopologyEvent:
    """One change of topology, summed over all masks.

    Parameters
    ----------
    step : int
        Optimiser steps done.
    density : float
        Share of all entries that is active afterwards.
    digest : str
        Fingerprint of all masks afterwards.
    n_dropped, n_grown, n_regrown : int
        Entries that became inactive, that became active, and that were dropped and chosen again.
    """

    step: int
    density: float
    digest: str
    n_dropped: int
    n_grown: int
    n_regrown: int
