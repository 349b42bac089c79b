"""Turbo-VBI for networks: supports of weights that cluster, learned beside any training loop."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsetheory.constraints import COUNT, FRACTION, POSITIVE, SIZE, Choice
from sparsetheory.gpu.bayesian.layers.softplus import positive
from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer
from sparsetheory.gpu.bayesian.turbo.layout import STRUCTURES, WeightGrid, grid_of
from sparsetheory.gpu.bayesian.turbo.prior import FACTORISATION, WeightPrior
from sparsetheory.gpu.core.hooks.steps import StepHooks, parameters_of, step_is_skipped
from sparsetheory.gpu.core.masks import MaskSet

__all__ = ["NetworkTurboVBI"]


class NetworkTurboVBI(StepHooks):
    """Turbo-VBI for networks."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        n_samples: int,
        warmup_steps: int,
        anneal_steps: int,
        update_every: int,
        prior: str | Mapping[str, str] = "chain_rows",
        activation: float = 0.05,
        deactivation: float = 0.2,
        on_shape: float = 1.0,
        on_rate: float | str = "auto",
        off_shape: float = 1.0,
        off_rate_ratio: float = 1e-3,
        factorisation: str = "collapsed",
        temperature: float = 1.0,
        grids: Mapping[str, WeightGrid] | None = None,
        dead_inputs: str = "keep",
    ) -> None:
        raise NotImplementedError
