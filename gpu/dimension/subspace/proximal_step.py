"""Sparse coordinates and few layers: a proximal step after each step of an optimiser."""

from collections.abc import Iterable

from torch import Tensor
from torch.optim import Optimizer

from sparsetheory.gpu.core.hooks.steps import StepHooks
from sparsetheory.penalties import Penalty

__all__ = ["ProximalStep"]


class ProximalStep(StepHooks):
    """Apply the proximal operator of a penalty to parameters after each step of their optimiser."""

    def __init__(self, optimizer: Optimizer, parameters: Iterable[Tensor], penalty: Penalty) -> None:
        raise NotImplementedError

    def before_step(self) -> None:
        """Gradients stay as they are."""

    def after_step(self) -> None:
        """Apply the operator."""
