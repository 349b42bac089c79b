"""What goes into layers while a model runs: activations, their Gram matrices, and which layers share an input."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import MISSING, Choice
from sparsetheory.gpu.core.gram import Gram
from sparsetheory.gpu.core.layers import find_layers, input_rows
from sparsetheory.gpu.core.modes import in_mode

__all__ = [
    "InputGroup",
    "attention_mask",
    "call_on",
    "capture",
    "check_batches",
    "collect_grams",
    "counted_rows",
    "input_groups",
    "layer_inputs",
    "observing",
    "run_batches",
]

Observer = Callable[[str, nn.Module, Tensor], None]


class _Enough(Exception):
    """Ends the forward pass of a model: all that was wanted has been seen."""


@contextmanager
def capture(model: nn.Module, layers: str | Sequence[str] = "*") -> Iterator[dict[str, list[Tensor]]]:
    """Record the inputs of layers while a block of code runs the model.

    Parameters
    ----------
    model : torch.nn.Module
    layers : str or sequence of str
        Names or shell patterns, as :func:`find_layers` takes them.

    Yields
    ------
    dict of str to list of Tensor
        For each layer copies of its inputs, one per call, detached and on their device.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    >>> with capture(model) as inputs:
    ...     _ = model(torch.ones(1, 3))
    >>> inputs
    {'0': [tensor([[1., 1., 1.]])]}
    """
    chosen = find_layers(model, layers)
    seen: dict[str, list[Tensor]] = {name: [] for name in chosen}
    with observing(chosen, lambda name, _, x: seen[name].append(x.detach().clone())):
        yield seen


def collect_grams(
    model: nn.Module,
    batches: Iterable[Any],
    layers: str | Sequence[str] = "*",
    mask: Callable[[Any], Tensor | None] | None = None,
    *,
    n_shards: int = 4,
    last: str | None = None,
) -> dict[str, Gram]:
    """Collect the Gram matrices of the inputs of layers, one batch after the other.

    At no time is more held than the Gram matrices and the input of the one layer that is running.

    Parameters
    ----------
    model : torch.nn.Module
        Run in evaluation mode and without gradients; its mode is restored.
    batches : iterable
        What the model takes: a tensor, a tuple of positional arguments, or a mapping of keyword arguments.
    layers : str or sequence of str
        Names or shell patterns, as :func:`find_layers` takes them.
    mask : callable, optional
        From a batch to the tensor that is not zero where a token counts. By default the entry ``"attention_mask"`` of a
        mapping, where it has one. A layer whose input has neither its axes nor one row per token, after pooling for
        example, counts all rows.
    n_shards : int
        Parts of the data that can be left out later.
    last : str, optional
        Layer after whose input a forward pass may end, as nothing wanted comes later.

    Returns
    -------
    dict of str to Gram

    Raises
    ------
    TypeError
        If `batches` is a single batch.
    ValueError
        If a name matches no layer, `last` is none of the layers, or a layer is never called.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> grams = collect_grams(nn.Sequential(nn.Linear(3, 2)), [torch.eye(3)])
    >>> grams["0"].n_samples
    3
    """
    check_batches("batches", batches)
    chosen = find_layers(model, layers)
    (MISSING | Choice(*chosen)).check("last", last)
    grams: dict[str, Gram] = {}
    kept: Tensor | None = None

    def observe(name: str, layer: nn.Module, x: Tensor) -> None:
        rows = input_rows(layer, x)
        if name not in grams:
            grams[name] = Gram.empty(rows.shape[-1], n_shards=n_shards, device=rows.device)
        try:
            grams[name].update(rows, counted_rows(kept, rows))
        except ValueError as error:
            raise ValueError(f"inputs of {name}: {error}") from error
        if name == last:
            raise _Enough

    with observing(chosen, observe):
        for batch in batches:
            kept = (mask or attention_mask)(batch)
            _call(model, batch)
    if missing := [name for name in chosen if name not in grams]:
        raise ValueError(f"layers must be called by the model; {', '.join(missing)} was not, in any batch")
    return grams


def layer_inputs(model: nn.Module, batches: Iterable[Any], layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Run a model and return the inputs of layers as matrices with one token a row, those that count.

    Tokens where the entry ``"attention_mask"`` of a mapping is 0 are left out. All inputs are in memory together.

    Raises
    ------
    TypeError
        If `batches` is a single batch.
    ValueError
        If a layer gets no token.
    """
    check_batches("batches", batches)
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}
    kept: Tensor | None = None

    def observe(name: str, layer: nn.Module, x: Tensor) -> None:
        rows = input_rows(layer, x).detach()
        mask, flat = counted_rows(kept, rows), rows.reshape(-1, rows.shape[-1])
        # Copied, as a model may write into its activations later.
        seen[name].append(flat.clone() if mask is None else flat[mask.reshape(-1).to(flat.device) != 0])

    with observing(layers, observe):
        for batch in batches:
            kept = attention_mask(batch)
            for _ in run_batches(model, [batch]):
                pass
    if missing := [name for name, rows in seen.items() if not sum(map(len, rows))]:
        raise ValueError(f"batches must reach every layer with tokens; got none for {', '.join(missing)}")
    return {name: torch.cat(rows) for name, rows in seen.items()}


@dataclass(frozen=True)
class InputGroup:
    """Layers that are called with the same tensor.

    Parameters
    ----------
    layers : tuple of str
        Names, in the order of the calls.
    once : bool
        Whether each of them is called once in a forward pass.
    """

    layers: tuple[str, ...]
    once: bool


def counted_rows(mask: Tensor | None, rows: Tensor) -> Tensor | None:
    """Return the mask of tokens as one of rows, where the rows are tokens."""
    if mask is None or mask.shape == rows.shape[:-1]:
        return mask
    # Tokens of all samples one after the other.
    return mask.reshape(-1) if rows.ndim == 2 and mask.numel() == rows.shape[0] else None


def input_groups(model: nn.Module, batch: Any, layers: str | Sequence[str] = "*") -> list[InputGroup]:
    """Return the layers in the order in which they run, those that share one input together.

    Parameters
    ----------
    model : torch.nn.Module
    batch
        One batch, as :func:`collect_grams` takes it.
    layers : str or sequence of str
        Names or shell patterns. Those that the model does not call are left out.

    Returns
    -------
    list of InputGroup
        Query, key and value of one attention block form a group, for example.
    """
    groups: list[list[str]] = []
    inputs: list[tuple[Tensor, int]] = []
    calls: dict[str, int] = {}

    def observe(name: str, layer: nn.Module, x: Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        if calls[name] > 1:
            return
        # The tensor itself is kept, so that no later one can lie in its memory; its version tells of changes in place.
        if inputs and inputs[-1][0] is x and inputs[-1][1] == x._version:
            groups[-1].append(name)
        else:
            groups.append([name])
            inputs.append((x, x._version))

    with observing(find_layers(model, layers), observe):
        _call(model, batch)
    return [InputGroup(tuple(group), all(calls[name] == 1 for name in group)) for group in groups]


def run_batches(model: nn.Module, batches: Iterable[Any]) -> Iterator[Any]:
    """Yield the output of a model for each batch, in evaluation mode and without gradients."""
    for batch in batches:
        yield _call(model, batch)


def check_batches(name: str, batches: Any) -> None:
    """Raise if an argument is one batch in place of several: a tensor would be taken row by row, a mapping by its keys.

    Raises
    ------
    TypeError
        With the name of the argument.
    """
    if isinstance(batches, Tensor | Mapping):
        raise TypeError(f"{name} must be an iterable of batches; got one {type(batches).__name__}: put it into a list")


def attention_mask(batch: Any) -> Tensor | None:
    """Return the entry "attention_mask" of a batch that is a mapping, where it has one."""
    return batch.get("attention_mask") if isinstance(batch, Mapping) else None


@contextmanager
def observing(layers: Mapping[str, nn.Module], observe: Observer) -> Iterator[None]:
    """Call a function with name, layer and input whenever a layer is called, while a block of code runs."""

    def hook_of(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            observe(name, layer, args[0] if args else next(iter(kwargs.values())))

        return hook

    handles = [layer.register_forward_pre_hook(hook_of(name), with_kwargs=True) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def call_on(model: Callable[..., Any], batch: Any) -> Any:
    """Call a model on a batch: a tensor, a tuple of positional arguments, or a mapping of keyword arguments."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple | list) else model(batch)


def _call(model: nn.Module, batch: Any) -> Any:
    """Run a model on one batch, in evaluation mode, without gradients, until it ends or enough has been seen."""
    try:
        with in_mode(model, training=False), torch.no_grad():
            return call_on(model, batch)
    except _Enough:
        return None
