"""Tensors with many zeros, as packed values and one byte for the place of each.

A value of single precision takes 5 bytes, and no bits have to be looked through. Keys are packed by token; values by
channel within groups of tokens, so that a weighted sum over tokens is a row of products, too.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from sparsetheory.constraints import MISSING, Integer
from sparsetheory.gpu.attention.cache.bitmap import check_packable

__all__ = ["IndexColumns", "IndexRows"]

_MOST = 256


@dataclass(frozen=True, eq=False)
class IndexRows:
    """A tensor by token: of each token the same number of values, with their channels.

    Parameters
    ----------
    values : Tensor of shape (heads, tokens, n_nonzero)
    indices : Tensor of uint8 of that shape
        Channels. A token with fewer nonzeros has zeros at further channels.
    shape : tuple of int
        Of the tensor, (..., tokens, width); leading axes are joined to one of heads.

    Examples
    --------
    >>> import torch
    >>> packed = IndexRows.pack(torch.tensor([[0.0, 3.0, 0.0, 4.0], [5.0, 0.0, 0.0, 0.0]]))
    >>> packed.indices.tolist(), packed.values.tolist(), packed.nbytes
    ([[[1, 3], [0, 1]]], [[[3.0, 4.0], [5.0, 0.0]]], 20)
    """

    values: Tensor
    indices: Tensor
    shape: tuple[int, ...]

    @classmethod
    def pack(cls, x: Tensor, n_nonzero: int | None = None) -> "IndexRows":
        """Pack a tensor; its negative zeros become zeros, all else comes back as it was.

        Parameters
        ----------
        x : Tensor of shape (..., tokens, width)
            Finite numbers, of a width of at most 256: a channel is one byte.
        n_nonzero : int, optional
            Values of each token, as many as the fullest token has by default, and at least 1.

        Returns
        -------
        IndexRows

        Raises
        ------
        TypeError
            If `x` is not a tensor of floating-point numbers.
        ValueError
            If `x` is not finite, has no entries or is too wide, or a token has more nonzeros than `n_nonzero`.
        """
        heads = check_packable(x).flatten(0, -3) if x.ndim > 2 else check_packable(x).unsqueeze(0)
        width = x.shape[-1]
        if width > _MOST:
            raise ValueError(f"x must have a width of at most {_MOST}, whose channels fit into a byte; got {width}")
        kept = heads != 0
        most = max(1, int(kept.sum(-1).max()))
        (MISSING | Integer(most, width)).check("n_nonzero", n_nonzero)
        # A stable order of "dropped" brings what is kept to the front, by rising channels.
        order = torch.sort((~kept).to(torch.uint8), dim=-1, stable=True).indices[..., : n_nonzero or most]
        # Adding zero makes negative zeros positive.
        return cls(heads.gather(-1, order) + 0.0, order.to(torch.uint8), tuple(x.shape))

    def unpack(self) -> Tensor:
        """Return the dense tensor."""
        heads, tokens = self.values.shape[:2]
        dense = self.values.new_zeros(heads, tokens, self.shape[-1])
        return dense.scatter_(-1, self.indices.long(), self.values).reshape(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of values and indices."""
        return sum(part.numel() * part.element_size() for part in (self.values, self.indices))


@dataclass(frozen=True, eq=False)
class IndexColumns:
    """A tensor by channel: within each group of at most 256 tokens the nonzeros of a channel, with their tokens.

    Parameters
    ----------
    values : Tensor
        Of all heads one after the other; within a head by group, channel and token.
    indices : Tensor of uint8, as many
        Tokens within the group.
    offsets : Tensor of int32 of shape (heads, groups * width + 1)
        Where the values of a channel begin, from the start of its head on; then the end.
    shape : tuple of int
        Of the tensor, (..., tokens, width); leading axes are joined to one of heads.
    group : int
        Tokens of a group, the last of which may be short.

    Examples
    --------
    >>> import torch
    >>> packed = IndexColumns.pack(torch.tensor([[0.0, 3.0], [5.0, 4.0]]))
    >>> packed.values.tolist(), packed.indices.tolist(), packed.offsets.tolist()
    ([5.0, 3.0, 4.0], [1, 0, 1], [[0, 1, 3]])
    """

    values: Tensor
    indices: Tensor
    offsets: Tensor
    shape: tuple[int, ...]
    group: int = _MOST

    @classmethod
    def pack(cls, x: Tensor, group: int = _MOST) -> "IndexColumns":
        """Pack a tensor; its negative zeros become zeros, all else comes back as it was.

        Parameters
        ----------
        x : Tensor of shape (..., tokens, width)
            Finite numbers.
        group : int
            Tokens of a group, at most 256: a token is one byte. Long groups have long rows, which are fast.

        Returns
        -------
        IndexColumns

        Raises
        ------
        TypeError
            If `x` is not a tensor of floating-point numbers.
        ValueError
            If `x` is not finite, has no entries, or one head has 2**31 nonzeros or more.
        """
        size = Integer(1, _MOST).check("group", group)
        tokens, width = check_packable(x).shape[-2:]
        heads = functional.pad(x.detach().reshape(-1, tokens, width), (0, 0, 0, -tokens % size))
        columns = heads.unflatten(1, (-1, size)).transpose(2, 3)
        kept = columns != 0
        ends = functional.pad(kept.sum(-1).flatten(1).cumsum(-1), (1, 0))
        if int(ends.max()) >= 2**31:
            raise ValueError(f"x must have fewer than 2**31 nonzeros in each head; got {int(ends.max())}")
        indices = torch.arange(size, device=x.device).to(torch.uint8).expand(kept.shape)[kept]
        return cls(columns[kept], indices, ends.to(torch.int32), tuple(x.shape), size)

    def unpack(self) -> Tensor:
        """Return the dense tensor."""
        tokens, width = self.shape[-2:]
        counts = self.offsets.long().diff(dim=-1).flatten()
        rows = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        dense = self.values.new_zeros(len(counts), self.group)
        dense[rows, self.indices.long()] = self.values
        columns = dense.reshape(len(self.offsets), -1, width, self.group).transpose(2, 3)
        return columns.flatten(1, 2)[:, :tokens].reshape(self.shape)

    @cached_property
    def starts(self) -> Tensor:
        """Where the values of each head begin, of shape (heads,)."""
        sizes = self.offsets[:, -1].long()
        return sizes.cumsum(0) - sizes

    @property
    def nbytes(self) -> int:
        """Bytes of values, indices and offsets."""
        return sum(part.numel() * part.element_size() for part in (self.values, self.indices, self.offsets))
