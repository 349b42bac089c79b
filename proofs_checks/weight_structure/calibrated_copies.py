"""Copies of networks that are pruned on the inputs of the dense network, whose second moments are collected once."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from sparsetheory.gpu import core

__all__ = ["calibrated_copy"]


def calibrated_copy(model: Any, grams: Mapping[str, Any], prune: Callable[..., Any], sparsity: float) -> Any:
    """Return a copy of a model, all of whose layers with a Gram matrix lose the same share of each row.

    Parameters
    ----------
    model : torch.nn.Module
    grams : mapping of str to Gram
        By names of layers.
    prune : callable
        From the weight of a layer, its Gram matrix and a pattern to a result whose ``weight`` is kept.
    sparsity : float
    """
    pruned = copy.deepcopy(model)
    layers = core.find_layers(pruned)
    pattern = core.PerRow(density=1.0 - sparsity)
    for name, gram in grams.items():
        core.write_rows(layers[name], prune(core.weight_rows(layers[name]), gram, pattern).weight)
    return pruned
