"""A linear layer in double precision whose weight has trained scores, and its optimiser: what several claims train."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sparsetheory.gpu import weights
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.typing import AnyArray, BoolArray

__all__ = ["ScoredLayer", "scored_layer"]


@dataclass(frozen=True, eq=False)
class ScoredLayer:
    """A linear layer without bias, its mask and its optimiser.

    Parameters
    ----------
    layer : torch.nn.Linear
    mask : SCLMask
    optimizer : torch.optim.SGD
    """

    layer: Any
    mask: Any
    optimizer: Any

    @property
    def stored(self) -> Any:
        """The dense weight."""
        return self.layer.parametrizations.weight.original

    @property
    def on(self) -> BoolArray:
        """Connections that are on now."""
        return array(self.mask.scores > 0)

    def steps(self, count: int) -> Iterator[Any]:
        """Yield the weight that the layer computes with, for the loop to run the loss of it backward, and step then."""
        for _ in range(count):
            self.layer.zero_grad()
            yield self.layer.weight
            self.optimizer.step()


def scored_layer(
    weight: AnyArray,
    alpha: float,
    norm: str,
    *,
    step: float,
    weight_step: float | None = None,
    ema: float = 0.99,
    scores: AnyArray | float = 0.1,
) -> ScoredLayer:
    """Make a layer from its weight and the scores at the start; by default the weight is not trained."""
    import torch

    layer: Any = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=torch.float64)
    layer.weight.data = tensor(weight)
    mask = weights.SCLMask(weight.shape, alpha=alpha, norm=norm, ema=ema)
    weights.sparsify(layer, lambda weight: mask)
    mask.scores.data = torch.zeros_like(mask.scores.data) + torch.as_tensor(scores)
    groups = [{"params": [mask.scores], "lr": step}]
    if weight_step is not None:
        groups.append({"params": [layer.parametrizations.weight.original], "lr": weight_step})
    optimizer = torch.optim.SGD(groups)
    weights.StepCounter(optimizer, layer)
    return ScoredLayer(layer, mask, optimizer)
