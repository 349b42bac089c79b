"""Rewards of generated item codes."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

__all__ = ["prefix_reward"]


def prefix_reward(codes: Any, target: Any, levels: Sequence[float] = (0.5, 0.707, 0.866, 0.95)) -> Tensor:
    """Return the reward of the common prefix."""
    raise NotImplementedError
