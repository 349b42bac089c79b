"""Quality over sparsity for any method that prunes at once."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from sparsetheory.constraints import Choice
from sparsetheory.gpu.core.densities import erk_densities, uniform_densities
from sparsetheory.gpu.core.layers import block_layers, find_layers, weight_name
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.patterns import PerRow
from sparsetheory.gpu.core.random_topology import random_masks
from sparsetheory.gpu.weights.layerwise.dispatch import METHODS
from sparsetheory.gpu.weights.layerwise.model_pruning import prune_model_layerwise
from sparsetheory.gpu.weights.one_shot.magnitude_masks import SPARSITY, one_shot_masks

__all__ = ["evaluate_pruned", "layer_weights"]


def layer_weights(model: nn.Module, layers: str | Sequence[str] = "*") -> dict[str, nn.Parameter]:
    """Return the weights of linear and convolutional layers under the names of their parameters.

    Parameters
    ----------
    model : torch.nn.Module
    layers : str or sequence of str
        Names or shell patterns, as :func:`find_layers` takes them.

    Returns
    -------
    dict of str to torch.nn.Parameter
        In the order of the model; a weight that several layers share once.

    Raises
    ------
    ValueError
        If a weight is computed from other tensors, as by a parametrisation.
    """
    found: dict[str, nn.Parameter] = {}
    for layer, module in find_layers(model, layers).items():
        name = weight_name(layer)
        weight = module._parameters.get("weight")
        if weight is None:
            raise ValueError(f"{name} must be a parameter; got one that is computed from others, remove that first")
        if all(weight is not other for other in found.values()):
            found[name] = weight
    return found


def evaluate_pruned(
    evaluate: Callable[[nn.Module], float],
    model: nn.Module,
    method: str = "global",
    batches: Iterable[Any] | None = None,
    *,
    layers: str | Sequence[str] | None = None,
    random_state: int = 0,
    **options: Any,
) -> Callable[[float], float]:
    """Return the quality of a pruned copy of a model as a function of its sparsity, for :func:`essential_sparsity`.

    Parameters
    ----------
    evaluate : callable
        From a model to its quality, larger is better. It may train the copy that it is given.
    model : torch.nn.Module
        Stays as it is; each call prunes a copy.
    method : str
        ``"global"`` or ``"layer"`` removes the smallest weights, of all layers together or of each; ``"random"`` and
        ``"random_erk"`` remove random ones, with equal densities or those of :func:`erk_densities`. Any other is a
        method of :func:`prune_model_layerwise` and removes equal shares of each row.
    batches : iterable, optional
        Calibration data, for the methods of :func:`prune_model_layerwise`.
    layers : str or sequence of str, optional
        By default those of the repeated blocks, see :func:`block_layers`.
    random_state : int
        Seed of random masks, the same at every sparsity.
    **options
        Handed to :func:`prune_model_layerwise`.

    Returns
    -------
    callable
        From a sparsity below 1 to a quality. At sparsity 0 the copy is the dense model, bit for bit.

    Raises
    ------
    ValueError
        If the method is none of these, or has no calibration data. What it raises itself comes from the returned
        function.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Linear(4, 1, bias=False)
    >>> _ = model.weight.data.copy_(torch.tensor([[4.0, 3.0, 2.0, 1.0]]))
    >>> quality = evaluate_pruned(lambda pruned: pruned.weight.sum().item(), model)
    >>> quality(0.0), quality(0.5)
    (10.0, 7.0)
    """
    Choice("global", "layer", *_RANDOM, *METHODS).check("method", method)
    if method in METHODS and batches is None:
        raise ValueError(f"batches must be given for method {method!r}; got None")
    data = [] if batches is None else list(batches)
    chosen = block_layers(model) if layers is None else layers

    def quality(sparsity: float) -> float:
        pruned = copy.deepcopy(model)
        if SPARSITY.check("sparsity", sparsity) > 0:
            _prune(pruned, sparsity)
        return float(evaluate(pruned))

    def _prune(pruned: nn.Module, sparsity: float) -> None:
        if method in ("global", "layer", *_RANDOM):
            _masks(layer_weights(pruned, chosen), sparsity, method, random_state).apply(pruned)
            return
        prune_model_layerwise(pruned, data, PerRow(density=1.0 - sparsity), method, layers=chosen, **options)

    return quality


_RANDOM: Mapping[str, Callable[..., dict[str, float]]] = {"random": uniform_densities, "random_erk": erk_densities}


def _masks(weights: Mapping[str, Tensor], sparsity: float, method: str, random_state: int) -> MaskSet:
    if method not in _RANDOM:
        return one_shot_masks(weights, sparsity, method)
    shapes = {name: weight.shape for name, weight in weights.items()}
    return random_masks(shapes, _RANDOM[method](shapes, 1.0 - sparsity), random_state)
