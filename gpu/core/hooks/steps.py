"""A pair of actions around every step of an optimiser, through the hooks of torch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.optim import LBFGS, Optimizer

from sparsetheory.constraints import Instance

__all__ = ["StepHooks", "grad_scale", "parameters_of", "require_masks", "step_is_skipped"]


class StepHooks(ABC):
    """Actions before and after each step of an optimiser; the base of gates, penalties and controllers.

    They run once a step, after all backward passes of it, and without recording gradients. A closure that computes the
    gradients within the step runs first. Several hooks run in the order in which they were made.

    Nothing is wrapped or subclassed: the optimiser goes into any training loop as it is. But torch drops hooks when an
    optimiser is copied or pickled, so they must be made again for a copy. ``optimizer.load_state_dict`` keeps them. A
    wrapper of an optimiser, such as accelerate makes, has no hooks of its own; give the optimiser within it.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any that evaluates the gradients once a step; not LBFGS, whose line search would be misled.

    Raises
    ------
    ValueError
        If `optimizer` is none of these.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if isinstance(optimizer, LBFGS):
            raise ValueError("optimizer must evaluate gradients once a step; got LBFGS, which searches along lines")
        self.optimizer = optimizer
        self._register()

    @abstractmethod
    def before_step(self) -> None:
        """Act on complete gradients before the update."""

    @abstractmethod
    def after_step(self) -> None:
        """Act on the updated parameters."""

    def remove(self) -> None:
        """Take the hooks off the optimiser."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()

    def _register(self) -> None:
        self._handles = [
            self.optimizer.register_step_pre_hook(self._before),
            self.optimizer.register_step_post_hook(self._after),
        ]

    def _before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # The first of the positional arguments of a step is the optimiser itself.
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            with torch.no_grad():
                self.before_step()
            return None
        wrapped = self._after_closure(closure)
        if len(args) > 1:
            return (args[0], wrapped, *args[2:]), kwargs
        return args, {**kwargs, "closure": wrapped}

    def _after_closure(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def evaluate() -> Any:
            loss = closure()
            with torch.no_grad():
                self.before_step()
            return loss

        return evaluate

    def _after(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with torch.no_grad():
            self.after_step()


def grad_scale(optimizer: Optimizer) -> Tensor | None:
    """Return by what the gradients of a fused optimiser are scaled within a step under a GradScaler, if they are.

    Other optimisers see unscaled gradients.
    """
    return getattr(optimizer, "grad_scale", None)


def step_is_skipped(optimizer: Optimizer) -> bool:
    """Return whether a fused optimiser leaves out this step, as a GradScaler has found infinite gradients.

    Other optimisers are not called then.
    """
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)


def require_masks(
    name: str, masks: Mapping[Tensor, Tensor], parameters: Iterable[Tensor], *, owner: str = "optimiser"
) -> None:
    """Raise unless each mask has the shape and the device of its parameter, which is one of those given.

    Raises
    ------
    TypeError
        If a mask does not hold booleans.
    ValueError
        If a parameter is not known, or a shape or device differs.
    """
    known = {id(parameter) for parameter in parameters}
    for index, (parameter, mask) in enumerate(masks.items()):
        shape = tuple(parameter.shape)
        if id(parameter) not in known:
            raise ValueError(f"{name} must be given for parameters of the {owner}; number {index}, {shape}, is none")
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            got = getattr(mask, "dtype", type(mask).__name__)
            raise TypeError(f"{name} must hold tensors of bool; number {index} is {got}")
        if mask.shape != parameter.shape:
            raise ValueError(
                f"{name} must have the shapes of parameters; number {index} has {tuple(mask.shape)}, not {shape}"
            )
        if mask.device != parameter.device:
            raise ValueError(
                f"{name} must lie with parameters; number {index} is on {mask.device}, not {parameter.device}"
            )


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return all parameters of an optimiser."""
    Instance(Optimizer, "a torch optimiser").check("optimizer", optimizer)
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
