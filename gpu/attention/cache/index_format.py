"""Tensors with many zeros, as packed values and one byte for the place of each.

A value of single precision takes 5 bytes, and no bits have to be looked through. Keys are packed by token; values by
channel within groups of tokens, so that a weighted sum over tokens is a row of products, too. Rows lie 16 side by side,
in lines of one value of each, so that a processor adds to 16 products at once.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from sparsetheory.constraints import MISSING, Integer
from sparsetheory.gpu.attention.cache.bitmap import check_packable
from sparsetheory.numba_kernels.activations.gather import GATHERED

__all__ = ["IndexColumns", "IndexRows"]

_MOST = 256


@dataclass(frozen=True, eq=False)
class IndexRows:
    """A tensor by token: of each token the same number of values, with their channels.

    Parameters
    ----------
    values : Tensor of shape (heads, blocks, n_nonzero, 16)
        By block of 16 tokens. Tokens that are missing in the last block are zeros.
    indices : Tensor of uint8 of that shape
        Channels. A token with fewer nonzeros has zeros at further channels.
    shape : tuple of int
        Of the tensor, (..., tokens, width); leading axes are joined to one of heads.

    Examples
    --------
    >>> import torch
    >>> packed = IndexRows.pack(torch.tensor([[0.0, 3.0, 0.0, 4.0], [5.0, 0.0, 0.0, 0.0]]))
    >>> packed.indices[0, 0, :, :2].tolist(), packed.values[0, 0, :, :2].tolist(), packed.nbytes
    ([[1, 0], [3, 1]], [[3.0, 5.0], [4.0, 0.0]], 160)
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
        parts = (heads.gather(-1, order) + 0.0, order.to(torch.uint8))
        lines = (functional.pad(part, (0, 0, 0, -part.shape[1] % GATHERED)) for part in parts)
        values, indices = (line.unflatten(1, (-1, GATHERED)).transpose(2, 3).contiguous() for line in lines)
        return cls(values, indices, tuple(x.shape))

    def unpack(self) -> Tensor:
        """Return the dense tensor."""
        values, indices = (part.transpose(2, 3).flatten(1, 2) for part in (self.values, self.indices))
        dense = self.values.new_zeros(*values.shape[:2], self.shape[-1])
        return dense.scatter_(-1, indices.long(), values)[:, : self.shape[-2]].reshape(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of values and indices."""
        return sum(part.numel() * part.element_size() for part in (self.values, self.indices))


@dataclass(frozen=True, eq=False)
class IndexColumns:
    """A tensor by channel: within each group of at most 256 tokens the nonzeros of a channel, with their tokens.

    Channels of a group are in the order of their numbers of nonzeros, which leaves few places empty in lines of 16.

    Parameters
    ----------
    values : Tensor
        Of all heads one after the other; within a head by group, block of 16 channels, number of the entry, and
        channel. Shorter channels are filled up with zeros.
    indices : Tensor of uint8, as many
        Tokens within the group.
    offsets : Tensor of int32 of shape (heads, groups * blocks + 1)
        Where the values of a block begin, from the start of its head on, in lines of 16; then the end.
    channels : Tensor of int32 of shape (heads, groups, blocks * 16)
        The channels in their order. Those beyond the width are empty.
    shape : tuple of int
        Of the tensor, (..., tokens, width); leading axes are joined to one of heads.
    group : int
        Tokens of a group, the last of which may be short.

    Examples
    --------
    >>> import torch
    >>> packed = IndexColumns.pack(torch.tensor([[0.0, 3.0], [5.0, 4.0]]))
    >>> packed.channels[0, 0, :2].tolist(), packed.offsets.tolist()
    ([1, 0], [[0, 2]])
    >>> packed.values.view(2, 16)[:, :2].tolist(), packed.indices.view(2, 16)[:, :2].tolist()
    ([[3.0, 5.0], [4.0, 0.0]], [[0, 1], [1, 0]])
    """

    values: Tensor
    indices: Tensor
    offsets: Tensor
    channels: Tensor
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
            Tokens of a group, at most 256: a token is one byte. Long groups are fast.

        Returns
        -------
        IndexColumns

        Raises
        ------
        TypeError
            If `x` is not a tensor of floating-point numbers.
        ValueError
            If `x` is not finite, has no entries, or one head has 2**31 lines or more.
        """
        size = Integer(1, _MOST).check("group", group)
        tokens, width = check_packable(x).shape[-2:]
        heads = functional.pad(x.detach().reshape(-1, tokens, width), (0, -width % GATHERED, 0, -tokens % size))
        columns = heads.unflatten(1, (-1, size)).transpose(2, 3)
        counts, channels = (columns != 0).sum(-1).sort(dim=-1, descending=True, stable=True)
        # The longest channel of a block comes first.
        ends = functional.pad(counts[..., ::GATHERED].flatten(1).cumsum(-1), (1, 0))
        if int(ends.max()) >= 2**31:
            raise ValueError(f"x must have fewer than 2**31 lines of nonzeros in each head; got {int(ends.max())}")
        values = x.new_zeros(GATHERED * int(ends[:, -1].sum()))
        indices = torch.zeros(values.shape, dtype=torch.uint8, device=x.device)
        packed = cls(values, indices, ends.to(torch.int32), channels.to(torch.int32), tuple(x.shape), size)
        rows = columns.gather(2, channels.unsqueeze(-1).expand(columns.shape)).flatten(0, 2)
        row, token = (rows != 0).nonzero(as_tuple=True)
        rank = (rows != 0).cumsum(-1)[row, token] - 1
        place = packed._begins()[row] + GATHERED * rank
        values[place], indices[place] = rows[row, token], token.to(torch.uint8)
        return packed

    def unpack(self) -> Tensor:
        """Return the dense tensor."""
        tokens, width = self.shape[-2:]
        heads, groups, wide = self.channels.shape
        place = self.values.nonzero().flatten()
        # The row of a value is that of its block and its place in the line; blocks without lines have no values.
        block = torch.searchsorted(self._begins()[::GATHERED].contiguous(), place, right=True) - 1
        row = block * GATHERED + place % GATHERED
        dense = self.values.new_zeros(heads * groups, self.group, wide)
        dense[row // wide, self.indices[place].long(), self.channels.flatten()[row].long()] = self.values[place]
        return dense.reshape(heads, -1, wide)[:, :tokens, :width].reshape(self.shape)

    def _begins(self) -> Tensor:
        """Return where the values of each row begin, 16 rows for each block."""
        blocks = self.starts[:, None] + GATHERED * self.offsets[:, :-1].long()
        lanes = torch.arange(GATHERED, device=blocks.device)
        return (blocks.flatten()[:, None] + lanes).flatten()

    @cached_property
    def starts(self) -> Tensor:
        """Where the values of each head begin, of shape (heads,)."""
        sizes = GATHERED * self.offsets[:, -1].long()
        return sizes.cumsum(0) - sizes

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        parts = (self.values, self.indices, self.offsets, self.channels)
        return sum(part.numel() * part.element_size() for part in parts)
