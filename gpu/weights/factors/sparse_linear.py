"""Linear layers with fixed random masks, from the sizes of a layer of equal cost."""

import torch
from torch import nn

from sparsetheory.gpu.core.random_topology import random_masks
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.weights.factors.iso_flop import IsoFlopSizes
from sparsetheory.gpu.weights.factors.merging import empty_linear
from sparsetheory.gpu.weights.factors.static_masks import drawn_layer

__all__ = ["sparse_linears"]


def sparse_linears(
    sizes: IsoFlopSizes, biased: str | None, generator: torch.Generator | int | None
) -> dict[str, nn.Linear]:
    """Return a linear layer for each weight, with exactly the entries that the sizes say.

    Parameters
    ----------
    sizes : IsoFlopSizes
    biased : str, optional
        Name of the weight whose layer has the bias.
    generator : torch.Generator, int or None
        Source of the masks, and then of the weights.

    Returns
    -------
    dict of str to torch.nn.Linear
        A weight that is dense has no mask.
    """
    source = cpu_generator(generator)
    masks = random_masks(sizes.shapes, sizes.densities, source)
    layers = {}
    for name, (n_out, n_in) in sizes.shapes.items():
        layers[name] = empty_linear(n_in, n_out, bias=name == biased)
        drawn_layer(layers[name], source, None if bool(masks[name].all()) else masks[name])
    return layers
