"""Update only the weights of the largest gradients, and choose them anew every so many steps."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from sparsetheory.constraints import COUNT, Real
from sparsetheory.gpu.core.hooks.steps import StepHooks, parameters_of, require_masks, step_is_skipped
from sparsetheory.gpu.core.hooks.update_gate import Held, hold, put_back
from sparsetheory.gpu.core.selection import check_scores, keep_largest

__all__ = ["GradientMask", "gradient_support"]

_SHARE = Real(0.0, 1.0, closed="left")


def gradient_support(gradient: Tensor, q: float, mask: Tensor | None = None) -> Tensor:
    """Return where a gradient is largest: ``round((1 - q) n)`` of its n entries, or fewer.

    Only entries within the mask are chosen, and none that is 0. A comparison with the q-quantile of the tensor would
    choose all entries as soon as zeros fill a share q of it, since the quantile is 0 then: dead inputs and dead units
    suffice for that.

    Parameters
    ----------
    gradient : Tensor
    q : float
        Share of all entries, zeros and those off the mask among them, that is not chosen, in [0, 1).
    mask : Tensor of bool, optional
        Entries that may be chosen; by default all.

    Returns
    -------
    Tensor of bool
        Of ``min(round((1 - q) n), non-zeros within the mask)`` entries; of equal ones the first.

    Raises
    ------
    ValueError
        If `q` is out of range, shapes differ or an entry is not a number.

    Examples
    --------
    >>> import torch
    >>> gradient_support(torch.tensor([0.0, -3.0, 0.0, 1.0, 2.0]), 0.6)
    tensor([False,  True, False, False,  True])
    """
    _SHARE.check("q", q)
    size = check_scores(gradient, "gradient").abs()
    if mask is not None and mask.shape != gradient.shape:
        raise ValueError(f"mask must have the shape of gradient, {tuple(gradient.shape)}; got {tuple(mask.shape)}")
    allowed = size != 0 if mask is None else (size != 0) & mask
    candidates = allowed.reshape(-1).nonzero().squeeze(1)
    count = min(round((1 - q) * gradient.numel()), candidates.numel())
    chosen = torch.zeros(gradient.numel(), dtype=torch.bool, device=gradient.device)
    chosen[candidates[keep_largest(size.reshape(-1)[candidates], count)]] = True
    return chosen.reshape(gradient.shape)


class GradientMask(StepHooks):
    """Let only the entries with the largest gradients move, and choose them anew every so many steps.

    At a choice those of the largest gradients within the mask may move, see :func:`gradient_support`. They are the only
    ones to move until the next choice. All others have a gradient of 0 in these steps, as if it had not been computed,
    and keep their bits: the update is gated too, because momentum and weight decay move an entry that has no gradient.
    Moments of the optimiser fade meanwhile.

    Where a :class:`TopologyController` rewires the masks, make this object before the controller: it writes old values
    back after a step, and the controller then sets what it drops to zero. :class:`SparCL` does all of this.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any but LBFGS.
    masks : mapping of Tensor to Tensor of bool
        For parameters of the optimiser, which entries may be chosen. The tensors are looked at in every step, so they
        may be changed in place. Parameters without a mask move as ever.
    q : float
        Share of the entries of each parameter that does not move, in [0, 1), entries off the mask among them. Where it
        is not above the sparsity of the mask, nothing is gated.
    every : int
        Steps from choice to choice.

    Raises
    ------
    TypeError
        If a mask does not hold booleans.
    ValueError
        If an argument is out of range, or a mask does not fit a parameter of the optimiser.

    References
    ----------
    Wang et al., "SparCL: Sparse Continual Learning on the Edge", NeurIPS 2022, arXiv 2209.09476.

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.ones(4))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1, weight_decay=0.5)
    >>> gate = GradientMask(optimizer, {weight: torch.tensor([True, True, True, False])}, q=0.75, every=2)
    >>> (weight * torch.tensor([1.0, 3.0, 2.0, 9.0])).sum().backward()
    >>> optimizer.step()
    >>> weight.detach()
    tensor([1.0000, 0.6500, 1.0000, 1.0000])
    """

    def __init__(self, optimizer: Optimizer, masks: Mapping[Tensor, Tensor], q: float, every: int = 30) -> None:
        self._q = _SHARE.check("q", q)
        self._every = COUNT.check("every", every)
        require_masks("masks", masks, parameters_of(optimizer))
        self._masks = dict(masks)
        self._chosen: dict[Tensor, Tensor] = {}
        self._age = 0
        self._held: Held = []
        self._waits = False
        super().__init__(optimizer)

    @property
    def moving(self) -> dict[Tensor, Tensor]:
        """Which entries may move now, by parameter; of a parameter that has had no gradient yet, none."""
        return {
            parameter: self._chosen.get(parameter, torch.zeros_like(mask)) & mask
            for parameter, mask in self._masks.items()
        }

    def refresh(self) -> None:
        """Choose anew in the next step, from which on the steps are counted."""
        self._age = 0

    def before_step(self) -> None:
        """Choose what moves, if it is time; remember the rest, and set its gradients to zero."""
        choosing = {
            parameter: mask
            for parameter, mask in self._masks.items()
            if parameter.grad is not None and (self._age == 0 or parameter not in self._chosen)
        }
        # Gradients that are not finite choose nothing; the choice that is due is made in the next step.
        self._waits = not all(bool(torch.isfinite(p.grad).all()) for p in choosing if p.grad is not None)
        if not self._waits:
            self._choose(choosing)
        frozen = {parameter: ~moving for parameter, moving in self.moving.items() if parameter.grad is not None}
        for parameter, still in frozen.items():
            assert parameter.grad is not None
            parameter.grad.masked_fill_(still, 0)
        self._held = hold(frozen)

    def after_step(self) -> None:
        """Write back what must not move."""
        put_back(self._held)
        self._held = []
        if not step_is_skipped(self.optimizer) and not (self._waits and self._age == 0):
            self._age = (self._age + 1) % self._every

    def state_dict(self) -> dict[str, Any]:
        """Return what moves, in the order of the masks, and how many steps ago it was chosen."""
        return {"age": self._age, "chosen": [self._chosen.get(parameter) for parameter in self._masks]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Raises
        ------
        ValueError
            If it is one of other masks.
        """
        chosen = state["chosen"]
        shapes = [None if one is None else one.shape for one in chosen]
        if len(chosen) != len(self._masks) or any(
            shape not in (None, mask.shape) for shape, mask in zip(shapes, self._masks.values(), strict=True)
        ):
            raise ValueError(f"state must be one of these masks; got choices of shapes {shapes}")
        self._age = int(state["age"])
        self._chosen = {
            parameter: one.to(parameter.device, copy=True)
            for parameter, one in zip(self._masks, chosen, strict=True)
            if one is not None
        }

    def _choose(self, masks: Mapping[Tensor, Tensor]) -> None:
        for parameter, mask in masks.items():
            assert parameter.grad is not None
            self._chosen[parameter] = gradient_support(parameter.grad, self._q, mask)
            if not bool(self._chosen[parameter].any()) and bool(mask.any()):
                shape, n = tuple(parameter.shape), parameter.numel()
                why = "is zero within its mask" if round((1 - self._q) * n) else f"has {n} entries, too few for q"
                warnings.warn(
                    f"the gradient of a parameter of shape {shape} {why}; it does not move in the next {self._every} "
                    "steps",
                    RuntimeWarning,
                    stacklevel=2,
                )
