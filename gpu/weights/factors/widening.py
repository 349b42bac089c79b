"""Sparse Wide: a network with wider layers under fixed masks, at the cost of the dense one.

Provenance: authors' code of Sparse-IFT, which leaves the first and last layer dense. The exact counts for layers of
which one side is widened are ours.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sparsetheory.constraints import FLAG, Instance
from sparsetheory.gpu.core.flops import count_flops
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.random_topology import random_masks
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.weights.factors.drawn_layers import draw_weight, fix_masks
from sparsetheory.gpu.weights.factors.iso_flop import SPARSITY

__all__ = ["Widened", "widen"]


@dataclass(frozen=True, eq=False)
class Widened:
    """A wide network under fixed masks.

    Parameters
    ----------
    model : torch.nn.Module
        Of the class of the given one; its weights are drawn anew.
    masks : MaskSet
        Copies of the masks that are fixed. :meth:`MaskSet.by_parameter` of a finalized model is what a
        :class:`TopologyController` takes.
    ratio : float
        Multiplications relative to those of the given network.
    """

    model: nn.Module
    masks: MaskSet
    ratio: float


@dataclass
class _Layer:
    """A linear or convolutional layer and its wide counterpart."""

    name: str
    parent: nn.Module
    narrow: nn.Module
    wide: nn.Module

    @property
    def sizes(self) -> tuple[int, int]:
        """Entries of the weights."""
        return _weight(self.narrow).numel(), _weight(self.wide).numel()


def widen(
    model: nn.Module,
    sparsity: float,
    *,
    dense_ends: bool = False,
    rescale: bool = False,
    batch: Any = None,
    generator: torch.Generator | int | None = None,
) -> Widened:
    r"""Make the hidden layers of a network :math:`(1 - s)^{-1/2}` times as wide, under masks that keep its cost.

    Every layer keeps as many random entries as the given one has weights, whichever of its sides are widened: a share
    1 - s of a hidden layer, and its square root of the first and the last.

    Parameters
    ----------
    model : torch.nn.Sequential
        Linear layers, two-dimensional convolutions without groups, batch normalisations, and modules without
        parameters, such as activations, pools, ``nn.Flatten`` and ``nn.Dropout``; sequences of these inside each other
        too. It is not changed.
    sparsity : float
        The share s of the entries of hidden layers that is dropped, from 0 to below 1.
    dense_ends : bool
        Whether the first and the last layer stay dense, as in the published code. The network then costs more than the
        given one.
    rescale : bool
        Whether initial weights are larger by the square root of what the masks thin out, so that activations keep their
        size. By default they start as those of a dense layer of the same shape, as published.
    batch : optional
        An input of the model, with which multiplications are counted. It is needed for convolutions with `dense_ends`,
        as layers then weigh by their number of pixels.
    generator : torch.Generator, int or None
        Source of masks and weights, drawn on the CPU. Weights are normal with variance ``2 / fan_out``, and biases 0.

    Returns
    -------
    Widened
        Of the device and dtype of the given model. Make the optimiser of its parameters.

    Raises
    ------
    ValueError
        If the model has another kind of module, fewer than two layers, or a layer twice; or `batch` is missing.

    See Also
    --------
    iso_flop_width : The other ways to a sparse layer of the same cost.
    finalize : Takes the masks off, as for a method that changes them; the weights hold the zeros then.

    References
    ----------
    V. Thangarasa, S. Saxena, A. Gupta, S. Lie, "Sparse-IFT: Sparse Iso-FLOP Transformations for Maximizing Training
    Efficiency", ICML 2024, arXiv 2303.11525.

    Examples
    --------
    >>> from sparsetheory.gpu.core.models import MLP
    >>> found = widen(MLP([64, 16, 16, 10]), 0.75, generator=0)
    >>> found.model[2].weight.shape, found.masks.densities, found.ratio
    (torch.Size([32, 32]), {'0.weight': 0.5, '2.weight': 0.25, '4.weight': 0.5}, 1.0)
    """
    factor = (1 - SPARSITY.check("sparsity", sparsity)) ** -0.5
    dense_ends, rescale = FLAG.check("dense_ends", dense_ends), FLAG.check("rescale", rescale)
    made = copy.deepcopy(Instance(nn.Sequential, "a torch.nn.Sequential").check("model", model))
    layers = _widened(made, factor)
    ends = {layers[0].name, layers[-1].name} if dense_ends else set()
    sparse = [layer for layer in layers if layer.name not in ends and layer.sizes[0] < layer.sizes[1]]
    source = cpu_generator(generator)
    masks = random_masks(
        {f"{layer.name}.weight": _weight(layer.wide).shape for layer in sparse},
        {f"{layer.name}.weight": layer.sizes[0] / layer.sizes[1] for layer in sparse},
        source,
    )
    for layer in layers:
        mask = masks.get(f"{layer.name}.weight")
        scale = (mask.numel() / int(mask.sum())) ** 0.5 if rescale and mask is not None else 1.0
        setattr(layer.parent, layer.name.rpartition(".")[2], layer.wide)
        draw_weight(layer.wide, source, scale)
    fix_masks(made, masks)
    return Widened(made, masks, _ratio(model, made, layers, masks, batch))


def _widened(model: nn.Sequential, factor: float) -> list[_Layer]:
    """Return the layers with their wide counterparts, and give normalisations their wide size."""
    leaves = list(_leaves(model))
    last = max((index for index, leaf in enumerate(leaves) if _is_layer(leaf[2])), default=-1)
    layers: list[_Layer] = []
    narrow = wide = 1
    for index, (name, parent, module) in enumerate(leaves):
        if _is_layer(module):
            if any(module is layer.narrow for layer in layers) or parametrize.is_parametrized(module):
                raise ValueError(f"model must have plain layers, each once; {name} is parametrised or occurs twice")
            n_out, n_in = _weight(module).shape[:2]
            grown = n_out if index == last else round(factor * n_out)
            # A layer after a flattened convolution has several inputs for each channel.
            layers.append(_Layer(name, parent, module, _like(module, n_in // narrow * wide, grown)))
            narrow, wide = n_out, grown
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(parent, name.rpartition(".")[2], _normalisation(module, module.num_features // narrow * wide))
        elif any(True for _ in module.parameters()):
            raise ValueError(f"model must hold layers that can be widened; {name} is {type(module).__name__}")
    if len(layers) < 2:
        raise ValueError(f"model must have at least two layers; got {len(layers)}")
    return layers


def _leaves(model: nn.Sequential, prefix: str = "") -> Iterator[tuple[str, nn.Module, nn.Module]]:
    """Yield name, parent and module of what a sequence runs, in order."""
    # Not named_children, which leaves out what occurs again.
    for short, child in model._modules.items():
        assert child is not None
        name = f"{prefix}.{short}" if prefix else short
        if isinstance(child, nn.Sequential):
            yield from _leaves(child, name)
        else:
            yield name, model, child


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def _like(layer: nn.Module, n_in: int, n_out: int) -> nn.Module:
    """Return an uninitialised layer of another size, on the same device and in the same dtype."""
    weight, bias = _weight(layer), layer.bias is not None
    if isinstance(layer, nn.Conv2d):
        options = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "padding_mode")}
        made = torch.nn.utils.skip_init(nn.Conv2d, n_in, n_out, layer.kernel_size, bias=bias, **options)
    else:
        made = torch.nn.utils.skip_init(nn.Linear, n_in, n_out, bias=bias)
    made = made.to(weight.device, weight.dtype).train(layer.training)
    assert isinstance(made, nn.Module)
    return made


def _normalisation(module: nn.BatchNorm1d | nn.BatchNorm2d, n_features: int) -> nn.Module:
    options = (module.eps, module.momentum, module.affine, module.track_running_stats)
    made = type(module)(n_features, *options).train(module.training)
    like = module.weight if module.affine else module.running_mean
    return made if like is None else made.to(like.device, like.dtype)


def _ratio(narrow: nn.Module, wide: nn.Module, layers: list[_Layer], masks: MaskSet, batch: Any) -> float:
    if batch is not None:
        return count_flops(wide, batch).sparse_flops / count_flops(narrow, batch).flops
    kept = {layer.name: int(masks[f"{layer.name}.weight"].sum()) for layer in layers if f"{layer.name}.weight" in masks}
    costs = [(layer.sizes[0], kept.get(layer.name, layer.sizes[1])) for layer in layers]
    if all(cost == dense for dense, cost in costs):
        return 1.0
    if any(isinstance(layer.narrow, nn.Conv2d) for layer in layers):
        raise ValueError("batch must be given to count multiplications of convolutions with dense ends; got None")
    return sum(cost for _, cost in costs) / sum(dense for dense, _ in costs)
