"""The layers of a residual network, and the residual stream in what they take and give."""

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

from torch import Tensor, nn

from sparsetheory.constraints import Integer

__all__ = ["find_blocks", "hidden_input", "hidden_output", "one_block", "residual_layers", "with_hidden"]


def residual_layers(model: nn.Module) -> list[str]:
    """Return the names of the repeated blocks of a model, in order.

    They are the members of the longest ``ModuleList`` or ``Sequential`` whose members are all of one class; the first
    such list wins ties.

    Parameters
    ----------
    model : torch.nn.Module
        A decoder or encoder of ``transformers``, a model of this package, or any other one that holds such a list.

    Returns
    -------
    list of str
        Names as ``model.named_modules()`` gives them.

    Raises
    ------
    ValueError
        If no list has two members of one class.

    Examples
    --------
    >>> from sparsetheory.gpu.core.models import CharacterDecoder
    >>> residual_layers(CharacterDecoder(27, width=16, n_layers=2, n_heads=2, hidden=32))
    ['blocks.0', 'blocks.1']
    """
    best: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential):
            continue
        members = list(module)
        if len({type(member) for member in members}) == 1 and len(members) > max(1, len(best)):
            best = [f"{name}.{place}" if name else str(place) for place in range(len(members))]
    if not best:
        raise ValueError("layers must be named: the model has no ModuleList or Sequential of several equal blocks")
    return best


def find_blocks(model: nn.Module, layers: str | Sequence[str] | None) -> dict[str, nn.Module]:
    """Return modules by name, each of which occurs once in the model.

    A shell pattern matches names of as many parts as it has itself: ``"blocks.*"`` does not match ``"blocks.0.norm"``.

    Raises
    ------
    ValueError
        If an entry matches no module, or a module occurs under several names: it would run in several places.
    """
    places: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
    if layers is None:
        chosen = set(residual_layers(model))
    else:
        patterns = [layers] if isinstance(layers, str) else layers
        chosen = {name for pattern in patterns for name in _matches(pattern, places)}
    found = {name: module for name, module in places.items() if name in chosen}
    for name, module in found.items():
        others = [other for other, one in places.items() if one is module and other != name]
        if others:
            raise ValueError(f"layers must each have a module of their own; got {name}, which is {others[0]}, too")
    return found


def one_block(model: nn.Module, i: int | str, name: str = "i") -> nn.Module:
    """Return a layer by its number among :func:`residual_layers`, or by its name."""
    if isinstance(i, str):
        found = find_blocks(model, [i])
        if len(found) > 1:
            raise ValueError(
                f"{name} must name one layer; {i!r} matches {len(found)}, the first of them {next(iter(found))}"
            )
        return found.popitem()[1]
    names = residual_layers(model)
    return find_blocks(model, [names[Integer(0, len(names) - 1).check(name, i)]]).popitem()[1]


def hidden_input(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """Return the residual stream that a layer is called with: its first argument."""
    x = args[0] if args else next(iter(kwargs.values()), None)
    if not isinstance(x, Tensor):
        raise TypeError(f"a layer must be called with the residual stream first; got {type(x).__name__}")
    return x


def hidden_output(output: Any) -> Tensor:
    """Return the residual stream that a layer gives: a tensor, or the first entry of a tuple or list."""
    hidden = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(hidden, Tensor):
        raise TypeError(f"a layer must give a tensor, or a tuple that begins with one; got {type(output).__name__}")
    return hidden


def with_hidden(output: Any, hidden: Tensor) -> Any:
    """Return what a layer gave, with another residual stream in it.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    shape = tuple(hidden_output(output).shape)
    if hidden.shape != shape:
        raise ValueError(f"a layer must be replaced by outputs of its shape {shape}; got {tuple(hidden.shape)}")
    if isinstance(output, tuple):
        return (hidden, *output[1:])
    return [hidden, *output[1:]] if isinstance(output, list) else hidden


def _matches(pattern: str, places: Mapping[str, nn.Module]) -> list[str]:
    parts = pattern.count(".")
    found = [name for name in places if name.count(".") == parts and name and fnmatch(name, pattern)]
    if not found:
        near = difflib.get_close_matches(pattern, places, n=3, cutoff=0.3)
        raise ValueError(f"layers must name modules of the model; {pattern!r} matches none; near are {near}")
    return found
