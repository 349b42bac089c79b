"""Channels of a network that lie along several axes of its parameters, and their permutation in place."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT

__all__ = ["ChannelAxis", "ChannelTies", "apply_permutation"]


@dataclass(frozen=True, eq=False)
class ChannelAxis:
    """Where channels lie along an axis of a parameter or buffer.

    Parameters
    ----------
    parameter : str
        Name, as ``model.state_dict()`` gives it.
    axis : int
    places : Tensor of int64 of shape (n_channels, repeats), optional
        Indices along the axis at which each channel lies: several after a flattening, one for each place in space. By
        default channel `i` lies at index `i` alone.
    rows : tuple of int, optional
        First row and the one behind the last, where only these of the parameter see the channels, as in a grouped
        convolution.
    """

    parameter: str
    axis: int
    places: Tensor | None = None
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class ChannelTies:
    """Axes that hold the same channels, so that they must be permuted together.

    Parameters
    ----------
    n_channels : int
    axes : tuple of ChannelAxis
    """

    n_channels: int
    axes: tuple[ChannelAxis, ...]


def apply_permutation(model: nn.Module, ties: ChannelTies, permutation: Tensor) -> None:
    """Permute channels of a network in place, along all axes that hold them.

    The function of the network is the same up to the order of sums, provided that `ties` are complete, as
    :func:`channel_ties` finds them. The inverse permutation, ``permutation.argsort()``, restores every bit. Gradients
    and states of optimisers stay as they are.

    Parameters
    ----------
    model : torch.nn.Module
        Its parameters and buffers are overwritten.
    ties : ChannelTies
    permutation : Tensor of integers of shape (n_channels,)
        What comes to channel `i` is what was channel ``permutation[i]``.

    Raises
    ------
    ValueError
        If `permutation` is none, or a parameter is missing, computed from others, or too short for its places; nothing
        has been changed then.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> X = torch.ones(1, 2)
    >>> before = model(X)
    >>> axes = ChannelAxis("0.weight", 0), ChannelAxis("0.bias", 0), ChannelAxis("2.weight", 1)
    >>> apply_permutation(model, ChannelTies(3, axes), torch.tensor([2, 0, 1]))
    >>> torch.allclose(model(X), before)
    True
    """
    order = _checked(permutation, ties.n_channels)
    known: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    known.update(model.named_buffers(remove_duplicate=False))
    steps = [(_tensor(known, each), each) for each in ties.axes]
    indices = [_source(tensor, each, order) for tensor, each in steps]
    with torch.no_grad():
        for (tensor, each), index in zip(steps, indices, strict=True):
            part = _part(tensor, each)
            part.copy_(part.index_select(each.axis, index.to(part.device)))


def _checked(permutation: Tensor, n: int) -> Tensor:
    COUNT.check("n_channels", n)
    good = isinstance(permutation, Tensor) and permutation.shape == (n,) and not permutation.is_floating_point()
    if not good or not torch.equal(permutation.cpu().to(torch.int64).sort().values, torch.arange(n)):
        raise ValueError(f"permutation must be a tensor that holds each of 0 to {n - 1} once; got {permutation!r}")
    return permutation.cpu().to(torch.int64)


def _tensor(known: dict[str, Tensor], where: ChannelAxis) -> Tensor:
    if where.parameter not in known:
        raise ValueError(f"ties must name parameters or buffers of the model; got {where.parameter!r}")
    return known[where.parameter]


def _part(tensor: Tensor, where: ChannelAxis) -> Tensor:
    return tensor if where.rows is None else tensor[where.rows[0] : where.rows[1]]


def _source(tensor: Tensor, where: ChannelAxis, order: Tensor) -> Tensor:
    """Return from which index of the axis each index is filled."""
    n = len(order)
    places = torch.arange(n)[:, None] if where.places is None else where.places.cpu()
    shape: Sequence[int] = _part(tensor, where).shape
    if not -len(shape) <= where.axis < len(shape):
        raise ValueError(f"ties must name an axis of {where.parameter}; got {where.axis} for shape {tuple(shape)}")
    length = shape[where.axis]
    fits = places.ndim == 2 and places.shape[0] == n and places.numel() == places.unique().numel()
    if not fits or int(places.min()) < 0 or int(places.max()) >= length:
        raise ValueError(
            f"ties must place each of {n} channels at own indices below {length} of {where.parameter}; "
            f"got places of shape {tuple(places.shape)}"
        )
    index = torch.arange(length)
    index[places] = places[order]
    return index
