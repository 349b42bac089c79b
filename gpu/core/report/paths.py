"""Which weights lie on a path from an input of a network to an output."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

__all__ = ["dead_columns", "dead_rows", "effective_mask", "sequential_chains"]

# What passes every feature on by itself, so that a feature without an input stays without one.
_BY_FEATURE = (
    nn.AlphaDropout,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.CELU,
    nn.Dropout,
    nn.Dropout2d,
    nn.ELU,
    nn.Flatten,
    nn.GELU,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.MaxPool2d,
    nn.Mish,
    nn.PReLU,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Tanh,
)


def effective_mask(masks: Mapping[str, Tensor], chains: Iterable[Sequence[str]] | None = None) -> dict[str, Tensor]:
    """Keep of each mask the weights that lie on a path from an input to an output.

    A weight is on no path if no input reaches the neuron that it reads, or nothing reads the neuron that it feeds. A
    neuron that has a bias only is not reached by an input. Two passes over the masks, one in each direction.

    Parameters
    ----------
    masks : mapping of str to Tensor of bool
        Outputs along the first axis, inputs along the second; places of convolutions along the others.
    chains : iterable of sequences of str, optional
        Names of weights that follow each other, each layer fed by the one before alone. By default all masks form one
        chain, in their order. A weight in no chain keeps its mask.

    Returns
    -------
    dict of str to Tensor of bool
        One for each mask.

    Raises
    ------
    ValueError
        If a chain names no mask or one mask twice, or a layer cannot be fed by the one before: its inputs must be as
        many as the outputs before it, or a multiple where a convolution was flattened.

    Examples
    --------
    >>> import torch
    >>> first = torch.tensor([[True, True], [False, False]])
    >>> second = torch.tensor([[True, True]])
    >>> effective_mask({"first": first, "second": second})["second"]
    tensor([[ True, False]])
    """
    found = {name: mask.clone() for name, mask in masks.items()}
    chains = [list(chain) for chain in ([list(masks)] if chains is None else chains)]
    _check_chains(chains, masks)
    for chain in chains:
        reached: Tensor | None = None
        for name in chain:
            if reached is not None:
                found[name] &= _along(_fit(reached, found[name].shape[1]), 1, found[name].ndim)
            reached = ~dead_rows(found[name])
        read: Tensor | None = None
        for name in reversed(chain):
            if read is not None:
                outputs = found[name].shape[0]
                found[name] &= _along(read.reshape(outputs, -1).any(1), 0, found[name].ndim)
            read = ~dead_columns(found[name])
    return found


def dead_rows(mask: Tensor) -> Tensor:
    """Return which outputs have no input, bool of shape (out,)."""
    return ~mask.reshape(mask.shape[0], -1).any(1)


def dead_columns(mask: Tensor) -> Tensor:
    """Return which inputs no output reads, bool of shape (in,)."""
    return dead_rows(mask.transpose(0, 1))


def sequential_chains(model: nn.Module, names: Iterable[str]) -> list[list[str]]:
    """Find the weights that feed each other in the ``nn.Sequential`` parts of a model.

    Parameters
    ----------
    model : torch.nn.Module
    names : iterable of str
        Weights to look for, under names of parameters of the model.

    Returns
    -------
    list of list of str
        Chains of two and more weights, between which each feature is passed on by itself.
    """
    wanted = set(names)
    chains: list[list[str]] = []
    for prefix, module in model.named_modules():
        if not isinstance(module, nn.Sequential) or isinstance(_parent(model, prefix), nn.Sequential):
            continue
        chain: list[str] = []
        for name, child in _flat(module, prefix):
            if _feeds(child) and f"{name}.weight" in wanted:
                chain.append(f"{name}.weight")
            elif not isinstance(child, _BY_FEATURE):
                chains.append(chain)
                chain = []
        chains.append(chain)
    return [chain for chain in chains if len(chain) > 1]


def _parent(model: nn.Module, name: str) -> nn.Module | None:
    return model.get_submodule(name.rpartition(".")[0]) if name else None


def _flat(module: nn.Module, prefix: str) -> Iterable[tuple[str, nn.Module]]:
    for short, child in module.named_children():
        name = f"{prefix}.{short}" if prefix else short
        if isinstance(child, nn.Sequential):
            yield from _flat(child, name)
        else:
            yield name, child


def _feeds(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.groups == 1
    return isinstance(module, nn.Linear)


def _check_chains(chains: Sequence[Sequence[str]], masks: Mapping[str, Any]) -> None:
    names = [name for chain in chains for name in chain]
    if unknown := [name for name in names if name not in masks]:
        raise ValueError(f"chains must name masks; got {', '.join(unknown)}")
    if len(set(names)) < len(names):
        raise ValueError(f"chains must name each mask once; got {chains!r}")
    for chain in chains:
        for before, after in pairwise(chain):
            outputs, inputs = masks[before].shape[0], masks[after].shape[1]
            if outputs < 1 or inputs < 1 or inputs % outputs:
                raise ValueError(f"{after} must have a multiple of the {outputs} outputs of {before}; got {inputs}")


def _fit(reached: Tensor, inputs: int) -> Tensor:
    # A flattened convolution has the places of each channel next to each other.
    return reached.repeat_interleave(inputs // len(reached))


def _along(entries: Tensor, axis: int, ndim: int) -> Tensor:
    return entries.reshape([-1 if i == axis else 1 for i in range(ndim)])
