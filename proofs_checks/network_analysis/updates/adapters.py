"""Fine-tuning by low-rank adapters, as a peer of sparse updates."""

import copy
from typing import Any

from sparsetheory.gpu import core
from sparsetheory.proofs_checks.network_analysis.updates.runs import STEPS, FineTuning, train

__all__ = ["adapted"]


def adapted(runs: FineTuning, rank: int, rate: float) -> Any:
    """Return the network after its matrices learned a product of two thin factors from labels, and nothing else.

    One factor starts at zero, the other one is Gaussian (Hu et al., LoRA, arXiv:2106.09685).

    Parameters
    ----------
    runs : FineTuning
        Whose start is adapted.
    rank : int
        Inner width of the products.
    rate : float
        Learning rate of the factors.

    Returns
    -------
    Module
        With plain weights again.
    """
    import torch
    from torch import nn
    from torch.nn.utils import parametrize

    generator = torch.Generator().manual_seed(runs.seed)

    class Adapter(nn.Module):
        """A weight plus a product of factors."""

        def __init__(self, weight: Any) -> None:
            super().__init__()
            n_out, n_in = weight.shape
            self.up = nn.Parameter(torch.zeros(n_out, rank))
            self.down = nn.Parameter(torch.randn(rank, n_in, generator=generator) / n_in**0.5)

        def forward(self, weight: Any) -> Any:
            return weight + self.up @ self.down

    model = copy.deepcopy(runs.start).requires_grad_(False)
    layers = core.find_layers(model).values()
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", Adapter(layer.weight))
    x, y = runs.data[:2]
    train(model, x, y, core.class_loss, STEPS, rate, 0)
    for layer in layers:
        parametrize.remove_parametrizations(layer, "weight")
    return model
