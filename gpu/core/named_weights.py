"""Weights of a model by name: stored or parametrised, alone or shared by several modules."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sparsetheory.gpu.core.layers import find_layers

__all__ = ["distinct", "effective", "owner", "stored", "weight_names", "write_masked"]


def owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return the module that has a tensor, and the name of the tensor there.

    Raises
    ------
    ValueError
        If the model has no tensor of this name.
    """
    path, _, leaf = name.rpartition(".")
    try:
        module = model.get_submodule(path)
    except AttributeError:
        module = None
    if module is None or not isinstance(getattr(module, leaf, None), Tensor):
        raise ValueError(f"masks must name tensors of the model; it has no {name!r}")
    return module, leaf


def effective(model: nn.Module, name: str) -> Tensor:
    """Return the tensor that a layer computes with, detached; of a parametrised one its value."""
    module, leaf = owner(model, name)
    with torch.no_grad():
        return getattr(module, leaf).detach()


def stored(model: nn.Module, name: str) -> Tensor:
    """Return the tensor that an optimiser trains: itself, or the original of a parametrisation.

    Raises
    ------
    ValueError
        If a parametrisation is made of several tensors.
    """
    module, leaf = owner(model, name)
    if not parametrize.is_parametrized(module, leaf):
        return getattr(module, leaf)
    original = getattr(_parametrisation(module, leaf), "original", None)
    if not isinstance(original, Tensor):
        raise ValueError(f"{name} must be stored as one tensor; its parametrisation has several")
    return original


def weight_names(model: nn.Module) -> list[str]:
    """Return the names of the weights of all linear and convolutional layers; a shared one has its first name."""
    names = {}
    for layer, module in find_layers(model).items():
        name = f"{layer}.weight" if layer else "weight"
        names.setdefault(_identity(module, "weight"), name)
    return list(names.values())


def distinct(model: nn.Module, names: Iterable[str]) -> dict[int, list[str]]:
    """Group names by the memory that they mean."""
    groups: dict[int, list[str]] = {}
    for name in names:
        groups.setdefault(_identity(*owner(model, name)), []).append(name)
    return groups


def write_masked(model: nn.Module, name: str, mask: Tensor) -> None:
    """Set a weight to zero off its mask, in place, so that its layer computes with the masked weight.

    A parametrised weight is masked in its original where that gives the masked weight, as it does for maps that act on
    each entry by itself. Otherwise it is assigned, by the right inverse of its parametrisation.

    Raises
    ------
    ValueError
        If neither gives the masked weight; the weight is as before then.
    """
    module, leaf = owner(model, name)
    with torch.no_grad():
        if not parametrize.is_parametrized(module, leaf):
            getattr(module, leaf).masked_fill_(~mask, 0)
            return
        wanted = torch.where(mask, getattr(module, leaf), 0)
        originals = dict(_parametrisation(module, leaf).named_parameters(recurse=False))
        before = {key: original.clone() for key, original in originals.items()}
        for write in (_mask_original, _assign):
            if write(module, leaf, mask, wanted) and _reached(getattr(module, leaf), wanted, mask):
                return
            for key, original in originals.items():
                original.copy_(before[key])
    raise ValueError(f"{name} cannot be masked: its parametrisation does not give the masked weight")


def _mask_original(module: nn.Module, leaf: str, mask: Tensor, wanted: Tensor) -> bool:
    original = getattr(_parametrisation(module, leaf), "original", None)
    if not isinstance(original, Tensor) or original.shape != mask.shape:
        return False
    original.masked_fill_(~mask, 0)
    return True


def _assign(module: nn.Module, leaf: str, mask: Tensor, wanted: Tensor) -> bool:
    try:
        setattr(module, leaf, wanted)
    except (NotImplementedError, RuntimeError, ValueError):
        return False
    return True


def _reached(weight: Tensor, wanted: Tensor, mask: Tensor) -> bool:
    # A right inverse and its map change kept entries by their rounding; zeros stay exactly zero.
    close = torch.isclose(weight, wanted, rtol=32 * torch.finfo(weight.dtype).eps, atol=0.0)
    return bool((close & (mask | (weight == 0))).all())


def _parametrisation(module: nn.Module, leaf: str) -> nn.Module:
    parametrisations = module.parametrizations
    assert isinstance(parametrisations, nn.ModuleDict)
    return parametrisations[leaf]


def _identity(module: nn.Module, leaf: str) -> int:
    if parametrize.is_parametrized(module, leaf):
        first = next(_parametrisation(module, leaf).parameters(recurse=False), None)
        return id(getattr(module, leaf) if first is None else first)
    return id(getattr(module, leaf))
