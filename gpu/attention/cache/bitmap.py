"""Tensors with many zeros, as a bitmap and packed values, in tiles of 64.

Source: the format is that of the published code of MUSTAFAR, arXiv 2505.22913.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from sparsetheory.gpu.attention.cache.sizes import ALONG

__all__ = ["Bitmap", "check_packable"]

_TILE, _PAD = 64, 8
# Offsets count in units of this many values, in 32 bits.
_UNIT = 2


def check_packable(x: Tensor) -> Tensor:
    """Return a tensor that can be packed; TypeError or ValueError otherwise."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be a tensor of real floating-point numbers; got {got}")
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"x must have shape (..., tokens, width), without an empty axis; got {tuple(x.shape)}")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("x must be finite; got NaN or infinity")
    return x.detach()


@dataclass(frozen=True, eq=False)
class Bitmap:
    """A tensor in tiles of 64 entries: a bit for each entry, and the entries that are not zero.

    Tiles along tokens hold one channel of 64 tokens: what products of keys with a query want, since a tile adds to 64
    scores. They lie by block of 64 tokens, then by channel. Tiles along channels hold 64 channels of one token, what
    weighted sums of values want. They lie by block of 64 tokens, then by column of 64 channels, then by token. In both
    orders further blocks of tokens append at the end. Tokens or channels that are missing in a last tile are zeros.

    Parameters
    ----------
    words : Tensor of int64 of shape (heads, tiles)
        The bitmaps; bit 63 - i belongs to entry i, so that a tile that begins with a nonzero is a negative number.
        Leading axes of the tensor are joined to one of heads.
    offsets : Tensor of int32 of shape (heads, tiles + 1)
        Where the values of a tile begin, from the start of its head on, in units of two values; then the end.
    values : Tensor
        The nonzeros of each tile, filled up with zeros to a multiple of 8, of all heads one after the other.
    shape : tuple of int
        Of the tensor, (..., tokens, width).
    along : {"tokens", "channels"}

    Examples
    --------
    >>> import torch
    >>> x = torch.zeros(64, 2)
    >>> x[3] = 1.0
    >>> packed = Bitmap.pack(x, along="tokens")
    >>> packed.words.tolist(), packed.offsets.tolist(), packed.nbytes
    ([[1152921504606846976, 1152921504606846976]], [[0, 4, 8]], 92)
    >>> bool((packed.unpack() == x).all())
    True
    """

    words: Tensor
    offsets: Tensor
    values: Tensor
    shape: tuple[int, ...]
    along: str = "channels"

    @classmethod
    def pack(cls, x: Tensor, along: str = "channels") -> "Bitmap":
        """Pack a tensor; its negative zeros become zeros, all else comes back as it was.

        Parameters
        ----------
        x : Tensor of shape (..., tokens, width)
            Finite numbers.
        along : {"tokens", "channels"}
            Which way tiles lie: "tokens" for keys, "channels" for values.

        Returns
        -------
        Bitmap

        Raises
        ------
        TypeError
            If `x` is not a tensor of floating-point numbers.
        ValueError
            If `x` is not finite, has no entries, or one head has 2**32 packed values or more.
        """
        tiles = _tiled(check_packable(x), ALONG.check("along", along))
        bits = tiles != 0
        # The sum of distinct powers of two is their union; 2**63 is the sign, and wraps as it should.
        powers = torch.ones(_TILE, dtype=torch.int64, device=x.device) << torch.arange(63, -1, -1, device=x.device)
        words = (bits * powers).sum(-1)
        padded = (bits.sum(-1) + _PAD - 1) // _PAD * _PAD
        ends = functional.pad(padded.cumsum(-1), (1, 0))
        if int(ends.max()) // _UNIT >= 2**31:
            raise ValueError(f"x must have fewer than 2**32 packed values in each head; got {int(ends.max())}")
        values = torch.zeros(int(ends[:, -1].sum()), dtype=x.dtype, device=x.device)
        packed = cls(words, (ends // _UNIT).to(torch.int32), values, tuple(x.shape), along)
        values[packed._places(bits)[bits]] = tiles[bits]
        return packed

    def unpack(self) -> Tensor:
        """Return the dense tensor."""
        shifts = torch.arange(63, -1, -1, device=self.words.device)
        # The shift copies the sign, the last bit is right all the same.
        bits = ((self.words.unsqueeze(-1) >> shifts) & 1).bool()
        tiles = torch.zeros(bits.shape, dtype=self.values.dtype, device=self.values.device)
        tiles[bits] = self.values[self._places(bits)[bits]]
        return _untiled(tiles, self.shape, self.along)

    @cached_property
    def starts(self) -> Tensor:
        """Where the values of each head begin, of shape (heads,)."""
        sizes = _UNIT * self.offsets[:, -1].long()
        return sizes.cumsum(0) - sizes

    @property
    def n_nonzero(self) -> int:
        """Bits that are set."""
        shifts = torch.arange(64, device=self.words.device)
        return int(((self.words.unsqueeze(-1) >> shifts) & 1).sum())

    @property
    def nbytes(self) -> int:
        """Bytes of bitmaps, offsets and values."""
        return sum(part.numel() * part.element_size() for part in (self.words, self.offsets, self.values))

    def _places(self, bits: Tensor) -> Tensor:
        """Return where in `values` each entry of a tile would be, were its bit set."""
        begin = self.starts[:, None] + _UNIT * self.offsets[:, :-1].long()
        return begin.unsqueeze(-1) + bits.cumsum(-1) - 1


def _tiled(x: Tensor, along: str) -> Tensor:
    """Return the tiles of shape (heads, tiles, 64), in their order."""
    tokens, width = x.shape[-2:]
    more = -width % _TILE if along == "channels" else 0
    heads = functional.pad(x.reshape(-1, tokens, width), (0, more, 0, -tokens % _TILE))
    blocks = heads.unflatten(1, (-1, _TILE))
    if along == "tokens":
        return blocks.transpose(2, 3).flatten(1, 2)
    return blocks.unflatten(3, (-1, _TILE)).transpose(2, 3).flatten(1, 3)


def _untiled(tiles: Tensor, shape: tuple[int, ...], along: str) -> Tensor:
    """Return the tensor that tiles are of."""
    tokens, width = shape[-2:]
    if along == "tokens":
        blocks = tiles.unflatten(1, (-1, width)).transpose(2, 3)
    else:
        blocks = tiles.unflatten(1, (-1, -(-width // _TILE), _TILE)).transpose(2, 3).flatten(3)
    return blocks.flatten(1, 2)[:, :tokens, :width].reshape(shape)
