"""The weights of a model as its layers use them, each once, under every name that leads to it."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["EffectiveWeights", "effective_weights", "named_masks"]


@dataclass(frozen=True)
class EffectiveWeights:
    """The weights of a model.

    Parameters
    ----------
    tensors : dict of str to Tensor
        Every parameter once, in the order of the model. A parametrised or pruned weight is what its layer computes
        with, under the name without the parametrisation.
    aliases : dict of str to str
        From every name to the one in `tensors`: of shared parameters, and of layers that have a weight.
    """

    tensors: dict[str, Tensor]
    aliases: dict[str, str]

    def resolve(self, name: str, argument: str) -> str:
        """Return the name in `tensors` that a name stands for.

        Raises
        ------
        ValueError
            If there is none; the message calls the argument and lists near names.
        """
        if name in self.aliases:
            return self.aliases[name]
        near = difflib.get_close_matches(name, self.aliases, n=5, cutoff=0.3)
        hint = f"; near names are {', '.join(near)}" if near else ""
        raise ValueError(f"{argument} must name parameters of the model; got {name!r}{hint}")


def effective_weights(model: nn.Module) -> EffectiveWeights:
    """Collect the weights of a model, detached.

    Parameters of parametrisations themselves are no weights of the model: they are gone when these are removed.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 3))
    >>> model[1].weight = model[0].weight
    >>> found = effective_weights(model)
    >>> list(found.tensors)
    ['0.weight', '0.bias', '1.bias']
    >>> found.aliases["1.weight"], found.aliases["1"]
    ('0.weight', '0.weight')
    """
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[int, str] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        for short, source, value in _own_weights(module):
            name = f"{prefix}.{short}" if prefix else short
            aliases[name] = first.setdefault(id(source), name)
            if aliases[name] == name:
                tensors[name] = value
            if short == "weight" and prefix:
                aliases.setdefault(prefix, aliases[name])
    return EffectiveWeights(tensors, aliases)


def named_masks(weights: EffectiveWeights, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return masks under the names of `weights`, in the order of the model.

    Raises
    ------
    ValueError
        If a mask names no weight, has another shape, or two masks of one shared weight differ.
    """
    found: dict[str, Tensor] = {}
    for given, mask in masks.items():
        name = weights.resolve(given, "masks")
        shape = weights.tensors[name].shape
        if mask.dtype != torch.bool or mask.shape != shape:
            raise ValueError(
                f"masks[{given!r}] must be a bool tensor of shape {tuple(shape)}; got {mask.dtype} of "
                f"shape {tuple(mask.shape)}"
            )
        if name in found and not torch.equal(found[name].to(mask.device), mask):
            raise ValueError(f"masks must agree where weights are shared; got another mask of {name} under {given!r}")
        found[name] = mask
    return {name: found[name] for name in weights.tensors if name in found}


def _own_weights(module: nn.Module) -> Iterator[tuple[str, object, Tensor]]:
    """Yield name, what identifies a shared one, and value of the weights of one module without its children."""
    if isinstance(module, parametrize.ParametrizationList):
        return
    # Everything but a parameter that is used as it is stored is computed here, without a graph.
    with torch.no_grad():
        for short, value in module._parameters.items():
            if value is None:
                continue
            base = short.removesuffix("_orig")
            mask = module._buffers.get(f"{base}_mask") if base != short else None
            if mask is None:
                yield short, value, value.detach()
            else:  # torch.nn.utils.prune
                yield base, value, value * mask
        if parametrize.is_parametrized(module):
            lists = module.parametrizations
            assert isinstance(lists, nn.ModuleDict)
            for short, stored in lists.items():
                yield short, stored, getattr(module, short).detach()
