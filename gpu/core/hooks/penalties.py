"""Penalties that are added to the gradients once a step, not once a backward pass."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from sparsetheory.gpu.core.hooks.steps import StepHooks, grad_scale, parameters_of

__all__ = ["GradientPenalty"]

Term = Callable[[Tensor, dict[str, Any]], Tensor]


class GradientPenalty(StepHooks):
    """Add the gradient of a penalty to the gradients, once a step, before momentum.

    A penalty in the loss of each of K accumulated micro-batches counts K times, and so does one in a backward formula;
    the latter is also divided by a loss scale. This one is added once, to gradients that have been accumulated and
    unscaled. A parameter without gradient is left alone.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any but LBFGS.
    parameters : iterable of Tensor
        Parameters of the optimiser.
    term : callable
        From a parameter and its group of the optimiser (for ``group["lr"]`` and the like) to the gradient of the
        penalty, of the shape of the parameter.

    Raises
    ------
    ValueError
        If the optimiser is LBFGS or does not have a parameter.

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.5)
    >>> penalty = GradientPenalty(optimizer, [weight], lambda parameter, group: 0.1 * parameter.sign())
    >>> (0 * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.detach()
    tensor([ 0.9500, -1.9500])
    """

    def __init__(self, optimizer: Optimizer, parameters: Iterable[Tensor], term: Term) -> None:
        self._parameters = list(parameters)
        self._term = term
        known = {id(parameter) for parameter in parameters_of(optimizer)}
        for index, parameter in enumerate(self._parameters):
            if id(parameter) not in known:
                raise ValueError(f"parameters must be those of the optimiser; number {index} is none of them")
        super().__init__(optimizer)

    def before_step(self) -> None:
        """Add the terms."""
        scale = grad_scale(self.optimizer)
        groups = {id(one): group for group in self.optimizer.param_groups for one in group["params"]}
        for index, parameter in enumerate(self._parameters):
            if parameter.grad is not None:
                term = self.term(index, parameter.detach(), groups[id(parameter)])
                # A fused optimiser divides by the scale within its step.
                parameter.grad.add_(term if scale is None else term * scale)

    def term(self, index: int, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """Return the gradient of the penalty for the parameter of a number."""
        return self._term(parameter, group)

    def after_step(self) -> None:
        """Nothing is left to do."""
