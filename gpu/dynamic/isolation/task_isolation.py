"""Tasks one after the other in one network: each has a mask, and never changes the weights of those before it."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from sparsetheory.gpu.core.hooks.snapshots import Score

__all__ = ["TaskIsolation"]


class TaskIsolation:
    """Learn tasks one after the other under masks, and never change what earlier tasks use."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        density: float = 0.2,
        init: str = "erk",
        grow: str | Score = "gradient",
        drop: str | Score = "magnitude",
        fraction: Callable[[int], float] | float = 0.3,
        every: int = 100,
        share: str = "forbid",
        fresh: str = "init",
        generator: torch.Generator | int | None = None,
        *,
        layers: str | Sequence[str] = "*",
        head: str | None = None,
    ) -> None:
        raise NotImplementedError

    def begin_task(self, task_id: Hashable, outputs: Sequence[int] | None = None) -> None:
        """Start a task."""
        raise NotImplementedError

    def end_task(self, probe: Any = None) -> None:
        """End the task."""
        raise NotImplementedError

    @contextmanager
    def masked(self, task_id: Hashable) -> Iterator[nn.Module]:
        """Give the model as a task left it."""
        raise NotImplementedError
