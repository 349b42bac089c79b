"""Feed-forward networks inside of a model: where their neurons are, what activates them, and runs with few of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.activations.selectors import Selector
from sparsetheory.gpu.core.layers import find_layers, weight_rows
from sparsetheory.gpu.core.recording import attention_mask, check_batches, observing, run_batches

__all__ = ["Hidden", "down_projections", "hidden_activations", "select_inputs"]

# Last layers of feed-forward networks by name: ours, Llama, BERT, OPT and ViT, GPT-2, T5, torch.
_DOWN = ("*.down", "*.down_proj", "*.output.dense", "*.fc2", "*.mlp.c_proj", "*.wo", "*.linear2")
_ATTENTION = ("*.attention.output.*", "*attn*")

Hidden = Mapping[str, tuple[Tensor, Tensor]]


def down_projections(model: nn.Module) -> list[str]:
    """Return the last layers of the feed-forward networks of a transformer; their inputs are the hidden activations.

    They are found by name: ``down`` of our own models, ``down_proj`` of Llama, ``output.dense`` of BERT outside of its
    attention, ``fc2``, ``mlp.c_proj``, ``wo`` and ``linear2`` of others.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If no layer has such a name.

    Examples
    --------
    >>> from sparsetheory.gpu.core.models import CharacterDecoder
    >>> down_projections(CharacterDecoder(27, width=16, n_layers=2, n_heads=2, hidden=32))
    ['blocks.0.feed_forward.down', 'blocks.1.feed_forward.down']
    """
    names = list(find_layers(model))
    found = [name for name in names if _matches(name, _DOWN) and not _matches(name, _ATTENTION)]
    if not found:
        raise ValueError(
            f"model must have layers named as {', '.join(_DOWN)}; got {', '.join(names[:5])}, ...: pass layers"
        )
    return found


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(f".{name}", pattern) for pattern in patterns)


def hidden_activations(
    model: nn.Module, batches: Iterable[Any], layers: str | Sequence[str] | None = None
) -> dict[str, tuple[Tensor, Tensor]]:
    """Run a model and return the hidden activations of its feed-forward networks at all real tokens.

    Parameters
    ----------
    model : torch.nn.Module
        Run in evaluation mode and without gradients.
    batches : iterable
        What the model takes. Tokens where the entry ``"attention_mask"`` of a mapping is 0 are left out.
    layers : str or sequence of str, optional
        Down projections, by name or shell pattern; by default those of :func:`down_projections`.

    Returns
    -------
    dict of str to (Tensor, Tensor)
        Activations of shape (n_tokens, n_neurons), and the weight of shape (width, n_neurons). All of them are in
        memory together.

    Raises
    ------
    TypeError
        If `batches` is a single batch.
    ValueError
        If a name matches no layer, or there are no real tokens.
    """
    check_batches("batches", batches)
    chosen = find_layers(model, down_projections(model) if layers is None else layers)
    seen: dict[str, list[Tensor]] = {name: [] for name in chosen}
    real: Tensor | None = None

    def observe(name: str, layer: nn.Module, x: Tensor) -> None:
        rows = x.detach().reshape(-1, x.shape[-1])
        counted = real is not None and real.numel() == rows.shape[0]
        # Cloned, as a model may write into its activations later.
        seen[name].append(rows[real.reshape(-1).to(rows.device) != 0] if counted and real is not None else rows.clone())

    with observing(chosen, observe):
        for batch in batches:
            real = attention_mask(batch)
            for _ in run_batches(model, [batch]):
                pass
    if not all(sum(len(rows) for rows in parts) for parts in seen.values()):
        raise ValueError("batches must hold real tokens that reach every layer; got none")
    return {name: (torch.cat(parts), weight_rows(chosen[name])) for name, parts in seen.items()}


@contextmanager
def select_inputs(model: nn.Module, selectors: Mapping[str, Selector]) -> Iterator[None]:
    """Set inputs of layers to zero where selectors do not keep them, while a block of code runs the model.

    Entries are multiplied by no mask but replaced, and all products are computed: this measures quality, not speed.

    Parameters
    ----------
    model : torch.nn.Module
    selectors : mapping of str to callable
        From names of layers to selectors of their inputs.

    Raises
    ------
    ValueError
        If a name is not one of a linear or convolutional layer.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 1, bias=False))
    >>> with torch.no_grad(), select_inputs(model, {"0": lambda x: x > 9}):
    ...     model(torch.ones(1, 2))
    tensor([[0.]])
    """
    chosen = find_layers(model, list(selectors)) if selectors else {}

    def hook_of(selector: Selector) -> Callable[..., Any]:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return (_kept(args[0], selector), *args[1:]), kwargs
            name, x = next(iter(kwargs.items()))
            return args, {**kwargs, name: _kept(x, selector)}

        return hook

    handles = [
        layer.register_forward_pre_hook(hook_of(selectors[name]), with_kwargs=True) for name, layer in chosen.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _kept(x: Tensor, selector: Selector) -> Tensor:
    return x.masked_fill(~selector(x), 0)
