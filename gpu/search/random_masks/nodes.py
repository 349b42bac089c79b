"""Masks of nodes as what they mean: a smaller network, and one indicator for each node."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sparsetheory.gpu.core.layers import weight_name
from sparsetheory.gpu.search.random_masks.samplers import linear_chain

__all__ = ["node_indicators", "remove_nodes"]


def remove_nodes(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """Return the smaller network that a masked one computes, without the nodes that no mask keeps.

    Parameters
    ----------
    model : torch.nn.Module
        A multilayer perceptron as :class:`NodeSampler` takes it, with a finite activation after each layer.
    masks : mapping of str to Tensor of bool
        Masks of all linear layers by the names of their weights, as :class:`NodeSampler` draws them: each keeps all
        weights between the nodes that stay.

    Returns
    -------
    torch.nn.Module
        A copy with smaller linear layers. Its outputs are those of the masked model up to rounding, as sums have fewer
        terms. It has as many operations as the masked model, if those with zeros are skipped.

    Raises
    ------
    ValueError
        If a mask is missing, has another shape, is not one of nodes, or keeps none; or as in :class:`NodeSampler`.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core.models import MLP
    >>> from sparsetheory.gpu.search import NodeSampler
    >>> model = MLP([8, 16, 16, 4])
    >>> smaller = remove_nodes(model, NodeSampler(0.25)(model, 0))
    >>> smaller[2].weight.shape
    torch.Size([4, 4])
    """
    layers = linear_chain(model)
    smaller = copy.deepcopy(model)
    kept = torch.ones(next(iter(layers.values())).in_features, dtype=torch.bool)
    for place, (name, layer) in enumerate(layers.items()):
        mask = _mask_of(masks, name, layer)
        outputs = mask.any(1) if place < len(layers) - 1 else torch.ones(layer.out_features, dtype=torch.bool)
        if not bool(outputs.any()) or not torch.equal(mask, outputs[:, None] & kept[None, :]):
            raise ValueError(f"masks must keep all weights between the nodes that stay; got others at {name}")
        _replace(smaller, name, _cut(layer, outputs, kept))
        kept = outputs
    return smaller


def node_indicators(masks: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Return which hidden nodes candidates keep: one row for each candidate, one column for each node.

    As features they make the quality of a candidate a linear function of its nodes, up to an error: candidates become
    actions of :class:`sparsetheory.bandits.LinearBanditProblem`, with that error as misspecification.

    Parameters
    ----------
    masks : sequence of mapping of str to Tensor of bool
        As :class:`NodeSampler` draws them, of one model.

    Returns
    -------
    Tensor of float64 of shape (n_candidates, n_nodes)
        1 for a node that stays, else 0; layer after layer, without inputs and outputs.

    Raises
    ------
    ValueError
        If there are no masks, or their names or shapes differ.

    Examples
    --------
    >>> from sparsetheory.gpu.core.models import MLP
    >>> from sparsetheory.gpu.search import NodeSampler
    >>> model, sampler = MLP([8, 4, 4, 2]), NodeSampler(0.5)
    >>> node_indicators([sampler(model, seed) for seed in range(3)]).sum(1)
    tensor([4., 4., 4.], dtype=torch.float64)
    """
    shapes = [{name: mask.shape for name, mask in one.items()} for one in masks]
    if not masks or len(shapes[0]) < 2 or any(list(one.items()) != list(shapes[0].items()) for one in shapes):
        raise ValueError("masks must be candidates of at least two layers, all with the same names and shapes")
    rows = [torch.cat([mask.cpu().any(1) for mask in list(one.values())[:-1]]) for one in masks]
    return torch.stack(rows).double()


def _mask_of(masks: Mapping[str, Tensor], name: str, layer: nn.Linear) -> Tensor:
    mask = masks.get(weight_name(name))
    if mask is None or mask.shape != layer.weight.shape or mask.dtype != torch.bool:
        got = "none" if mask is None else f"{mask.dtype} of shape {tuple(mask.shape)}"
        raise ValueError(
            f"masks must hold bool of shape {tuple(layer.weight.shape)} for {weight_name(name)}; got {got}"
        )
    return mask.cpu()


def _cut(layer: nn.Linear, outputs: Tensor, inputs: Tensor) -> nn.Linear:
    """Return a layer with some of the outputs and inputs of another one."""
    weight = layer.weight.detach()
    here = outputs.to(weight.device)
    smaller = nn.Linear(1, 1, bias=layer.bias is not None, device=weight.device, dtype=weight.dtype)
    smaller.in_features, smaller.out_features = int(inputs.sum()), int(outputs.sum())
    smaller.weight = nn.Parameter(weight[here][:, inputs.to(weight.device)])
    if layer.bias is not None:
        smaller.bias = nn.Parameter(layer.bias.detach()[here])
    return smaller.train(layer.training)


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(path), leaf, layer)
