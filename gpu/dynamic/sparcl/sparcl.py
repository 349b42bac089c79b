"""Sparse weights, sparse gradients and fewer data for a learner of several tasks, as hooks on the user's own loop."""

from typing import Any

from torch import nn
from torch.optim import Optimizer

from sparsetheory.gpu.core.hooks.steps import StepHooks

__all__ = ["SparCL"]


class SparCL(StepHooks):
    """Learn several tasks with sparse weights, sparse gradients and fewer and fewer data."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, density: float | None = 0.25, **options: Any) -> None:
        raise NotImplementedError
