"""Entries of parameters that an optimiser may not move."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from sparsetheory.gpu.core.hooks.optimiser_state import clear_state
from sparsetheory.gpu.core.hooks.steps import StepHooks, parameters_of, require_masks

__all__ = ["UpdateGate", "hold", "put_back"]

Held = list[tuple[Tensor, Tensor, Tensor]]


class UpdateGate(StepHooks):
    """Keep entries of parameters as they are, to the bit, whatever the optimiser does.

    The gate undoes the update, not the gradient. A gradient of zero is not enough: momentum, weight decay and running
    moments move an entry long after its last gradient.

    The optimiser goes on to keep moments for frozen entries. :meth:`release` sets them to zero. Several gates and
    penalties on one optimiser act in the order in which they were made.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any but LBFGS.
    frozen : mapping of Tensor to Tensor of bool
        For parameters of the optimiser, True where an entry must not move.

    Raises
    ------
    TypeError
        If a mask does not hold booleans.
    ValueError
        If the optimiser is LBFGS, a parameter is not its own, or a mask has another shape or device.

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.5, weight_decay=1.0)
    >>> gate = UpdateGate(optimizer, {weight: torch.tensor([True, False])})
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> weight.detach()
    tensor([1., 0.])
    """

    def __init__(self, optimizer: Optimizer, frozen: Mapping[Tensor, Tensor]) -> None:
        require_masks("frozen", frozen, parameters_of(optimizer))
        self._frozen = dict(frozen)
        self._held: Held = []
        super().__init__(optimizer)

    @property
    def frozen(self) -> dict[Tensor, Tensor]:
        """Which entries do not move, by parameter."""
        return dict(self._frozen)

    def freeze(self, parameter: Tensor, mask: Tensor) -> None:
        """Stop more entries of a parameter."""
        require_masks("mask", {parameter: mask}, parameters_of(self.optimizer))
        before = self._frozen.get(parameter)
        self._frozen[parameter] = mask if before is None else before | mask

    def release(self, parameter: Tensor, mask: Tensor | None = None) -> None:
        """Let frozen entries of a parameter move again, from a state of zero in the optimiser.

        Parameters
        ----------
        parameter : Tensor
        mask : Tensor of bool, optional
            Which entries; by default all that are frozen.
        """
        before = self._frozen.pop(parameter, torch.zeros_like(parameter, dtype=torch.bool))
        freed = before if mask is None else before & mask
        clear_state(self.optimizer, parameter, freed)
        if bool((before & ~freed).any()):
            self._frozen[parameter] = before & ~freed

    def before_step(self) -> None:
        """Remember the frozen entries."""
        self._held = hold(self._frozen)

    def after_step(self) -> None:
        """Write the frozen entries back."""
        put_back(self._held)
        self._held = []


def hold(frozen: Mapping[Tensor, Tensor]) -> Held:
    """Return parameters, masks and the present values of the parameters."""
    return [(parameter, mask, parameter.detach().clone()) for parameter, mask in frozen.items()]


def put_back(held: Held) -> None:
    """Write values back where the masks are True; all bits are those of before, signs of zeros too."""
    for parameter, mask, values in held:
        parameter.copy_(torch.where(mask, values, parameter))
