"""Layers as matrices: which layers a model has, and the weight and the inputs of one as rows."""

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

__all__ = [
    "as_weight",
    "block_layers",
    "check_own_weights",
    "check_prunable",
    "find_layers",
    "included_layers",
    "input_rows",
    "is_transposed",
    "weight_name",
    "weight_rows",
    "write_rows",
]


def find_layers(
    model: nn.Module, layers: str | Sequence[str] = "*", exclude: str | Sequence[str] = ()
) -> dict[str, nn.Module]:
    """Select the linear and convolutional layers of a model by name.

    These are linear layers, among them ``Conv1D`` of transformers, and two-dimensional convolutions without groups. All
    others, such as grouped, one-dimensional or transposed convolutions, are never found, and so stay dense.

    Parameters
    ----------
    model : torch.nn.Module
    layers, exclude : str or sequence of str
        Which to take, and which of these to leave out: names as ``model.named_modules()`` gives them, or shell patterns
        such as ``"*.query"``.

    Returns
    -------
    dict of str to torch.nn.Module
        In the order of the model. A layer that occurs under several names has the first one.

    Raises
    ------
    ValueError
        If an entry of `layers` or `exclude` matches no such layer; the message lists near names.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> list(find_layers(model, exclude="2"))
    ['0']
    """
    return _selected(model, layers, exclude, "layers")


def included_layers(
    model: nn.Module, include: str | Sequence[str] | None, exclude: str | Sequence[str]
) -> dict[str, nn.Module]:
    """Select layers as :func:`find_layers` does; None for those of :func:`block_layers`."""
    return _selected(model, block_layers(model) if include is None else include, exclude, "include")


def _selected(
    model: nn.Module, layers: str | Sequence[str], exclude: str | Sequence[str], argument: str
) -> dict[str, nn.Module]:
    known = {name: module for name, module in model.named_modules() if is_matrix(module)}
    chosen: set[str] = set()
    for pattern in _several(layers):
        chosen |= set(_matches(pattern, known, argument))
    for pattern in _several(exclude):
        chosen -= set(_matches(pattern, known, "exclude"))
    return {name: module for name, module in known.items() if name in chosen}


def block_layers(model: nn.Module) -> list[str]:
    """Return the layers that are usually compressed: those of the repeated blocks, whose weights nobody else uses.

    Repeated blocks are the members of every ``torch.nn.ModuleList``. Heads, poolers and embeddings lie outside; a model
    without such lists has all its linear and convolutional layers returned.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    list of str
        Names, as :func:`find_layers` and :func:`sparsetheory.gpu.weights.prune_model_layerwise` take them.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]), nn.Linear(4, 2))
    >>> block_layers(model)
    ['0.0', '0.1']
    """
    users = _users(model)
    own = [name for name, layer in find_layers(model).items() if len(users.get(id(_weight(layer)), ())) < 2]
    lists = [f"{name}." for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    inside = [name for name in own if name.startswith(tuple(lists))]
    return inside or own


def check_prunable(model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    """Find out whether the weights of layers can be replaced by what is best for the inputs of each.

    Raises
    ------
    ValueError
        If the weight of a layer is computed from other tensors, so that there is nothing to write to; other modules
        have the same weight; or a convolution pads in a way that :func:`input_rows` does not know.
    """
    check_own_weights(model, layers)
    for name, layer in layers.items():
        if isinstance(layer, nn.Conv2d):
            _check_padding(layer, f"{name}.")


def check_own_weights(model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    """Find out whether each layer has a weight that is a parameter, and its alone.

    Raises
    ------
    ValueError
        If the weight of a layer is computed from other tensors, or other modules have it.
    """
    users = _users(model)
    for name, layer in layers.items():
        weight = weight_name(name)
        if _is_computed(layer):
            raise ValueError(f"{weight} must be a parameter; got one that is computed from others, remove that first")
        others = [other for other in users[id(_weight(layer))] if other != name]
        if others:
            raise ValueError(f"{weight} must belong to {name} alone; {', '.join(others)} has it, too: leave it out")


def weight_name(layer: str) -> str:
    """Return the name of the weight of a layer; the layer may be the model itself, whose name is empty."""
    return f"{layer}.weight" if layer else "weight"


def _users(model: nn.Module) -> dict[int, list[str]]:
    """Return the names of the modules that have a parameter, by its identity."""
    users: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            users.setdefault(id(parameter), []).append(name)
    return users


def _is_computed(layer: nn.Module) -> bool:
    """Return whether a parametrisation, or a hook such as those of torch.nn.utils.prune, makes the weight."""
    return parametrize.is_parametrized(layer, "weight") or "weight" not in layer._parameters


def _check_padding(layer: nn.Conv2d, before: str = "") -> None:
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        got = f"{layer.padding}, {layer.padding_mode!r}"
        raise ValueError(f"{before}padding must be given as numbers, with zeros; got {got}")


def weight_rows(layer: nn.Module, weight: Tensor | None = None) -> Tensor:
    """Return the weight of a layer as a matrix with one row per output.

    Parameters
    ----------
    layer : torch.nn.Module
        Linear, or a two-dimensional convolution without groups; its inputs are ordered (height, width, channel), so
        that consecutive columns are channels at one place.
    weight : Tensor, optional
        Another tensor of the shape of the weight, such as a mask; by default the weight itself.

    Returns
    -------
    Tensor of shape (out, features)
        A view where memory allows.

    Examples
    --------
    >>> from torch import nn
    >>> weight_rows(nn.Conv2d(3, 8, kernel_size=5)).shape
    torch.Size([8, 75])
    """
    weight = _weight(layer).detach() if weight is None else weight
    if isinstance(layer, nn.Conv2d):
        return weight.permute(0, 2, 3, 1).reshape(weight.shape[0], -1)
    return weight.T if is_transposed(layer) else weight


def write_rows(layer: nn.Module, rows: Tensor) -> None:
    """Write a matrix with one row per output into the weight of a layer, in place and in its dtype.

    Parameters
    ----------
    layer : torch.nn.Module
        As :func:`weight_rows` takes it.
    rows : Tensor of shape (out, features)

    Raises
    ------
    ValueError
        If the weight is computed from other tensors, so that there is nothing to write to.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> layer = nn.Linear(2, 2)
    >>> write_rows(layer, torch.eye(2))
    >>> layer.weight.detach()
    tensor([[1., 0.],
            [0., 1.]])
    """
    if _is_computed(layer):
        raise ValueError("weight must be a parameter; got one that is computed from others, as by a parametrisation")
    with torch.no_grad():
        _weight(layer).copy_(as_weight(layer, rows))


def as_weight(layer: nn.Module, rows: Tensor) -> Tensor:
    """Return a matrix with one row per output, weights or a mask, in the shape of the weight of a layer."""
    if isinstance(layer, nn.Conv2d):
        out, channels, height, width = _weight(layer).shape
        return rows.reshape(out, height, width, channels).permute(0, 3, 1, 2)
    return rows.T if is_transposed(layer) else rows


def input_rows(layer: nn.Module, x: Tensor) -> Tensor:
    """Return the inputs that meet the rows of :func:`weight_rows`, in the last axis.

    Parameters
    ----------
    layer : torch.nn.Module
    x : Tensor
        What the layer is called with: of shape (..., features), for a convolution (batch, channels, height, width).

    Returns
    -------
    Tensor of shape (..., features)
        For a convolution (batch, places, features).

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> layer, x = nn.Conv2d(3, 8, kernel_size=5, bias=False), torch.ones(1, 3, 6, 6)
    >>> outputs = input_rows(layer, x) @ weight_rows(layer).T
    >>> torch.allclose(outputs, layer(x).flatten(2).mT, atol=1e-5)
    True
    """
    if not isinstance(layer, nn.Conv2d):
        return x
    _check_padding(layer)
    assert not isinstance(layer.padding, str)
    patches = functional.unfold(
        x if x.ndim == 4 else x.unsqueeze(0), layer.kernel_size, layer.dilation, layer.padding, layer.stride
    )
    batch, features, places = patches.shape
    channels = layer.in_channels
    ordered = patches.reshape(batch, channels, features // channels, places).permute(0, 3, 2, 1)
    return ordered.reshape(batch, places, features)


def is_transposed(layer: nn.Module) -> bool:
    """Return whether a linear layer keeps its weight as (in, out), as GPT-2 of transformers does."""
    # Importing transformers to ask for the class would take seconds.
    return type(layer).__name__ == "Conv1D" and type(layer).__module__ == "transformers.pytorch_utils"


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def is_matrix(module: nn.Module) -> bool:
    """Return whether a module is a linear layer, or a two-dimensional convolution without groups."""
    if isinstance(module, nn.Conv2d):
        return module.groups == 1
    return isinstance(module, nn.Linear) or is_transposed(module)


def _several(names: str | Sequence[str]) -> Sequence[str]:
    return [names] if isinstance(names, str) else names


def _matches(pattern: str, known: Mapping[str, nn.Module], argument: str) -> list[str]:
    found = [name for name in known if fnmatch(name, pattern)]
    if not found:
        near = difflib.get_close_matches(pattern, known, n=5, cutoff=0.3)
        hint = f"near names are {', '.join(near)}" if near else f"the first are {', '.join(list(known)[:5])}"
        if not known:
            hint = "the model has no linear or convolutional layer"
        raise ValueError(f"{argument} must name linear or convolutional layers; {pattern!r} matches none; {hint}")
    return found
