"""A density for each layer under one budget of operations: the exact choice for given error curves."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from sparsetheory.constraints import Real, Several
from sparsetheory.gpu.core.budgets.choices import Choices, choose_options
from sparsetheory.gpu.core.layers import find_layers, weight_name, weight_rows
from sparsetheory.gpu.core.patterns import PerTensor
from sparsetheory.gpu.core.recording import collect_grams
from sparsetheory.gpu.weights.layerwise.one_layer import layerwise_prune

__all__ = ["DensityAllocation", "allocate_densities"]

_SHARE = Real(0.0, 1.0, closed="right")
# Cells of the table over the budget, of two bytes a layer: up to here every weight is a cell, and the table is exact.
_CELLS = 1_000_000


@dataclass(frozen=True, eq=False)
class DensityAllocation:
    """One density for each layer.

    Parameters
    ----------
    densities : dict of str to float
        By the names of the weights.
    errors : dict of str to tuple of float
        For each weight the relative squared error of the outputs of its layer at each density that was offered.
    choices : Choices
        The choice itself: its `loss` is the sum of the errors, its `cost` the number of multiply-adds for one row, and
        no choice within the budget has a sum below its `lower_bound`.
    """

    densities: dict[str, float]
    errors: dict[str, tuple[float, ...]]
    choices: Choices


def allocate_densities(
    model: nn.Module,
    batches: Iterable[Any],
    densities: Sequence[float],
    budget: float,
    *,
    layers: str | Sequence[str] = "*",
    method: str = "magnitude",
) -> DensityAllocation:
    """Choose a density for each layer, so that all together take a share of the operations and err least.

    Every layer is pruned to every density, by itself and on the inputs that it has in the dense model. Errors of layers
    add up in this problem, a knapsack with one choice for each layer; a table over the budget solves it exactly. So it
    is what a search over densities by gradients, see :func:`search`, can be compared with.

    Parameters
    ----------
    model : torch.nn.Module
        Trained; not changed.
    batches : iterable
        Calibration data, as :func:`sparsetheory.gpu.core.collect_grams` takes them.
    densities : sequence of float
        What each layer chooses among, above 0 and at most 1.
    budget : float
        Share of the multiply-adds of the dense layers, above 0 and at most 1; rounded down to a whole number of them.
    layers : str or sequence of str
        Names or patterns, as :func:`sparsetheory.gpu.core.find_layers` takes them; linear layers.
    method : str
        How layers are pruned: a method of :func:`sparsetheory.gpu.weights.layerwise_prune` that takes whole tensors.

    Returns
    -------
    DensityAllocation

    Raises
    ------
    ValueError
        If a number is out of range, the lowest densities exceed the budget, or a layer is not linear.

    Notes
    -----
    Time is that of one pruning for each layer and density, and of a table of at most a million cells for each layer;
    up to a million weights in all it has a cell for each weight and is exact.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core.models import MLP
    >>> x = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    >>> from sparsetheory.gpu.search import allocate_densities
    >>> found = allocate_densities(MLP([8, 16, 16, 4]), [x], [0.25, 0.5, 1.0], budget=0.5)
    >>> list(found.densities), found.choices.cost <= 0.5 * (8 * 16 + 16 * 16 + 16 * 4)
    (['0.weight', '2.weight', '4.weight'], True)
    """
    Several(_SHARE).require(densities=densities)
    _SHARE.require(budget=budget)
    if not len(densities):
        raise ValueError("densities must hold at least one number; got none")
    chosen = find_layers(model, layers)
    others = [name for name, layer in chosen.items() if not isinstance(layer, nn.Linear)]
    if others:
        raise ValueError(f"layers must be linear; got {', '.join(others)}")
    grams = collect_grams(model, batches, list(chosen))
    errors, counts, total = {}, {}, 0
    patterns = [PerTensor(density) for density in densities]
    for layer_name, layer in chosen.items():
        name, weight, gram = weight_name(layer_name), weight_rows(layer), grams[layer_name]
        total += weight.numel()
        counts[name] = [pattern.count(weight.shape) for pattern in patterns]
        errors[name] = tuple(layerwise_prune(weight, gram, pattern, method).relative_error for pattern in patterns)
    # A share such as 0.29 is no binary number: 0.29 * 100 would not pay for 29 operations.
    limit = math.floor(round(budget * total, 6))
    found = choose_options(errors.values(), counts.values(), limit, "dp", n_cells=max(1, min(limit, _CELLS)))
    options = zip(errors, found.options, strict=True)
    return DensityAllocation({name: float(densities[option]) for name, option in options}, errors, found)
