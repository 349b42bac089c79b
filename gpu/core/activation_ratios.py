"""How many hidden activations of the feed-forward networks of a model are not zero."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from sparsetheory.gpu.core.layers import find_layers, input_rows, is_matrix
from sparsetheory.gpu.core.recording import attention_mask, check_batches, counted_rows, observing, run_batches

__all__ = ["activation_ratio", "hidden_layers"]

# The last layer of a feed-forward network, in our models and in those of transformers: LLaMA and its kin, OPT and BART,
# T5, GPT-2, GPT-NeoX, that of torch, and BERT and its kin, whose blocks of attention and of crossattention have an
# "output.dense" of their own.
_NAMES = ("down", "down_proj", "fc2", "wo", "mlp.c_proj", "dense_4h_to_h", "linear2", "output.dense")
_OTHER = "attention.output.dense"


def hidden_layers(model: nn.Module) -> list[str]:
    """Return the layers whose inputs are the hidden activations of feed-forward networks, found by their names.

    Parameters
    ----------
    model : torch.nn.Module
        One of ours, or of transformers.

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> from sparsetheory.gpu.core.models import CharacterDecoder
    >>> hidden_layers(CharacterDecoder(27, n_layers=2))
    ['blocks.0.feed_forward.down', 'blocks.1.feed_forward.down']
    """
    found = [
        name
        for name, module in model.named_modules()
        if is_matrix(module) and _ends(name, _NAMES) and not name.endswith(_OTHER)
    ]
    if not found:
        raise ValueError(
            "model must have feed-forward networks whose last layer has a known name, "
            f"{', '.join(_NAMES)}; got none: name the layers that hidden activations go into"
        )
    return found


def activation_ratio(
    model: nn.Module,
    batches: Iterable[Any],
    layers: str | Sequence[str] | None = None,
    mask: Callable[[Any], Tensor | None] | None = None,
) -> dict[str, float]:
    """Return which share of the inputs of layers is not zero.

    Parameters
    ----------
    model : torch.nn.Module
        Run in evaluation mode and without gradients; its mode is restored.
    batches : iterable
        As :func:`collect_grams` takes them.
    layers : str or sequence of str, optional
        Names or shell patterns, as :func:`find_layers` takes them. By default the last layers of feed-forward networks,
        see :func:`hidden_layers`.
    mask : callable, optional
        From a batch to the tensor that is not zero where a token counts, as in :func:`collect_grams`; by default the
        entry ``"attention_mask"`` of a mapping, so that padding does not count.

    Returns
    -------
    dict of str to float
        For each layer the share over all features and counted tokens of all batches, from 0 to 1.

    Raises
    ------
    TypeError
        If `batches` is a single batch.
    ValueError
        If no layer is found, or a layer is never called with a token that counts.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core.models import MLP
    >>> model = MLP([8, 32, 4])
    >>> x = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    >>> activation_ratio(model, [x], layers="2")["2"] == float((model[0](x) > 0).double().mean())
    True
    """
    check_batches("batches", batches)
    chosen = find_layers(model, hidden_layers(model) if layers is None else layers)
    active, total = dict.fromkeys(chosen, 0), dict.fromkeys(chosen, 0)
    kept: Tensor | None = None

    def observe(name: str, layer: nn.Module, x: Tensor) -> None:
        rows = input_rows(layer, x)
        counted = counted_rows(kept, rows)
        if counted is not None:
            rows = rows[counted.bool()]
        active[name] += int((rows != 0).sum())
        total[name] += rows.numel()

    def masked() -> Iterable[Any]:
        nonlocal kept
        for batch in batches:
            kept = (mask or attention_mask)(batch)
            yield batch

    with observing(chosen, observe):
        for _ in run_batches(model, masked()):
            pass
    if empty := [name for name in chosen if not total[name]]:
        raise ValueError(f"batches must hold tokens that count for every layer; got none for {', '.join(empty)}")
    return {name: active[name] / total[name] for name in chosen}


def _ends(name: str, ends: Sequence[str]) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in ends)
