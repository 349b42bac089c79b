"""Scales of blocks of a weight, trained beside it and folded into it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sparsetheory.constraints import COUNT, FLAG
from sparsetheory.gpu.core.layers import included_layers, is_transposed

__all__ = ["WeightScaling", "scale_weights"]


class WeightScaling(nn.Module):
    """Multiply a weight by one trained scale for each output and block of inputs.

    The inputs are cut into `groups` consecutive blocks of equal width. Scales start at 1. They do not change which
    entries are zero, and :func:`finalize` folds them into the weight. :func:`scale_weights` attaches them to a model.

    Parameters
    ----------
    groups : int
        Blocks of inputs; it must divide their number, which is checked when a weight is attached.
    transposed : bool
        Whether a linear layer stores its weight as (in, out).

    Notes
    -----
    Source: W. Huang, Y. Hu, J. Zhu, J. Chen, "CAST: Continuous and Differentiable Semi-Structured Sparsity-Aware
    Training for Large Language Models", 2025.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from torch.nn.utils import parametrize
    >>> layer = nn.Linear(4, 3)
    >>> _ = parametrize.register_parametrization(layer, "weight", WeightScaling(groups=2))
    >>> layer.parametrizations.weight[0].scales.shape
    torch.Size([3, 2])
    """

    scales: nn.Parameter | None

    def __init__(self, groups: int = 2, *, transposed: bool = False) -> None:
        super().__init__()
        self.groups = COUNT.check("groups", groups)
        self.transposed = FLAG.check("transposed", transposed)
        self.register_parameter("scales", None)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the scaled weight."""
        return weight * self._factors(weight)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return what to store for a weight: the weight divided by its scales."""
        return weight / self._factors(weight)

    def make_scales(self, weight: Tensor) -> nn.Parameter:
        """Make the scales for a weight, all 1, of its dtype and device; torch does so by showing it the first weight.

        Raises
        ------
        ValueError
            If the number of inputs is not a multiple of that of the groups.
        """
        out, inputs = self._axes(weight)
        if weight.ndim < 2 or weight.shape[inputs] % self.groups:
            got = tuple(weight.shape)
            raise ValueError(f"weight must have a multiple of {self.groups} inputs to be scaled in groups; got {got}")
        ones = torch.ones(weight.shape[out], self.groups, dtype=weight.dtype, device=weight.device)
        self.scales = nn.Parameter(ones)
        return self.scales

    def _axes(self, weight: Tensor) -> tuple[int, int]:
        return (1, 0) if self.transposed and weight.ndim == 2 else (0, 1)

    def _factors(self, weight: Tensor) -> Tensor:
        """Return the scale of each entry, in a shape that broadcasts over the places of a filter."""
        scales = self.make_scales(weight) if self.scales is None else self.scales
        out, inputs = self._axes(weight)
        columns = scales.repeat_interleave(weight.shape[inputs] // self.groups, dim=1)
        return columns.T if out else columns.reshape(*columns.shape, *[1] * (weight.ndim - 2))


def scale_weights(
    model: nn.Module,
    groups: int = 2,
    *,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] = (),
) -> list[str]:
    """Give layers of a model trained scales, in place; :func:`finalize` folds them into the weights.

    Make the optimiser after this.

    Parameters
    ----------
    model : torch.nn.Module
    groups : int
        Blocks of inputs of each layer, see :class:`WeightScaling`.
    include, exclude : str or sequence of str
        Names of layers or shell patterns, see :func:`sparsetheory.gpu.core.find_layers`. By default all linear and
        convolutional layers of the repeated blocks, see :func:`sparsetheory.gpu.core.block_layers`.

    Returns
    -------
    list of str
        Names of the layers.

    Raises
    ------
    ValueError
        If a name matches no layer, or the inputs of a layer are not a multiple of `groups`; the message names it, and
        the model is as before then.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> scale_weights(model)
    ['0', '2']
    >>> [name for name, _ in model[0].named_parameters()]
    ['bias', 'parametrizations.weight.original', 'parametrizations.weight.0.scales']
    """
    layers = included_layers(model, include, exclude)
    made = {name: WeightScaling(groups, transposed=is_transposed(layer)) for name, layer in layers.items()}
    for name, layer in layers.items():
        weight = layer.weight
        assert isinstance(weight, Tensor)
        try:
            made[name].make_scales(weight)
        except ValueError as error:
            raise ValueError(f"{name}.{error}") from error
    for name, layer in layers.items():
        parametrize.register_parametrization(layer, "weight", made[name])
    return list(layers)
