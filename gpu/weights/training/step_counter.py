"""Schedules of sparse weights move with the steps of the optimiser."""

from torch import nn
from torch.optim import Optimizer

from sparsetheory.gpu.core.hooks.steps import StepHooks, grad_scale, step_is_skipped
from sparsetheory.gpu.weights.training.masked_weight import MaskedWeight, parametrised_weights

__all__ = ["StepCounter"]


class StepCounter(StepHooks):
    """Tell the sparse weights of a model each optimiser step, so that their schedules and penalties act once a step.

    A step that a loss scaler leaves out is not counted. The count is part of the model's state dict, so a resumed run
    goes on where it was.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any but LBFGS.
    model : torch.nn.Module
        After :func:`sparsify`.

    Raises
    ------
    ValueError
        If the optimiser is LBFGS or lacks what a method trains; if the model has no sparse weights, or the optimiser
        counts their steps already: schedules would move, and penalties act, twice a step.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.core import NM, MaskDecay
    >>> from sparsetheory.gpu.weights import SparseSTE, sparsify
    >>> model = nn.Linear(4, 2)
    >>> _ = sparsify(model, lambda weight: SparseSTE(NM(1, 4), mask_decay=MaskDecay("linear", 0.5)))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> counter = StepCounter(optimizer, model)
    >>> for _ in range(2):
    ...     model(torch.ones(1, 4)).sum().backward()
    ...     optimizer.step()
    >>> int(model.weight.count_nonzero())
    2
    """

    def __init__(self, optimizer: Optimizer, model: nn.Module) -> None:
        self._weights = [module for module in model.modules() if isinstance(module, MaskedWeight)]
        if not self._weights:
            raise ValueError("model must have sparse weights; got none, call sparsify first")
        known = {id(weight) for counter in _counters(optimizer) for weight in counter._weights}
        if any(id(weight) in known for weight in self._weights):
            raise ValueError("optimizer must count steps once; it has a StepCounter already, call its remove() first")
        super().__init__(optimizer)
        try:
            for one in parametrised_weights(model):
                if one.masked is not None:
                    one.masked.join(optimizer, one.stored)
        except ValueError:
            self.remove()
            raise

    def before_step(self) -> None:
        """Let the weights complete the gradients of their own parameters."""
        scale = grad_scale(self.optimizer)
        for weight in self._weights:
            weight.before_step(scale)

    def after_step(self) -> None:
        """Count the step, unless it was left out."""
        if not step_is_skipped(self.optimizer):
            for weight in self._weights:
                weight.advance()


def _counters(optimizer: Optimizer) -> list[StepCounter]:
    owners = [getattr(hook, "__self__", None) for hook in optimizer._optimizer_step_pre_hooks.values()]
    return [owner for owner in owners if isinstance(owner, StepCounter)]
