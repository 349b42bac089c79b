"""Losses that rehearse stored samples beside new ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from sparsetheory.gpu.dynamic.sparcl.replay_buffer import ReplayBuffer

__all__ = ["ReplayLoss", "replay_loss"]


@dataclass(frozen=True, eq=False)
class ReplayLoss:
    """A loss to go backward from, and the logits of the new samples."""

    loss: Tensor
    logits: Tensor


def replay_loss(
    model: nn.Module,
    buffer: ReplayBuffer,
    inputs: Tensor,
    labels: Tensor,
    *,
    method: str = "der++",
    alpha: float = 0.1,
    beta: float = 0.5,
    classes: Sequence[int] | None = None,
    batch_size: int | None = None,
) -> ReplayLoss:
    """Return the loss on new samples and on some of a buffer."""
    raise NotImplementedError
