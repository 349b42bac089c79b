"""Layers left out, exchanged or replaced by an affine map while a block of code runs a model, by forward hooks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.gpu.analysis.depth.blocks import hidden_input, one_block, with_hidden

__all__ = ["linearised", "skip_layer", "swapped"]

# From what a layer was called with, and what it gave, to what it shall give.
Replacement = Callable[[tuple[Any, ...], dict[str, Any], Any], Any]
# Arguments by which models hand a layer its cache of keys and values, or its state.
_CACHES = ("past_key_values", "past_key_value", "layer_past", "cache_params", "cache")


@contextmanager
def skip_layer(model: nn.Module, i: int | str) -> Iterator[None]:
    """Leave out a layer while a block of code runs the model: the residual stream passes by it unchanged.

    The layer still runs, so that caches fill as ever; what it gives is put aside. Other outputs of the layer, such as
    attention weights, stay.

    Parameters
    ----------
    model : torch.nn.Module
        Its weights are not touched. The hook is removed at the end, also after an error.
    i : int or str
        Number of the layer among :func:`residual_layers`, or its name.

    Raises
    ------
    ValueError
        If there is no such layer, it occurs in several places, or its outputs do not have the shape of its inputs.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model, x = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), torch.ones(1, 2)
    >>> with skip_layer(model, 0):
    ...     skipped = model(x)
    >>> torch.equal(skipped, model[1](x))
    True
    """
    with _replaced({one_block(model, i): lambda args, kwargs, output: with_hidden(output, hidden_input(args, kwargs))}):
        yield


@contextmanager
def swapped(model: nn.Module, i: int | str, j: int | str) -> Iterator[None]:
    """Exchange two layers while a block of code runs the model.

    Each runs in the place of the other one, with the arguments that are given there, such as masks and positions.

    Parameters
    ----------
    model : torch.nn.Module
        Its weights are not touched. The hooks are removed at the end, also after an error.
    i, j : int or str
        As in :func:`skip_layer`. A layer may be exchanged with itself.

    Raises
    ------
    ValueError
        If there are no such layers, one occurs in several places, or a layer is called with a cache of keys and values
        or a state: run the model without, as by ``use_cache=False``.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> x = torch.ones(1, 2)
    >>> with swapped(model, 0, 1):
    ...     other = model(x)
    >>> torch.equal(other, model[0](model[1](x)))
    True
    """
    a, b = one_block(model, i), one_block(model, j, "j")
    if a is b:
        yield
        return

    def run(other: nn.Module) -> Replacement:
        def replacement(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            # Not a call, whose hooks would exchange the layers back.
            return other.forward(*args, **kwargs)

        return replacement

    handles = [layer.register_forward_pre_hook(_refuse_caches, with_kwargs=True) for layer in (a, b)]
    try:
        with _replaced({a: run(b), b: run(a)}):
            yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def linearised(model: nn.Module, i: int | str, W: Tensor, b: Tensor | None = None) -> Iterator[None]:
    """Replace a layer by the affine map ``x @ W.T + b`` while a block of code runs the model.

    Parameters
    ----------
    model : torch.nn.Module
        Its weights are not touched. The hook is removed at the end, also after an error.
    i : int or str
        As in :func:`skip_layer`.
    W : Tensor of shape (width, width)
        One row per output and one column per input, as in ``torch.nn.Linear``; moved to device and dtype of the stream.
    b : Tensor of shape (width,), optional
        By default 0.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    See Also
    --------
    linear_map : The map of least squares.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> with linearised(model, 1, torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([3.0, 4.0])):
    ...     print(model(torch.ones(1, 2)).tolist())
    [[3.0, 4.0]]
    """
    layer = one_block(model, i)
    if W.ndim != 2 or (b is not None and b.shape != W.shape[:1]):
        got = f"{tuple(W.shape)} and {None if b is None else tuple(b.shape)}"
        raise ValueError(f"W must have shape (width, width) and b shape (width,); got {got}")

    def replacement(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        x = hidden_input(args, kwargs)
        if W.shape[1] != x.shape[-1]:
            raise ValueError(f"W must have {x.shape[-1]} columns, one per input; got {W.shape[1]}")
        return with_hidden(output, functional.linear(x, W.to(x), None if b is None else b.to(x)))

    with _replaced({layer: replacement}):
        yield


@contextmanager
def _replaced(replacements: Mapping[nn.Module, Replacement]) -> Iterator[None]:
    """Replace what layers give while a block of code runs."""

    def hook_of(replacement: Replacement) -> Callable[..., Any]:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            return replacement(args, kwargs, output)

        return hook

    handles = [
        layer.register_forward_hook(hook_of(replacement), with_kwargs=True)
        for layer, replacement in replacements.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _refuse_caches(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    for name in _CACHES:
        if kwargs.get(name) is not None:
            raise ValueError(f"layers must be exchanged without a cache or state; got {name}: pass use_cache=False")
