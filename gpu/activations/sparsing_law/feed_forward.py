"""Feed-forward networks inside of a model: what activates their neurons, and runs with few of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from sparsetheory.gpu.activations.selectors import Selector
from sparsetheory.gpu.core.activation_ratios import hidden_layers
from sparsetheory.gpu.core.layers import find_layers, weight_rows
from sparsetheory.gpu.core.recording import layer_inputs

__all__ = ["Hidden", "hidden_activations", "select_inputs"]

Hidden = Mapping[str, tuple[Tensor, Tensor]]


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
        Down projections, by name or shell pattern; by default those of :func:`sparsetheory.gpu.core.hidden_layers`.

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
        If a name matches no layer, or no real token reaches a layer.
    """
    chosen = find_layers(model, hidden_layers(model) if layers is None else layers)
    inputs = layer_inputs(model, batches, chosen)
    return {name: (inputs[name], weight_rows(layer)) for name, layer in chosen.items()}


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
