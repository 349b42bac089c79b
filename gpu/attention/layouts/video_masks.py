"""Patterns of attention between tokens of a film, as masks of whole blocks that keep exactly the pairs of a formula.

A block mask keeps whole blocks, so the order in which tokens are cut and the size of blocks are chosen for each
pattern such that no block is partly kept. Tokens of the film come first in the order that is cut, and text comes last,
because only the last block may be short; the mask undoes this order by itself. Text sees everything, and everything
sees text.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, SIZE, Integer
from sparsetheory.gpu.attention.block_mask import BlockMask
from sparsetheory.gpu.attention.layouts.band_product import band
from sparsetheory.gpu.attention.layouts.layout import Layout

__all__ = ["diagonal", "multi_diagonal", "self_frame", "stripe"]


def diagonal(layout: Layout, w: int, *, block: int = 1) -> BlockMask:
    """Let every token of a film see the w tokens before it and the w after it.

    Parameters
    ----------
    layout : Layout
        Where tokens stand.
    w : int
        Half-width of the window, in tokens.
    block : int
        Tokens of a block of the mask, a divisor of the tokens of the film. With 1 the mask is the window itself, of
        ``n (2w + 1) - w (w + 1)`` pairs for n tokens of the film. With more it keeps all blocks that meet the window:
        those whose numbers differ by at most ``(w + block - 1) // block``. The counts are then those of blocks, each
        of ``block**2`` pairs, and the mask takes ``(n / block)**2`` bits.

    Returns
    -------
    BlockMask

    Examples
    --------
    >>> int(diagonal(Layout(2, 3), 1).element_mask().sum())
    16
    >>> int(diagonal(Layout(2, 3), 1, block=3).element_mask().sum())
    36
    """
    SIZE.check("w", w)
    if layout.n_video % COUNT.check("block", block):
        raise ValueError(f"block must divide the {layout.n_video} tokens of the film; got {block}")
    # The tokens nearest to each other of blocks I < J are (J - I) block - (block - 1) apart.
    blocks = band(layout.n_video // block, (w + block - 1) // block)
    return _mask(layout, blocks, torch.arange(layout.text, layout.n), block)


def self_frame(layout: Layout) -> BlockMask:
    """Let every token of a film see its own frame: ``I_F (x) J_P``, in blocks of a frame.

    Parameters
    ----------
    layout : Layout
        Where tokens stand.

    Returns
    -------
    BlockMask
    """
    return _mask(layout, band(layout.frames, 0), torch.arange(layout.text, layout.n), layout.places)


def multi_diagonal(layout: Layout, w: int) -> BlockMask:
    """Let every token of a film see the places around its own one in all frames: ``J_F (x) Band_P(w)``.

    Place after place this is ``Band_P(w) (x) J_F``, so blocks of one place, F tokens each, are kept or dropped whole.

    Parameters
    ----------
    layout : Layout
        Where tokens stand.
    w : int
        Half-width of the window, in places by their numbers.

    Returns
    -------
    BlockMask
        Of ``F**2 (P (2w + 1) - w (w + 1))`` pairs of tokens of the film, for w below P.

    Examples
    --------
    >>> int(multi_diagonal(Layout(2, 3), 1).element_mask().sum())
    28
    """
    SIZE.check("w", w)
    order = layout.place_major_order()[layout.text :]
    return _mask(layout, band(layout.places, w), order, layout.frames)


def stripe(layout: Layout, columns: Sequence[int]) -> BlockMask:
    """Let every token of a film see a few tokens of it, the same for all.

    Parameters
    ----------
    layout : Layout
        Where tokens stand.
    columns : sequence of int
        Numbers of tokens of the film that are seen, counted from its first token, each once.

    Returns
    -------
    BlockMask
        Of ``n len(columns)`` pairs of tokens of the film. Keys are cut such that the first block holds what all see.

    Raises
    ------
    ValueError
        If a column is named twice or is no token, or none is named and there is no text: nothing would be seen.

    Examples
    --------
    >>> stripe(Layout(2, 2), [3]).element_mask().long().tolist()
    [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]]
    """
    chosen = [Integer(0, layout.n_video - 1).check("columns", column) for column in columns]
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"columns must be different; got {chosen!r:.200}")
    seen = torch.cat([torch.arange(layout.text), layout.text + torch.tensor(sorted(chosen), dtype=torch.int64)])
    if len(seen) == 0:
        raise ValueError("columns must hold at least one token where there is no text; got none")
    unseen = torch.ones(layout.n, dtype=torch.bool)
    unseen[seen] = False
    size = (layout.n_video, len(seen))
    blocks = torch.zeros(-(-layout.n // size[0]), -(-layout.n // size[1]), dtype=torch.bool)
    blocks[:, 0] = True
    blocks[1:] = True
    keys = torch.cat([seen, torch.nonzero(unseen).flatten()])
    return BlockMask(blocks, layout.n, layout.n, block=size, perm_q=_text_last(layout), perm_k=keys)


def _text_last(layout: Layout) -> Tensor | None:
    if layout.text == 0:
        return None
    return torch.cat([torch.arange(layout.text, layout.n), torch.arange(layout.text)])


def _mask(layout: Layout, video: Tensor, order: Tensor, size: int) -> BlockMask:
    """Return the mask of blocks of tokens of the film, cut in an order, and of text that sees and is seen."""
    of_text = -(-layout.text // size)
    blocks = torch.nn.functional.pad(video, (0, of_text, 0, of_text), value=True)
    perm = torch.cat([order, torch.arange(layout.text)])
    return BlockMask(blocks, layout.n, layout.n, block=(size, size), perm_q=perm, perm_k=perm)
