"""What of a model holds the weight of a name: the tensor that an optimiser trains, and how zeros get into it."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["stored", "write_masked"]


def stored(model: nn.Module, name: str) -> Tensor:
    """Return the tensor that an optimiser trains for a weight: itself, or the original that it is made of.

    Raises
    ------
    ValueError
        If a parametrisation is made of several tensors.
    """
    module, leaf = _owner(model, name)
    if _pruned(module, leaf):
        return module.get_parameter(f"{leaf}_orig")
    if not parametrize.is_parametrized(module, leaf):
        return getattr(module, leaf)
    original = getattr(_parametrisation(module, leaf), "original", None)
    if not isinstance(original, Tensor):
        raise ValueError(f"{name} must be stored as one tensor; its parametrisation has several")
    return original


def write_masked(model: nn.Module, name: str, mask: Tensor) -> None:
    """Set a weight to zero off its mask, in place, so that its layer computes with the masked weight.

    A parametrised weight is masked in its original where that gives the masked weight, as it does for maps that act on
    each entry by itself. Otherwise it is assigned, by the right inverse of its parametrisation.

    Raises
    ------
    ValueError
        If neither gives the masked weight; the weight is as before then.
    """
    module, leaf = _owner(model, name)
    with torch.no_grad():
        if _pruned(module, leaf):
            module.get_parameter(f"{leaf}_orig").masked_fill_(~mask, 0)
            return
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


def _owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf


def _pruned(module: nn.Module, leaf: str) -> bool:
    """Return whether torch.nn.utils.prune makes the weight, from an original and a mask of its own."""
    return f"{leaf}_orig" in module._parameters


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
