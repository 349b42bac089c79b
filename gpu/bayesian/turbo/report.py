"""What a run of network Turbo-VBI has found, layer by layer."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparsetheory.typing import BoolArray

__all__ = ["LayerSupport", "NetworkTurboVBIReport", "mean_run"]


@dataclass(frozen=True)
class LayerSupport:
    """Which weights of a layer are on.

    Parameters
    ----------
    name : str
        Of the layer.
    structure : str
        Law of the states on the grid.
    grid_shape : tuple of int
        Rows and columns of states.
    n_weights, n_nonzero : int
        All weights, and those that are on.
    row_density, column_density : float
        Shares of rows and of columns of the grid in which something is on.
    output_density, input_density : float
        Shares of outputs and of inputs with a weight that is on.
    mean_run : float
        Mean length of the runs of states that are on, along rows; 0 if none is. It is mostly made by the prior.
    kl : float
        Divergence of weights, precisions and states from their prior, in nats, with the present factors.
    support_kl : float
        Part of it between states and their law.
    settled : bool
        False if messages on the grid still moved.
    """

    name: str
    structure: str
    grid_shape: tuple[int, int]
    n_weights: int
    n_nonzero: int
    row_density: float
    column_density: float
    output_density: float
    input_density: float
    mean_run: float
    kl: float
    support_kl: float
    settled: bool

    @property
    def density(self) -> float:
        """Share of weights that are on."""
        return self.n_nonzero / self.n_weights

    @classmethod
    def of(
        cls,
        name: str,
        structure: str,
        states: BoolArray,
        mask: Tensor,
        kl: float,
        support_kl: float,
        settled: bool,
    ) -> "LayerSupport":
        """Count what is on, on the grid of states and in the weight itself."""
        by_output, by_input = mask.flatten(1).any(1), mask.transpose(0, 1).flatten(1).any(1)
        return cls(
            name=name,
            structure=structure,
            grid_shape=(states.shape[0], states.shape[1]),
            n_weights=mask.numel(),
            n_nonzero=int(mask.sum()),
            row_density=float(states.any(axis=1).mean()),
            column_density=float(states.any(axis=0).mean()),
            output_density=float(by_output.to(torch.float64).mean()),
            input_density=float(by_input.to(torch.float64).mean()),
            mean_run=mean_run(states),
            kl=kl,
            support_kl=support_kl,
            settled=settled,
        )


@dataclass(frozen=True)
class NetworkTurboVBIReport:
    """Where a run of network Turbo-VBI stands.

    Parameters
    ----------
    layers : tuple of LayerSupport
        In the order of the model.
    n_steps : int
        Optimiser steps done.
    off_rate_share : float
        Rate of precisions that are off, over its value where both states are alike.
    """

    layers: tuple[LayerSupport, ...]
    n_steps: int
    off_rate_share: float

    @property
    def density(self) -> float:
        """Share of all weights that are on."""
        return sum(layer.n_nonzero for layer in self.layers) / sum(layer.n_weights for layer in self.layers)

    @property
    def kl(self) -> float:
        """Divergence of all layers from their priors, in nats."""
        return sum(layer.kl for layer in self.layers)

    def __str__(self) -> str:
        lines = [f"{self.density:.2%} of weights on, {self.kl:.0f} nats, after {self.n_steps} steps"]
        lines += [
            f"  {layer.name}: {layer.density:.2%} on in {layer.output_density:.0%} of outputs and "
            f"{layer.input_density:.0%} of inputs, runs of {layer.mean_run:.1f}, {layer.kl:.0f} nats"
            for layer in self.layers
        ]
        return "\n".join(lines)


def mean_run(states: BoolArray) -> float:
    """Return the mean length of the runs of ones along the rows of an array of shape (R, C); 0 where there are none."""
    starts = np.count_nonzero(states[:, 0]) + np.count_nonzero(states[:, 1:] & ~states[:, :-1])
    return float(np.count_nonzero(states) / starts) if starts else 0.0
