"""All layers of a model pruned, one after the other, each on the inputs that the layers before it produce."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sparsetheory.constraints import FLAG
from sparsetheory.gpu.core.gram import Gram
from sparsetheory.gpu.core.layer_masks import check_layer
from sparsetheory.gpu.core.layers import block_layers, check_prunable, find_layers, weight_rows, write_rows
from sparsetheory.gpu.core.patterns import Pattern, as_pattern
from sparsetheory.gpu.core.recording import InputGroup, check_batches, collect_grams, input_groups
from sparsetheory.gpu.weights.layerwise.one_layer import LayerwiseResult, layerwise_prune
from sparsetheory.progress import tracked

__all__ = ["FewRowsWarning", "LayerInputs", "grams_in_order", "prune_model_layerwise"]

# A refit of half of the inputs on fewer rows than this for each input follows the calibration data too closely.
ROWS_PER_INPUT = 2


class FewRowsWarning(UserWarning):
    """A layer has too few calibration rows for its inputs."""


def prune_model_layerwise(
    model: nn.Module,
    batches: Iterable[Any],
    pattern: Pattern | str,
    method: str = "swap",
    *,
    layers: str | Sequence[str] | None = None,
    mask: Callable[[Any], Tensor | None] | None = None,
    sequential: bool = True,
    verbose: bool = False,
    **options: Any,
) -> dict[str, LayerwiseResult]:
    """Prune layers of a model in place.

    Parameters
    ----------
    model : torch.nn.Module
        Its weights are overwritten; see :func:`sparsetheory.gpu.compress` for a copy, progress on disk and a report.
    batches : iterable
        Calibration data, as :func:`sparsetheory.gpu.core.collect_grams` takes them.
    pattern : Pattern or str
        What may be kept of each layer, or text such as ``"2:4"``.
    method : str
        See :func:`layerwise_prune`.
    layers : str or sequence of str, optional
        Names or shell patterns. By default those of the repeated blocks of the model, without embeddings, poolers and
        heads; of a model without repeated blocks all linear and convolutional layers.
    mask : callable, optional
        From a batch to the tensor that is not zero where a token counts; the attention mask by default.
    sequential : bool
        Whether the inputs of a layer are those of the model with all layers before it pruned. If not, one pass collects
        the inputs of all layers of the dense model.
    verbose : bool
        Whether a progress bar is shown.
    **options
        Handed to :func:`layerwise_prune`.

    Returns
    -------
    dict of str to LayerwiseResult
        In the order in which the layers run.

    Raises
    ------
    TypeError
        If `batches` is a single batch.
    ValueError
        If a name matches no layer, a layer is never called, a pattern does not fit, or a weight is shared with another
        module or computed from other tensors; nothing has been changed then. Whatever else ends the run, such as an
        error of the model on a later batch, leaves the layers before that one pruned.

    Warns
    -----
    FewRowsWarning
        If a layer sees fewer than two calibration rows for each input.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.core import NM
    >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    >>> X = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    >>> found = prune_model_layerwise(model, [X], NM(2, 4), n_jobs=1)
    >>> {name: result.mask.float().mean().item() for name, result in found.items()}
    {'0': 0.5, '2': 0.5}
    """
    FLAG.check("sequential", sequential)
    check_batches("batches", batches)
    pattern = as_pattern(pattern)
    chosen = find_layers(model, block_layers(model) if layers is None else layers)
    check_prunable(model, chosen)
    for name, layer in chosen.items():
        check_layer(pattern, layer, name)
    results = {}
    steps = grams_in_order(model, list(batches), list(chosen), mask, sequential=sequential)
    for inputs in tracked(steps, "pruning", verbose, len(chosen)):
        layer = chosen[inputs.name]
        result = layerwise_prune(weight_rows(layer), inputs.calibration, pattern, method, **options)
        write_rows(layer, result.weight)
        results[inputs.name] = result
    return results


@dataclass(frozen=True, eq=False)
class LayerInputs:
    """The inputs of one layer, as Gram matrices.

    Parameters
    ----------
    name : str
        The layer.
    calibration : Gram
    held_out : Gram or None
        Of fresh data, where they were given.
    """

    name: str
    calibration: Gram
    held_out: Gram | None


def grams_in_order(
    model: nn.Module,
    batches: Sequence[Any],
    layers: Sequence[str],
    mask: Callable[[Any], Tensor | None] | None = None,
    *,
    held_out: Sequence[Any] | None = None,
    sequential: bool = True,
    done: Iterable[str] = (),
) -> Iterator[LayerInputs]:
    """Yield layers in the order in which they run, each with the Gram matrix of its inputs.

    Parameters
    ----------
    model, batches, layers, mask, sequential
        As in :func:`prune_model_layerwise`; whoever loops writes the new weights of a layer before the next is asked
        for.
    held_out : sequence, optional
        Fresh data like `batches`.
    done : iterable of str
        Layers that need no Gram matrix, as they have been pruned before.

    Yields
    ------
    LayerInputs
        Layers that share an input share its Gram matrices.
    """
    if not batches:
        raise ValueError("batches must hold at least 1 batch; got none")
    if held_out is not None and not held_out:
        raise ValueError("held_out must hold at least 1 batch; got none")
    groups = input_groups(model, batches[0], layers)
    called = {name for group in groups for name in group.layers}
    if missing := [name for name in layers if name not in called]:
        raise ValueError(f"layers must be called by the model; {', '.join(missing)} was not, in the first batch")
    before = set(done)
    left = [InputGroup(tuple(name for name in g.layers if name not in before), g.once) for g in groups]
    left = [group for group in left if group.layers]

    def collect(wanted: Sequence[InputGroup], last: str | None) -> list[dict[str, Gram]]:
        names = [name for group in wanted for name in _leaders(group)]
        sets = [batches] if held_out is None else [batches, held_out]
        return [collect_grams(model, data, names, mask, last=last) for data in sets]

    together = collect(left, None) if left and not sequential else None
    for group in left:
        found = together or collect([group], group.layers[0] if group.once else None)
        for name in group.layers:
            shared = [grams[name] if name in grams else grams[group.layers[0]] for grams in found]
            if not all(gram.n_samples for gram in shared):
                raise ValueError(f"{name} must see at least 1 row of the data that counts; got none, by the mask")
            _warn_of_few_rows(name, shared[0])
            yield LayerInputs(name, shared[0], shared[1] if len(shared) > 1 else None)


def _leaders(group: InputGroup) -> list[str]:
    """Return the layers whose inputs must be collected: one for all, unless layers are called again elsewhere."""
    return [group.layers[0]] if group.once else list(group.layers)


def _warn_of_few_rows(name: str, gram: Gram) -> None:
    needed = ROWS_PER_INPUT * gram.n_features
    if gram.n_samples < needed:
        warnings.warn(
            f"{name} has {gram.n_samples} calibration rows for {gram.n_features} inputs; use at least {needed}",
            FewRowsWarning,
            stacklevel=4,
        )
