"""The residual stream of a network: what enters each layer, and what the layer adds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.analysis.depth.blocks import hidden_input, hidden_output
from sparsetheory.gpu.core.recording import attention_mask, counted_rows, run_batches

__all__ = ["LayerCall", "Mask", "Observe", "is_normalisation", "observe_stream", "without_cache"]

Mask = Callable[[Any], Tensor | None]


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of a layer.

    Parameters
    ----------
    x : Tensor of shape (n_tokens, width)
        Residual stream that enters, of the tokens that count.
    added : Tensor of shape (n_tokens, width)
        What the layer adds to it.
    args : tuple
    kwargs : dict of str to object
        What the layer was called with.
    rows : Tensor of bool of shape (...), or None
        Which tokens of the input count; None for all.
    post_norm : bool
        Whether the output is that of a normalisation inside the layer.
    """

    x: Tensor
    added: Tensor
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rows: Tensor | None
    post_norm: bool


Observe = Callable[[str, LayerCall], None]


def observe_stream(
    model: nn.Module, layers: Mapping[str, nn.Module], batch: Any, observe: Observe, mask: Mask | None = None
) -> Any:
    """Run a model on a batch, in evaluation mode and without gradients; show each call of a layer to a function.

    Returns
    -------
    object
        The output of the model.

    Raises
    ------
    ValueError
        If a layer is not called exactly once, writes into its input, or its output does not have the shape of its
        input.
    """
    counted = (mask or attention_mask)(batch)
    calls = dict.fromkeys(layers, 0)
    # What the normalisations of a layer gave last.
    normalised: dict[str, list[Tensor]] = {name: [] for name in layers}

    versions: dict[str, int] = {}

    def enter_hook_of(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            versions[name] = hidden_input(args, kwargs)._version

        return hook

    def hook_of(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            calls[name] += 1
            x, y = hidden_input(args, kwargs), hidden_output(output)
            if x._version != versions[name]:
                raise ValueError(f"layers must leave their input as it is; {name} writes into it")
            if x.shape != y.shape:
                raise ValueError(f"layers must keep the shape; {name} makes {tuple(y.shape)} of {tuple(x.shape)}")
            rows = counted_rows(counted, x)
            last = any(y is one for one in normalised[name])
            normalised[name].clear()
            inner, outer = (_tokens(part, rows) for part in (x, y))
            observe(name, LayerCall(inner, outer - inner, args, kwargs, rows, last))

        return hook

    def norm_hook_of(name: str) -> Callable[..., None]:
        def hook(norm: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            normalised[name].append(output)

        return hook

    handles = [layer.register_forward_hook(hook_of(name), with_kwargs=True) for name, layer in layers.items()]
    handles += [
        layer.register_forward_pre_hook(enter_hook_of(name), with_kwargs=True) for name, layer in layers.items()
    ]
    for name, layer in layers.items():
        norms = [module for module in layer.modules() if is_normalisation(module) and module is not layer]
        handles += [norm.register_forward_hook(norm_hook_of(name)) for norm in norms]
    try:
        output = next(iter(run_batches(model, [without_cache(model, batch)])))
    finally:
        for handle in handles:
            handle.remove()
    for name, count in calls.items():
        if count != 1:
            raise ValueError(f"layers must be called once in a forward pass; {name} was called {count} times")
    return output


def is_normalisation(module: nn.Module) -> bool:
    """Return whether a module normalises features, by the name of its class."""
    return "Norm" in type(module).__name__ and not any(True for _ in module.children())


def without_cache(model: nn.Module, batch: Any) -> Any:
    """Return a batch by which a model of ``transformers`` keeps no cache of keys and values.

    Raises
    ------
    ValueError
        If the batch holds a cache.
    """
    if not isinstance(batch, Mapping):
        return batch
    if batch.get("past_key_values") is not None:
        raise ValueError("batch must hold no cache of an earlier call; got past_key_values")
    uses = getattr(getattr(model, "config", None), "use_cache", False)
    return {**batch, "use_cache": False} if uses else batch


def _tokens(x: Tensor, rows: Tensor | None) -> Tensor:
    """Return the tokens that count, one a row, at least in single precision.

    They are copied, as a model may write into its activations later.
    """
    flat = x.detach().reshape(-1, x.shape[-1]).to(torch.promote_types(x.dtype, torch.float32))
    return flat.clone() if rows is None else flat[rows.reshape(-1).to(flat.device) != 0]
