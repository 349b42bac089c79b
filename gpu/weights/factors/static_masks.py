"""Weights under masks that never change: layers compute with zeros off the mask, whatever trains what is stored."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sparsetheory.constraints import Instance
from sparsetheory.gpu.core.effective_weights import effective_weights, named_masks
from sparsetheory.gpu.core.masks import MaskSet

__all__ = ["FixedMask", "drawn_layer", "fix_masks", "fixed_masks", "release_masks"]


class FixedMask(nn.Module):
    """The map from a stored weight to the one under a mask, for ``torch.nn.utils.parametrize``.

    The mask is a buffer: it moves with the module and is in its state dict. Gradients are zero off the mask.

    Parameters
    ----------
    mask : Tensor of bool
        Of the shape of the weight, True where it is kept.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask.clone())

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight, zero off the mask."""
        return torch.where(self.mask, weight, 0.0)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return what to store so that the layer has a given weight, as far as the mask allows."""
        return weight


def fix_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Keep weights of a model zero off their masks from now on, in place.

    A weight is then computed from a stored one at each forward pass, so any optimiser can train it: moments and weight
    decay do not reach what is off the mask. Make the optimiser afterwards, of ``model.parameters()``.

    Parameters
    ----------
    model : torch.nn.Module
    masks : mapping of str to Tensor of bool
        Masks by name of the parameter, or of its layer.

    Raises
    ------
    ValueError
        If the model has no tensor of a name, a shape differs, or a weight is computed from others already.

    See Also
    --------
    release_masks : The way back, for masks that are to change.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(3, 3))
    >>> fix_masks(model, {"0": torch.eye(3, dtype=torch.bool)})
    >>> int(model[0].weight.count_nonzero()), list(model.state_dict())
    (3, ['0.bias', '0.parametrizations.weight.original', '0.parametrizations.weight.0.mask'])
    """
    for name, mask in named_masks(effective_weights(model), masks).items():
        path, _, leaf = name.rpartition(".")
        layer = model.get_submodule(path)
        if leaf not in layer._parameters:
            raise ValueError(f"{name} must be a parameter; got one that is computed from others, remove that first")
        parametrize.register_parametrization(layer, leaf, FixedMask(mask.to(getattr(layer, leaf).device)))


def fixed_masks(model: nn.Module) -> MaskSet:
    """Return the masks that are fixed in a model, by name of the weight: for reports and counts of operations."""
    return MaskSet({name: mask.clone() for name, (_, _, mask) in _fixed(model).items()})


def release_masks(model: nn.Module) -> MaskSet:
    """Take the fixed masks off a model, in place, and return them; the weights themselves hold the zeros then.

    So they are ready for a method that changes masks: its gradients must be dense, which they are not under a fixed
    mask.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    MaskSet
        Its :meth:`MaskSet.by_parameter` is what :class:`TopologyController` takes.

    Raises
    ------
    ValueError
        If no mask is fixed, or something else is computed on top of a masked weight.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(3, 3))
    >>> fix_masks(model, {"0": torch.eye(3, dtype=torch.bool)})
    >>> masks = release_masks(model)
    >>> masks.n_nonzero, int(model[0].weight.count_nonzero()), sorted(model.state_dict())
    (3, 3, ['0.bias', '0.weight'])
    """
    found = _fixed(Instance(nn.Module, "a module of torch").check("model", model))
    if not found:
        raise ValueError("model must have weights under fixed masks; it has none")
    for name, (layer, leaf, _) in found.items():
        steps = _parametrisations(layer)[leaf]
        assert isinstance(steps, parametrize.ParametrizationList)
        if len(steps) > 1:
            raise ValueError(f"{name} must have no other parametrisation than its mask")
    masks = fixed_masks(model)
    for layer, leaf, _ in found.values():
        parametrize.remove_parametrizations(layer, leaf, leave_parametrized=True)
    return masks


def drawn_layer(layer: nn.Module, generator: torch.Generator, mask: Tensor | None = None, scale: float = 1.0) -> None:
    """Draw the weight of a linear or convolutional layer anew, in place, and fix its mask if it has one.

    The distribution is normal with variance ``2 / fan_out``, as published, times the square of a scale. The bias
    becomes 0.

    Parameters
    ----------
    layer : torch.nn.Module
    generator : torch.Generator
        On the CPU.
    mask : Tensor of bool, optional
    scale : float
    """
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    drawn = torch.empty(weight.shape)
    nn.init.kaiming_normal_(drawn, mode="fan_out", nonlinearity="relu", generator=generator)
    with torch.no_grad():
        weight.copy_(drawn * scale)
        if isinstance(bias, Tensor):
            bias.zero_()
    if mask is not None:
        fix_masks(layer, {"weight": mask})


def _fixed(model: nn.Module) -> dict[str, tuple[nn.Module, str, Tensor]]:
    """Return layer, name in it and mask of every weight under a fixed mask."""
    found = {}
    for prefix, module in model.named_modules():
        if not parametrize.is_parametrized(module):
            continue
        for leaf, steps in _parametrisations(module).items():
            assert isinstance(steps, parametrize.ParametrizationList)
            masks = [step.mask for step in steps if isinstance(step, FixedMask)]
            if masks:
                found[f"{prefix}.{leaf}" if prefix else leaf] = (module, leaf, masks[0])
    return found


def _parametrisations(module: nn.Module) -> nn.ModuleDict:
    lists = module.parametrizations
    assert isinstance(lists, nn.ModuleDict)
    return lists
