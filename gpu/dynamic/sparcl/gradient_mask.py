"""Update only the weights of the largest gradients, and choose them anew every so many steps."""

from collections.abc import Mapping

from torch import Tensor
from torch.optim import Optimizer

from sparsetheory.gpu.core.hooks.steps import StepHooks

__all__ = ["GradientMask", "gradient_support"]


def gradient_support(gradient: Tensor, q: float, mask: Tensor | None = None) -> Tensor:
    """Return where the gradient is among the ``round((1 - q) n)`` largest within a mask, and not zero."""
    raise NotImplementedError


class GradientMask(StepHooks):
    """Gate the updates of all entries but those of the largest gradients."""

    def __init__(self, optimizer: Optimizer, masks: Mapping[Tensor, Tensor], q: float, every: int = 30) -> None:
        raise NotImplementedError
