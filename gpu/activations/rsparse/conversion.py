"""All linear layers of a model as R-Sparse layers, and back."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from sparsetheory.constraints import Constraint
from sparsetheory.gpu.activations.rsparse.budgets import RHO, SPARSITY
from sparsetheory.gpu.activations.rsparse.layer import RSparseLinear, check_linear
from sparsetheory.gpu.core.layers import check_own_weights, included_layers
from sparsetheory.gpu.core.recording import layer_inputs

__all__ = ["dense_model", "linear_layers", "put_layer", "realised_sparsity", "rsparse_model"]

Shares = float | Mapping[str, float]


def rsparse_model(
    model: nn.Module,
    batches: Iterable[Any],
    sparsity: Shares,
    rho: Shares,
    *,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] = (),
    scaled: bool | None = None,
    forced: bool = False,
) -> nn.Module:
    """Return a copy of a model whose linear layers are R-Sparse layers; :func:`dense_model` undoes it.

    Parameters
    ----------
    model : torch.nn.Module
        Not changed.
    batches : iterable
        Calibration, what the model takes: tensors, tuples of positional arguments, or mappings of keyword arguments.
        One dense forward pass per batch. Tokens whose ``"attention_mask"`` is 0 do not count.
    sparsity, rho : float or mapping of str to float
        As :meth:`RSparseLinear.from_linear` takes them: for all layers, or for each by name.
    include, exclude : str or sequence of str
        Which layers, and which of these not: names or shell patterns. By default those of the repeated blocks.
    scaled, forced
        As :meth:`RSparseLinear.from_linear` takes them.

    Returns
    -------
    torch.nn.Module
        Its layers of type :class:`RSparseLinear` hold ``budget`` and ``realised``.

    Raises
    ------
    TypeError
        If `batches` is a single batch.
    ValueError
        If a layer is not linear, shares its weight with others, is never called, or has no number in a mapping.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8))
    >>> sparse = rsparse_model(model, [torch.randn(50, 32)], 0.5, {"0": 1.0, "2": 0.8})
    >>> sparse[0].budget.channels, sparse[2].budget.rank, type(model[0]).__name__
    (16, 0, 'Linear')
    >>> restored = dense_model(sparse)
    >>> all(torch.equal(a, b) for a, b in zip(restored.parameters(), model.parameters()))
    True
    """
    layers = linear_layers(model, include, exclude)
    sparsities, rhos = _shares("sparsity", sparsity, layers, SPARSITY), _shares("rho", rho, layers, RHO)
    inputs = layer_inputs(model, batches, layers)
    converted = copy.deepcopy(model)
    for name, layer in layers.items():
        made = RSparseLinear.from_linear(
            layer, sparsities[name], rhos[name], inputs.pop(name), scaled=scaled, forced=forced
        )
        converted = put_layer(converted, name, made)
    return converted


def dense_model(model: nn.Module) -> nn.Module:
    """Return a copy of a model with dense layers in place of its R-Sparse layers.

    Parameters
    ----------
    model : torch.nn.Module
        Not changed.

    Returns
    -------
    torch.nn.Module
        Weights and biases are those of the R-Sparse layers, bit by bit. All replaced layers are ``torch.nn.Linear``.
    """
    restored = copy.deepcopy(model)
    for name, layer in list(restored.named_modules()):
        if isinstance(layer, RSparseLinear):
            restored = put_layer(restored, name, layer.to_linear())
    return restored


def realised_sparsity(model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
    """Measure which share of the inputs of R-Sparse layers lies off their masks while a model runs.

    Parameters
    ----------
    model : torch.nn.Module
        As :func:`rsparse_model` returns it.
    batches : iterable
        As there. Tokens whose ``"attention_mask"`` is 0 do not count.

    Returns
    -------
    dict of str to float
        One share for each R-Sparse layer.

    Raises
    ------
    ValueError
        If there is no R-Sparse layer, or one of them is never called.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> x = torch.randn(50, 32)
    >>> realised_sparsity(rsparse_model(nn.Linear(32, 8), [x], 0.75, 1.0), [x])
    {'': 0.75}
    """
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, RSparseLinear)}
    if not layers:
        raise ValueError("model must have R-Sparse layers; got none")
    inputs = layer_inputs(model, batches, layers)
    return {name: layer.input_sparsity(inputs[name]) for name, layer in layers.items()}


def linear_layers(
    model: nn.Module, include: str | Sequence[str] | None, exclude: str | Sequence[str]
) -> dict[str, nn.Module]:
    """Return the layers of a model that are to be converted, by name.

    Raises
    ------
    ValueError
        If one is not linear, or shares its weight with others.
    """
    layers = {
        name: check_linear(name or "model", layer) for name, layer in included_layers(model, include, exclude).items()
    }
    check_own_weights(model, layers)
    return layers


def put_layer(model: nn.Module, name: str, layer: nn.Module) -> nn.Module:
    """Put a layer in the place of that of a name, and return the model: the layer itself, if it has no name.

    One that occurs under several names is replaced at all of them.
    """
    if not name:
        return layer
    old = model.get_submodule(name)
    places = [(parent, child) for parent in model.modules() for child, one in parent._modules.items() if one is old]
    for parent, child in places:
        setattr(parent, child, layer)
    return model


def _shares(name: str, given: Shares, layers: Mapping[str, nn.Module], allowed: Constraint) -> dict[str, float]:
    if not isinstance(given, Mapping):
        return dict.fromkeys(layers, allowed.check(name, given))
    if missing := [layer for layer in layers if layer not in given]:
        raise ValueError(f"{name} must have a number for each layer; got none for {', '.join(missing)}")
    return {layer: allowed.check(f"{name}[{layer!r}]", given[layer]) for layer in layers}
