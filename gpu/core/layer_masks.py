"""Patterns on the weight of a layer, whatever order of axes it is stored in."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from sparsetheory.gpu.core.layers import is_transposed, weight_name
from sparsetheory.gpu.core.patterns import NM, BlockNM, Pattern, PerRow

__all__ = ["check_layer", "check_layer_shape", "layer_mask"]


def layer_mask(pattern: Pattern, score: Tensor, *, transposed: bool = False, name: str = "score") -> Tensor:
    """Return the mask of the weight of a linear or convolutional layer.

    A pattern sees a weight as (out, in), that of a convolution as (out, height, width, in). So groups of N:M run along
    the inputs, which is the order that hardware reads, and no group reaches over two places of a filter. Axes count in
    (out, in), whatever lies between. A row of :class:`PerRow` is all that makes one output.

    Parameters
    ----------
    pattern : Pattern
        What may be kept.
    score : Tensor of shape (out, in), or (out, in, places...) for a convolution
        Scores of the entries of the weight, as the layer stores it.
    transposed : bool
        Whether a linear layer stores its weight as (in, out).
    name : str
        What error messages call the tensor, such as the name of a layer.

    Returns
    -------
    Tensor of bool
        Of the shape of `score`.

    Raises
    ------
    TypeError, ValueError
        As :meth:`Pattern.mask` does.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import NM
    >>> filters = torch.arange(8.0).reshape(1, 4, 1, 2)  # four channels at two places
    >>> layer_mask(NM(2, 4), filters)[0, :, 0]
    tensor([[False, False],
            [False, False],
            [ True,  True],
            [ True,  True]])
    """
    seen = _seen(score, transposed)
    mask = _for_axes(pattern, seen.ndim, name).mask(_rows(pattern, seen), name=name).reshape(seen.shape)
    return mask.movedim(-1, 1) if mask.ndim > 2 else mask.T if transposed else mask


def check_layer(pattern: Pattern, layer: nn.Module, name: str) -> None:
    """Raise ValueError where the weight of a layer, which messages call by the layer's name, cannot have a pattern."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    check_layer_shape(pattern, weight.shape, transposed=is_transposed(layer), name=weight_name(name))


def check_layer_shape(pattern: Pattern, shape: Sequence[int], *, transposed: bool = False, name: str = "score") -> None:
    """Raise ValueError where the weight of a layer cannot have a pattern; see :func:`layer_mask`."""
    seen = _seen(torch.empty(tuple(shape), device="meta"), transposed)
    _for_axes(pattern, seen.ndim, name).check_shape(_rows(pattern, seen).shape, name=name)


def _seen(score: Tensor, transposed: bool) -> Tensor:
    return score.movedim(1, -1) if score.ndim > 2 else score.T if transposed else score


def _rows(pattern: Pattern, seen: Tensor) -> Tensor:
    return seen.flatten(1) if isinstance(pattern, PerRow) and seen.ndim > 2 else seen


def _for_axes(pattern: Pattern, n_axes: int, name: str) -> Pattern:
    """Return a pattern along one of the axes (out, in), for a weight that may have places of filters between them."""
    if n_axes == 2 or not isinstance(pattern, NM | BlockNM):
        return pattern
    if pattern.axis not in (-2, -1, 0, 1):
        raise ValueError(f"{name} has axes 0 and 1, out and in, for {pattern}; got axis {pattern.axis}")
    return replace(pattern, axis=0 if pattern.axis in (-2, 0) else -1)
