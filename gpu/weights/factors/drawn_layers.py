"""Linear and convolutional layers whose weights are drawn as published, under masks that never change."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from sparsetheory.gpu.core.random_topology import random_masks
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.weights.factors.iso_flop import IsoFlopSizes
from sparsetheory.gpu.weights.factors.merging import empty_linear
from sparsetheory.gpu.weights.training.attaching import sparsify
from sparsetheory.gpu.weights.training.ste import SparseSTE

__all__ = ["draw_weight", "fix_masks", "sparse_linears"]


def draw_weight(layer: nn.Module, generator: torch.Generator, scale: float = 1.0) -> None:
    """Draw the weight of a layer anew, in place: normal with variance ``2 / fan_out``. The bias becomes 0.

    Parameters
    ----------
    layer : torch.nn.Module
    generator : torch.Generator
        On the CPU.
    scale : float
        What the weights are multiplied by.
    """
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    drawn = torch.empty(weight.shape)
    nn.init.kaiming_normal_(drawn, mode="fan_out", nonlinearity="relu", generator=generator)
    with torch.no_grad():
        weight.copy_(drawn * scale)
        if isinstance(bias, Tensor):
            bias.zero_()


def fix_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Keep weights zero off their masks from now on, in place; weights that are dense have no mask.

    The gradient is zero off the mask, as that of a weight that is not there: it would enter norms for clipping, and the
    moments of the optimiser.
    """
    for name, mask in masks.items():
        if not bool(mask.all()):
            fixed = SparseSTE(mask, backward="scaled")
            sparsify(model, partial(_given, fixed), include=name.removesuffix(".weight"))


def sparse_linears(
    sizes: IsoFlopSizes, biased: str | None, generator: torch.Generator | int | None
) -> tuple[dict[str, nn.Linear], dict[str, Tensor]]:
    """Return a linear layer for each weight, and a mask with exactly the entries that the sizes say.

    Parameters
    ----------
    sizes : IsoFlopSizes
    biased : str, optional
        Name of the weight whose layer has the bias.
    generator : torch.Generator, int or None
        Source of the masks, and then of the weights.

    Returns
    -------
    layers : dict of str to torch.nn.Linear
    masks : dict of str to Tensor of bool
        By name of the weight, for :func:`fix_masks`.
    """
    source = cpu_generator(generator)
    masks = random_masks(sizes.shapes, sizes.densities, source)
    layers = {}
    for name, (n_out, n_in) in sizes.shapes.items():
        layers[name] = empty_linear(n_in, n_out, bias=name == biased)
        draw_weight(layers[name], source)
    return layers, {f"{name}.weight": mask for name, mask in masks.items()}


def _given(fixed: SparseSTE, weight: Tensor) -> SparseSTE:
    return fixed
