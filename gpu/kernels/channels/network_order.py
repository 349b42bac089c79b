"""Channels of a whole network in an order in which blocks of rows lose little."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, FLAG
from sparsetheory.gpu.core.layers import find_layers
from sparsetheory.gpu.core.patterns.base import DENSITY
from sparsetheory.gpu.kernels.channels.axes import ChannelTies, apply_permutation
from sparsetheory.gpu.kernels.channels.following import channel_ties
from sparsetheory.gpu.kernels.row_order import METHOD, block_energy, rearrange

__all__ = ["ChannelOrder", "rearrange_channels"]


@dataclass(frozen=True, eq=False)
class ChannelOrder:
    """The new order of one set of channels.

    Parameters
    ----------
    ties : ChannelTies
        Where the channels lie.
    layers : tuple of str
        The layers with these channels as outputs, whose rows were to share blocks.
    permutation : Tensor of int64 of shape (n_channels,)
        What came to channel `i` was channel ``permutation[i]``; the identity where the method found nothing better.
    retained_before, retained_after : float
        Share of the energy of the rows that the best positions of blocks retain; each layer counts the same.
    """

    ties: ChannelTies
    layers: tuple[str, ...]
    permutation: Tensor
    retained_before: float
    retained_after: float


def rearrange_channels(
    model: nn.Module,
    example: Any,
    size: int = 4,
    *,
    density: float = 0.5,
    method: str = "greedy",
    layers: str | Sequence[str] = "*",
    pad: bool = False,
    ties: Sequence[ChannelTies] | None = None,
) -> tuple[ChannelOrder, ...]:
    """Permute the hidden channels of a network in place, so that blocks of rows lose little when they are pruned.

    The function of the network stays the same up to the order of sums. Rearrange before pruning: afterwards, rows of a
    block share their zeros, and a permutation would part them.

    Parameters
    ----------
    model : torch.nn.Module
        Its parameters and buffers are overwritten.
    example : Tensor or tuple
        As in :func:`channel_ties`; not read if `ties` are given.
    size, density, method, pad
        As in :func:`rearrange`. An order that retains less than the given one is not taken.
    layers : str or sequence of str
        Names or shell patterns of the layers whose rows are to share blocks; all linear layers and convolutions without
        groups by default. Channels that are no outputs of such layers stay in place.
    ties : sequence of ChannelTies, optional
        Sets of channels with all axes that hold them, for a model that cannot be traced. By default they are found.

    Returns
    -------
    tuple of ChannelOrder
        One for each set of channels that are outputs of `layers`.

    Raises
    ------
    ValueError
        As :func:`channel_ties` and :func:`rearrange` do; nothing has been changed then.

    Notes
    -----
    A set of channels may be the outputs of several layers, as residual branches are. Their rows are laid side by side,
    each layer scaled to the same energy, and ordered once.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU(), nn.Conv2d(16, 8, 1))
    >>> x = torch.randn(1, 3, 8, 8)
    >>> before = model(x)
    >>> (order,) = rearrange_channels(model, x, 4, method="swaps")
    >>> order.layers, order.retained_after > order.retained_before
    (('0',), True)
    >>> torch.allclose(model(x), before, atol=1e-6)
    True
    """
    COUNT.check("size", size)
    DENSITY.check("density", density)
    METHOD.check("method", method)
    FLAG.check("pad", pad)
    chosen = find_layers(model, layers)
    orders = []
    for each in channel_ties(model, example) if ties is None else ties:
        names = _producers(chosen, each)
        if names:
            _check_size(names, each, size, pad)
            rows = torch.cat([_rows(chosen[name], each, name) for name in names], 1)
            orders.append(_ordered(each, names, rows, size, density, method, pad))
    for order in orders:
        apply_permutation(model, order.ties, order.permutation)
    return tuple(orders)


def _producers(chosen: dict[str, nn.Module], ties: ChannelTies) -> tuple[str, ...]:
    """Return the layers of which each channel is one row."""
    found = []
    for axis in ties.axes:
        name, _, tensor = axis.parameter.rpartition(".")
        once = axis.places is None or axis.places.shape[1] == 1
        if tensor == "weight" and axis.axis == 0 and once and name in chosen:
            found.append(name)
    return tuple(found)


def _check_size(names: Sequence[str], ties: ChannelTies, size: int, pad: bool) -> None:
    if ties.n_channels % size and not pad:
        raise ValueError(
            f"layers must have a multiple of {size} channels, or pad must be set; got {ties.n_channels} of "
            f"{', '.join(names)}"
        )


def _rows(layer: nn.Module, ties: ChannelTies, name: str) -> Tensor:
    """Return the rows of the channels in double precision, scaled to a norm of one."""
    places = next(axis.places for axis in ties.axes if axis.parameter == f"{name}.weight" and axis.axis == 0)
    weight = layer.weight
    assert isinstance(weight, Tensor)
    rows = weight.detach().cpu().to(torch.float64).flatten(1)
    rows = rows[: ties.n_channels] if places is None else rows[places[:, 0].cpu()]
    return rows / rows.norm().clamp(min=torch.finfo(rows.dtype).tiny)


def _ordered(
    ties: ChannelTies, names: tuple[str, ...], rows: Tensor, size: int, density: float, method: str, pad: bool
) -> ChannelOrder:
    permutation = rearrange(rows, size, method, density, pad=pad)
    before, after = block_energy(rows, size, density), block_energy(rows[permutation], size, density)
    if after < before:
        permutation, after = torch.arange(ties.n_channels), before
    return ChannelOrder(ties, names, permutation, before, after)
