"""Predictions that average over the weights of a network."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, Choice
from sparsetheory.gpu.bayesian.layers.modes import sampling, variational_layers
from sparsetheory.gpu.core.modes import in_mode
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.core.recording import call_on

__all__ = ["MonteCarloPrediction", "predict_mc"]


@dataclass(frozen=True, eq=False)
class MonteCarloPrediction:
    """What a network with random weights predicts."""

    mean: Tensor
    variance: Tensor
    entropy: Tensor | None = None
    mutual_information: Tensor | None = None


def predict_mc(
    model: nn.Module,
    x: Any,
    n_samples: int = 20,
    generator: torch.Generator | int | None = None,
    *,
    outputs: str = "logits",
) -> MonteCarloPrediction:
    """Average the predictions of a network over sampled weights."""
    raise NotImplementedError
