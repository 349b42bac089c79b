"""How much smaller a cache of bitmaps is, on average, before there is one."""

import numpy as np
from scipy import stats

from sparsetheory.constraints import COUNT, Choice
from sparsetheory.gpu.attention.cache.pruning import SPARSITY, survivors

__all__ = ["ALONG", "bitmap_ratio"]

ALONG = Choice("tokens", "channels")
_WORD, _OFFSET = 8, 4


def bitmap_ratio(
    sparsity: float,
    itemsize: int,
    tile: int = 64,
    pad: int = 8,
    *,
    width: int | None = None,
    along: str = "tokens",
) -> float:
    """Return the expected size of a tile of a pruned cache, as a share of its dense size.

    A tile takes one bit for each entry, 4 bytes for its place, and its nonzeros, filled up to a multiple of `pad`. The
    expectation of the rounded-up number of nonzeros is exact:

    1. A tile along tokens holds one channel of `tile` tokens. Each token keeps a given channel by itself, with the
       share that survives as probability, if no channel is preferred: the number is binomial.
    2. A tile along channels holds `tile` of the `width` entries of one token, of which a fixed number survives. If no
       channel is preferred, the number is hypergeometric, and not random at all where the tile is the whole token.

    Parameters
    ----------
    sparsity : float
        Share of the entries of a token that is dropped, at least 0 and below 1.
    itemsize : int
        Bytes of a value.
    tile : int
        Entries of a tile, a multiple of 8.
    pad : int
        Packed values of a tile are filled up with zeros to a multiple of this.
    width : int, optional
        Entries of a token, of which exactly ``width - floor(sparsity * width)`` survive. Without it tiles along tokens
        keep each entry with probability ``1 - sparsity``; tiles along channels need it.
    along : {"tokens", "channels"}
        Which way tiles lie: "tokens" for keys, "channels" for values.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is out of range, or `along` is "channels" without a width of whole tiles.

    Notes
    -----
    Without padding the share is ``1 - sparsity + (8 + 4) / (64 itemsize)``, and no format that tells where nonzeros
    are by one bit for each entry is below ``1 - sparsity + 1 / (8 itemsize)``. A padding to 8 costs 3.45 values or so.

    Examples
    --------
    >>> [round(bitmap_ratio(s, 2), 4) for s in (0.5, 0.7)]
    [0.6483, 0.449]
    >>> round(bitmap_ratio(0.7, 2, width=128), 4)  # 39 of 128 survive, more than three tenths
    0.4537
    >>> [round(bitmap_ratio(s, 2, width=128, along="channels"), 4) for s in (0.5, 0.7)]
    [0.6472, 0.4566]
    >>> bitmap_ratio(0.5, 2, width=64, along="channels")
    0.59375
    """
    COUNT.require(itemsize=itemsize, tile=tile, pad=pad)
    ALONG.check("along", along)
    if tile % 8:
        raise ValueError(f"tile must be a multiple of 8; got {tile}")
    counts = np.arange(tile + 1)
    padded = -(-counts // pad) * pad
    expected = float(_probabilities(sparsity, tile, width, along) @ padded)
    bytes_of_tile = _WORD * tile / 64 + _OFFSET + itemsize * expected
    return bytes_of_tile / (itemsize * tile)


def _probabilities(sparsity: float, tile: int, width: int | None, along: str) -> np.ndarray:
    """Return how likely a tile has 0, 1, ... nonzeros."""
    counts = np.arange(tile + 1)
    SPARSITY.check("sparsity", sparsity)
    if width is not None:
        COUNT.check("width", width)
    if along == "tokens":
        density = 1.0 - sparsity if width is None else survivors(sparsity, width) / width
        return np.asarray(stats.binom.pmf(counts, tile, density))
    if width is None or width % tile:
        raise ValueError(f"width must be a multiple of tile = {tile} for tiles along channels; got {width}")
    return np.asarray(stats.hypergeom.pmf(counts, width, survivors(sparsity, width), tile))
