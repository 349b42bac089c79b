"""A frozen network for another task: a trained prompt at its input, a label map at its output."""

from dataclasses import dataclass

from torch import Tensor, nn

__all__ = ["Reprogrammed", "reprogram"]


@dataclass(frozen=True, eq=False)
class Reprogrammed:
    """A prompt and a label map."""

    prompt: nn.Module
    label_map: Tensor
    losses: Tensor

    def logits(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return logits of target classes."""
        raise NotImplementedError


def reprogram(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    prompt: nn.Module,
    *,
    validation: tuple[Tensor, Tensor] | None = None,
    n_epochs: int = 100,
    batch_size: int | None = 128,
    lr: float = 0.01,
    method: str = "greedy",
    n_labels: int = 1,
    map_every: int = 1,
    label_map: Tensor | None = None,
    generator: object = 0,
) -> Reprogrammed:
    """Train a prompt for a frozen network, and map labels."""
    raise NotImplementedError
