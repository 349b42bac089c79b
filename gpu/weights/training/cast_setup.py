"""What a run with AdamS is made of: the groups of parameters, and how far its decay reaches."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from sparsetheory.constraints import COUNT, NONNEGATIVE
from sparsetheory.gpu.core.layers import included_layers, is_transposed

__all__ = ["adam_s_groups", "decay_budget"]


def adam_s_groups(
    model: nn.Module, *, include: str | Sequence[str] | None = None, exclude: str | Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return the parameters of a model in groups for :class:`AdamS`: weights to make sparse, and all others.

    Parameters
    ----------
    model : torch.nn.Module
        Its weights may have a :class:`WeightScaling`.
    include, exclude : str or sequence of str
        Names of layers or shell patterns whose weights are made sparse, see :func:`sparsetheory.gpu.core.find_layers`.
        By default all linear and convolutional layers of the repeated blocks, see
        :func:`sparsetheory.gpu.core.block_layers`.

    Returns
    -------
    list of dict
        Groups of named parameters. Add options of a group, such as ``"lr"``, to change them.

    Raises
    ------
    ValueError
        If a name matches no layer.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> for group in adam_s_groups(model, exclude="2"):
    ...     print(group["sparse"], [name for name, _ in group["params"]])
    True ['0.weight']
    False ['0.bias', '2.weight', '2.bias']
    """
    layers = included_layers(model, include, exclude)
    sparse = {id(_stored(layer)): is_transposed(layer) for layer in layers.values()}
    groups: list[dict[str, Any]] = [
        {"params": [], "sparse": True, "transposed": False},
        {"params": [], "sparse": True, "transposed": True},
        {"params": [], "sparse": False},
    ]
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            transposed = sparse.get(id(parameter))
            groups[2 if transposed is None else int(transposed)]["params"].append((name, parameter))
    return [group for group in groups if group["params"]]


def _stored(layer: nn.Module) -> Tensor:
    """Return the parameter that is the weight of a layer, or that parametrisations make the weight of."""
    if parametrize.is_parametrized(layer, "weight"):
        return layer.get_parameter("parametrizations.weight.original")
    return layer.get_parameter("weight")


def decay_budget(lrs: Iterable[float], total: int) -> float:
    """Return how far a decay can move weights, to the order of magnitude: the sum of ``lr_t t / total``.

    An entry off its mask, of no use to the loss, reaches about 3.3 times this far; 2.5 times with gradients of noise at
    the strength of the decay, and 0.6 times at ten times that. Weights to be pruned that lie much further out do not
    come to zero in time: raise the learning rate or the number of steps.

    Parameters
    ----------
    lrs : iterable of float
        Learning rates of steps 0, 1, ...
    total : int
        Steps of the whole run, `total_steps` of :class:`AdamS`.

    Returns
    -------
    float
        In units of weights.

    Raises
    ------
    ValueError
        If `total` is not positive or a rate is negative.

    Examples
    --------
    >>> round(decay_budget([2e-3] * 600, 600), 6)
    0.599
    """
    COUNT.check("total", total)
    rates = [NONNEGATIVE.check(f"lrs[{index}]", float(rate)) for index, rate in enumerate(lrs)]
    return math.fsum(rate * min(1.0, index / total) for index, rate in enumerate(rates))
